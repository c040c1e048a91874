// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"custody.dev/custody/internal/secret"
)

const marked = "CANARY-7d1c42"

func text(t testing.TB, s string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{secret.SingleField: s})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type exported struct {
	Name   string       `json:"name" yaml:"name"`
	Secret secret.Value `json:"secret" yaml:"secret"`
}

type unexported struct{ hidden secret.Value }

type embedding struct {
	secret.Value
}

type nested struct {
	Pointer *secret.Value
	Map     map[string]secret.Value
	Slice   []secret.Value
	Array   [1]secret.Value
	Any     any
	Inner   *exported
	hidden  *unexported
	lists   map[string][]unexported
	deep    **unexported
}

// holders are values in every position where a print might reach them.
func holders(v secret.Value) map[string]any {
	hidden := &unexported{v}
	n := nested{&v, map[string]secret.Value{"k": v}, []secret.Value{v}, [1]secret.Value{v}, v, &exported{"n", v},
		hidden, map[string][]unexported{"k": {*hidden}}, &hidden}
	pointer := &v
	return map[string]any{
		"value": v, "pointer": pointer, "pointer to pointer": &pointer, "map": n.Map, "slice": n.Slice, "array": n.Array,
		"exported": exported{"n", v}, "exported pointer": &exported{"n", v}, "unexported": *hidden, "unexported pointer": hidden,
		"embedding": embedding{v}, "nested": n, "nested pointer": &n, "any": []any{v, &v, n},
		"anonymous": struct{ v secret.Value }{v}, "map of unexported": map[string]unexported{"k": *hidden},
	}
}

// leaks looks for the marked text in every form in which a print could show it.
func leaks(output string) bool {
	hex := fmt.Sprintf("%x", marked)
	numbers := strings.Trim(fmt.Sprintf("%d", []byte(marked)), "[]")
	lower := strings.ToLower(output)
	for _, form := range []string{strings.ToLower(marked), hex, numbers, "0x43, 0x41, 0x4e", "q0foqvj" /* base64 */} {
		if strings.Contains(lower, form) {
			return true
		}
	}
	return false
}

func TestLeaksCanBeSeen(t *testing.T) {
	plain := map[string][]byte{"k": []byte(marked)}
	encoded, _ := json.Marshal(plain)
	for _, output := range []string{marked, fmt.Sprintf("%v", plain), fmt.Sprintf("%x", plain), fmt.Sprintf("%#v", plain), string(encoded)} {
		if !leaks(output) {
			t.Errorf("a leak in %q goes unseen", output)
		}
	}
}

func TestRedactedUnderEveryVerb(t *testing.T) {
	for name, holder := range holders(text(t, marked)) {
		for verb := rune(' ' + 1); verb < 127; verb++ {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "20.10", "# "} {
				format := "%" + flags + string(verb)
				if output := fmt.Sprintf(format, holder); leaks(output) {
					t.Errorf("%s under %s: %s", name, format, output)
				}
			}
		}
		if output := fmt.Sprintln(holder) + fmt.Sprint(holder); leaks(output) {
			t.Errorf("%s printed: %s", name, output)
		}
	}
}

func TestRedactedForm(t *testing.T) {
	for name, v := range map[string]secret.Value{"full": text(t, marked), "empty": {}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if got := fmt.Sprintf(format, v); got != secret.Redacted {
				t.Errorf("%s under %s = %q, want %q", name, format, got, secret.Redacted)
			}
		}
		if v.String() != secret.Redacted || v.GoString() != secret.Redacted {
			t.Errorf("%s: String or GoString is not %q", name, secret.Redacted)
		}
	}
}

func TestRedactedInDocuments(t *testing.T) {
	for name, holder := range holders(text(t, marked)) {
		for format, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "yaml": yaml.Marshal, "xml": xml.Marshal} {
			output, err := marshal(holder)
			if leaks(string(output)) || err != nil && leaks(err.Error()) {
				t.Errorf("%s as %s: %s %v", name, format, output, err)
			}
			if strings.HasPrefix(name, "exported") && !strings.Contains(string(output), secret.Redacted) {
				t.Errorf("%s as %s = %s, want it to hold %q", name, format, output, secret.Redacted)
			}
		}
	}
}

