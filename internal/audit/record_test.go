// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/audit/audittest"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// The form is a promise: hashes of years rest on it.
func TestEncodedForm(t *testing.T) {
	got, err := audit.Encode(audittest.Event(9))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"run":"run-000001","step":"step-1","workflow":"rotation","secret":"mail-relay","path":"mail/relay",` +
		`"version":{"incarnation":"first","run":"run-000000","number":10},"by":"time",` +
		`"reason":"due: \"30d\" < ttl & <window>","result":"ok","at":"2030-01-02T03:04:14.000000006Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := audit.Encode(audittest.Event(1))
	if err != nil {
		t.Fatal(err)
	}
	for what, line := range map[string]string{
		"nothing":         "",
		"not JSON":        "x",
		"another value":   string(good) + "{}",
		"a space":         " " + string(good),
		"an escape":       strings.Replace(string(good), "<", `\u003c`, 1),
		"other case":      strings.Replace(string(good), `"step"`, `"Step"`, 1),
		"an extra field":  strings.Replace(string(good), `{`, `{"value":"x",`, 1),
		"no schema":       strings.Replace(string(good), `"schema":1,`, ``, 1),
		"a field twice":   strings.Replace(string(good), `"step":"step-1"`, `"step":"step-0","step":"step-1"`, 1),
		"another order":   strings.Replace(string(good), `"schema":1,"run":"run-000000"`, `"run":"run-000000","schema":1`, 1),
		"a zone":          strings.Replace(string(good), `Z"}`, `+00:00"}`, 1),
		"a missing field": strings.Replace(string(good), `"result":"ok",`, ``, 1),
	} {
		if line == string(good) {
			t.Fatalf("%s: the case changes nothing", what)
		}
		if _, err := audit.Decode([]byte(line)); err == nil {
			t.Errorf("%s: decoded %s", what, line)
		}
	}
}

// FuzzDecode: what decodes encodes to the same bytes, so two different lines never mean one event.
func FuzzDecode(f *testing.F) {
	for number := range 3 {
		line, err := audit.Encode(audittest.Event(number))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"schema":1,"run":"r","step":"s","workflow":"w","result":"ok","at":"2030-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := audit.Decode(line)
		if err != nil {
			return
		}
		again, err := audit.Encode(e)
		if err != nil || !bytes.Equal(again, line) {
			t.Errorf("%q decodes and encodes to %q, %v", line, again, err)
		}
	})
}

func TestWhatEncodesDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(1000, 3000, 9000),
			rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")) }))
		name := rapid.Custom(func(t *rapid.T) string { return "n" + rapid.StringN(0, 40, 200).Draw(t, "name") })
		e := audit.Event{
			Run: authority.RunID(name.Draw(t, "run")), Step: name.Draw(t, "step"), Workflow: audit.Workflow(name.Draw(t, "workflow")),
			Result: audit.Result(name.Draw(t, "result")), Reason: text.Draw(t, "reason"), Detail: text.Draw(t, "detail"),
			At: time.Unix(rapid.Int64Range(0, 1<<35).Draw(t, "second"), rapid.Int64Range(0, 999999999).Draw(t, "nano")),
		}
		line, err := audit.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(line, '\n') {
			t.Fatalf("the line holds a newline: %q", line)
		}
		back, err := audit.Decode(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if again, err := audit.Encode(back); err != nil || !bytes.Equal(again, line) {
			t.Fatalf("%q, again %q, %v", line, again, err)
		}
	})
}

// An event has nowhere to put a value.
func TestEventCannotHoldAValue(t *testing.T) {
	value := reflect.TypeFor[secret.Value]()
	var walk func(at string, of reflect.Type)
	walk = func(at string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(at, of.Elem())
		case reflect.Interface:
			t.Errorf("%s may hold anything", at)
		case reflect.Struct:
			if of == value {
				t.Errorf("%s is a secret value", at)
			}
			if of == reflect.TypeFor[time.Time]() {
				return
			}
			for field := range of.Fields() {
				walk(at+"."+field.Name, field.Type)
			}
		}
	}
	walk("Event", reflect.TypeFor[audit.Event]())
}

// A signer shows its public key under every verb, never the seed.
func TestSignerNeverPrintsItsSeed(t *testing.T) {
	s := signer(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, printed := range []string{sprintf(verb, s), sprintf(verb, audit.Config{Signer: s}), sprintf(verb, *s)} {
			if strings.Contains(printed, "070707") || strings.Contains(printed, "7 7 7") || strings.Contains(printed, "0x7, 0x7") {
				t.Errorf("%s prints the seed: %s", verb, printed)
			}
		}
	}
	for _, bad := range []string{"", "with space", "with+plus"} {
		if _, err := audit.NewSigner(bad, bytes.Repeat([]byte{1}, audit.SeedSize)); err == nil {
			t.Errorf("origin %q was taken", bad)
		}
	}
	if _, err := audit.NewSigner(origin, []byte("short")); err == nil {
		t.Error("a short seed was taken")
	}
}