func TestRedactedInLogs(t *testing.T) {
	for name, holder := range holders(text(t, marked)) {
		var output bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&output, nil), slog.NewJSONHandler(&output, nil)} {
			logger := slog.New(handler).With("with", holder)
			logger.Info("message", "attribute", holder, slog.Group("group", "inner", holder))
		}
		if output.Len() == 0 || leaks(output.String()) {
			t.Errorf("%s in logs: %s", name, output.String())
		}
	}
}

func TestRedactedInErrors(t *testing.T) {
	for name, holder := range holders(text(t, marked)) {
		err := fmt.Errorf("outer: %w", errors.Join(fmt.Errorf("inner %v %+v %#v", holder, holder, holder), errors.New("other")))
		if leaks(err.Error()) || leaks(fmt.Sprintf("%#v", err)) {
			t.Errorf("%s in errors: %v", name, err)
		}
	}
}

func TestReadingDocumentsIntoValueFails(t *testing.T) {
	for _, input := range []string{`"` + marked + `"`, `{"value":"` + marked + `"}`, `{"in":{"behind":{"value":"` + marked + `"}}}`} {
		var holder exported
		if err := json.Unmarshal([]byte(`{"secret":`+input+`}`), &holder); err != nil && leaks(err.Error()) {
			t.Errorf("the error quotes the input: %v", err)
		}
		if !holder.Secret.Empty() {
			t.Error("JSON reached into a Value: only Decode may")
		}
	}
}

func TestErrorsDoNotQuote(t *testing.T) {
	_, tooLarge := secret.Text(map[string]string{"a": strings.Repeat(marked, 4*secret.MaxBytes/len(marked)+1)})
	found := []error{tooLarge, text(t, strings.Repeat(marked, secret.MaxBytes/len(marked)+1)).Fits()}
	for _, input := range []string{
		marked, `"` + marked, `["` + marked + `"]`, `{"a":["` + marked + `"]}`, `{"a":{"base64":"` + marked + `"}}`, `{"a":{"base65":"` + marked + `"}}`,
		`{"` + marked + ` ":"x"}`, `{"a":{"base64":"` + marked + `\xff"}}`, `{"a":"` + marked, `null`, `{"a":null}`, `{"a":1}`, `{"a":{}}`,
		`{"a":{"base64":null}}`, `{"a":{"Base64":"AAAA"}}`, `{"a":{"base64":"AAAA","more":"AAAA"}}`, `{"a":{"base64":"AAB="}}`, `{"a":{"base64":"AA\nAA"}}`, ``, `{} {}`,
	} {
		v, err := secret.Decode([]byte(input))
		if strings.Contains(input, "AA\\nAA") && err == nil {
			continue // encoding/base64 skips line ends
		}
		if err == nil {
			t.Errorf("Decode(%s) succeeded with fields %v", input, v.Names())
		}
		found = append(found, err)
	}
	for n, err := range found {
		if err == nil || leaks(err.Error()) {
			t.Errorf("error %d = %v, want one that does not quote", n, err)
		}
	}
}

func TestLimits(t *testing.T) {
	fits := strings.Repeat("x", secret.MaxBytes-len(secret.SingleField))
	for size, want := range map[string]bool{fits: true, fits + "x": false} {
		if err := text(t, size).Fits(); (err == nil) != want {
			t.Errorf("Fits of %d bytes = %v", len(size), err)
		}
	}
	largest := 4*secret.MaxBytes - 2
	for size, want := range map[int]bool{largest: true, largest + 1: false} {
		fields := map[string][]byte{"a": make([]byte, size/2), "b": make([]byte, size-size/2)}
		if _, err := secret.New(fields); (err == nil) != want {
			t.Errorf("New of %d bytes = %v", size, err)
		}
	}
	for name, want := range map[string]bool{
		"a": true, "_": true, "A.b-c_9": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
		"": false, "9a": false, "a b": false, "a\n": false, "-a": false, "ä": false, "a/b": false, "a\x00": false,
	} {
		if _, err := secret.New(map[string][]byte{name: nil}); (err == nil) != want {
			t.Errorf("field name %q: %v", name, err)
		}
	}
	if err := (secret.Value{}).Fits(); err != nil {
		t.Errorf("the empty value does not fit: %v", err)
	}
}

func TestValueIsImmutable(t *testing.T) {
	input := map[string][]byte{"a": []byte("one")}
	v, err := secret.New(input)
	if err != nil {
		t.Fatal(err)
	}
	input["a"][0] = 'X'
	v.Expose("a")[0] = 'Y'
	w, err := v.With("b", []byte("two"))
	if err != nil {
		t.Fatal(err)
	}
	if got := v.ExposeText("a"); got != "one" || v.Has("b") {
		t.Errorf("the value changed: a = %q, has b: %v", got, v.Has("b"))
	}
	if !reflect.DeepEqual(w.Names(), []string{"a", "b"}) || w.ExposeText("b") != "two" || w.ExposeText("a") != "one" {
		t.Errorf("With made fields %v", w.Names())
	}
}

func TestExposeTellsEmptyFromAbsent(t *testing.T) {
	v, err := secret.New(map[string][]byte{"nil": nil, "empty": {}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Expose("nil") == nil || v.Expose("empty") == nil || v.Expose("absent") != nil || !v.Has("nil") || v.Has("absent") {
		t.Error("an empty field is nil, or an absent one is not")
	}
	var zero secret.Value
	if !zero.Empty() || zero.Has("a") || zero.Expose("a") != nil || zero.ExposeText("a") != "" || len(zero.Names()) != 0 {
		t.Error("the zero Value is not empty")
	}
}

func anyFields() *rapid.Generator[map[string][]byte] {
	return rapid.MapOfN(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.-]{0,20}`),
		rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })), 0, 8)
}

func TestEncodeDecodeIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields().Draw(t, "fields")
		v, err := secret.New(fields)
		if err != nil {
			t.Fatal(err)
		}
		w, err := secret.Decode(v.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !v.Equal(w) || !bytes.Equal(v.Encode(), w.Encode()) {
			t.Fatal("Decode(Encode(v)) is not v")
		}
		for name, data := range fields {
			if !bytes.Equal(w.Expose(name), data) {
				t.Fatalf("field %s changed", name)
			}
		}
		var indented bytes.Buffer
		if json.Indent(&indented, v.Encode(), "", "  ") != nil {
			t.Fatal("Encode is not JSON")
		}
		if w, err := secret.Decode(indented.Bytes()); err != nil || !w.Equal(v) {
			t.Fatalf("the indented form is another value: %v", err)
		}
	})
}

func TestEqualAndDigestAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyFields().Draw(t, "a"), anyFields().Draw(t, "b")
		if rapid.Bool().Draw(t, "same") {
			b = a
		}
		v, err := secret.New(a)
		w, errW := secret.New(b)
		if err != nil || errW != nil {
			t.Fatal(err, errW)
		}
		same := len(a) == len(b)
		for name, data := range a {
			held, ok := b[name]
			same = same && ok && bytes.Equal(held, data)
		}
		key := []byte("key of a test")
		if v.Equal(w) != same || w.Equal(v) != same || bytes.Equal(v.Digest(key), w.Digest(key)) != same {
			t.Fatalf("equal: %v; want Equal and Digest to say so", same)
		}
		if bytes.Equal(v.Digest(key), v.Digest([]byte("another"))) {
			t.Fatal("the digest does not depend on the key")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"value":"x"}`, `{"a":{"base64":"/w=="},"b":""}`, `{"a":"\u003c\u2028"}`, `{"a":"x","a":"y"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		v, err := secret.Decode(input)
		if err != nil {
			return
		}
		w, err := secret.Decode(v.Encode())
		if err != nil || !w.Equal(v) {
			t.Fatalf("what was decoded does not survive Encode: %v", err)
		}
		if !bytes.Equal(w.Encode(), v.Encode()) {
			t.Fatal("equal values have two encodings")
		}
	})
}
