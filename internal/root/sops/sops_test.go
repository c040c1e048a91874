// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/root/sops"
	"custody.dev/custody/internal/secret"
)

const canary = "canary-c0ffee-11"

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func codec() sops.Codec {
	return sops.Codec{Now: func() time.Time { return now }, Random: rand.Reader}
}

func newIdentity(t testing.TB) root.Identity {
	t.Helper()
	id, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func document(t testing.TB, fields map[string]string) root.Document {
	t.Helper()
	value, err := secret.Text(fields)
	if err != nil {
		t.Fatal(err)
	}
	return root.Document{
		Name: "orders-db-bootstrap", Labels: map[string]string{"custody.dev/class": "bootstrap"}, Seeds: "orders-db",
		NeededBy: []string{"postgres"}, Value: value,
		Binding: v1alpha1.Binding{Platform: "example", Secret: "orders-db", Path: "shop/orders", Namespace: "shop"},
	}
}

func login(t testing.TB) root.Document {
	return document(t, map[string]string{"username": "orders_a", "password": canary})
}

func seal(t testing.TB, doc root.Document, to ...root.Identity) []byte {
	t.Helper()
	var recipients []string
	for _, id := range to {
		recipients = append(recipients, id.Public())
	}
	raw, err := codec().Seal(t.Context(), doc, recipients)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func open(t testing.TB, raw []byte, with ...root.Identity) root.Document {
	t.Helper()
	doc, err := codec().Open(t.Context(), raw, with)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return doc
}

var values = cmp.Comparer(func(a, b secret.Value) bool { return a.Equal(b) })

// refused wants an error of the class that tells what to do, holds no secret, and comes without a document.
func refused(t testing.TB, raw []byte, class error, with ...root.Identity) {
	t.Helper()
	refusedSaying(t, raw, class, "", with...)
}

func refusedSaying(t testing.TB, raw []byte, class error, says string, with ...root.Identity) {
	t.Helper()
	doc, err := codec().Open(t.Context(), raw, with)
	if !errors.Is(err, class) {
		t.Fatalf("got %v, want %v", err, class)
	}
	hinted, ok := errors.AsType[*root.Error](err)
	if !ok || hinted.Hint() == "" {
		t.Errorf("%v does not say what to do", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, hinted), "canary") {
		t.Errorf("the error holds a value")
	}
	if diff := cmp.Diff(root.Document{}, doc, values); diff != "" {
		t.Errorf("a document came with the error: %s", diff)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%v does not say %s", err, says)
	}
}

func TestSealOpen(t *testing.T) {
	offline, host := newIdentity(t), newIdentity(t)
	want := login(t)
	raw := seal(t, want, offline, host)
	for _, id := range []root.Identity{offline, host} {
		if diff := cmp.Diff(want, open(t, raw, newIdentity(t), id), values); diff != "" {
			t.Error(diff)
		}
	}
	if bytes.Contains(raw, []byte("canary")) || bytes.Contains(raw, []byte("example")) {
		t.Errorf("the document shows its value or its binding:\n%s", raw)
	}
	got, err := codec().Recipients(raw)
	recipients := []string{offline.Public(), host.Public()}
	slices.Sort(recipients)
	if diff := cmp.Diff(recipients, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestSealedDocumentIsSorted(t *testing.T) {
	raw := seal(t, document(t, map[string]string{"b": "1", "a": "2", "Z": "3", "a.b": "4", "a-b": "5"}), newIdentity(t))
	var node yaml.Node
	if err := yaml.Unmarshal(raw, &node); err != nil {
		t.Fatal(err)
	}
	var top []string
	for i := 0; i < len(node.Content[0].Content); i += 2 {
		top = append(top, node.Content[0].Content[i].Value)
	}
	if diff := cmp.Diff([]string{"apiVersion", "data", "kind", "metadata", "sops", "spec"}, top); diff != "" {
		t.Error(diff)
	}
	var sorted func(node *yaml.Node)
	sorted = func(node *yaml.Node) {
		for i, child := range node.Content {
			if node.Kind == yaml.MappingNode && i >= 2 && i%2 == 0 && node.Content[i-2].Value >= child.Value {
				t.Errorf("line %d: %s stands after %s", child.Line, child.Value, node.Content[i-2].Value)
			}
			sorted(child)
		}
	}
	sorted(node.Content[0])
}

func TestOpenSurvivesReformatting(t *testing.T) {
	id := newIdentity(t)
	want := login(t)
	raw := seal(t, want, id)
	for name, reformat := range map[string]func(t *testing.T) []byte{
		"JSON, as an API server keeps it": func(t *testing.T) []byte {
			var all map[string]any
			if err := yaml.Unmarshal(raw, &all); err != nil {
				t.Fatal(err)
			}
			out, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			return out
		},
		"sorted YAML": func(t *testing.T) []byte {
			var all map[string]any
			if err := yaml.Unmarshal(raw, &all); err != nil {
				t.Fatal(err)
			}
			out, err := yaml.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			return out
		},
		"flow style": func(t *testing.T) []byte {
			var node yaml.Node
			if err := yaml.Unmarshal(raw, &node); err != nil {
				t.Fatal(err)
			}
			node.Content[0].Style = yaml.FlowStyle
			out, err := yaml.Marshal(&node)
			if err != nil {
				t.Fatal(err)
			}
			return out
		},
		"comments, CRLF, document marks": func(t *testing.T) []byte {
			out := strings.ReplaceAll(string(raw), "  values:\n", "  values: # canary comment\n    # another\n")
			return []byte("---\n# head\r\n" + strings.ReplaceAll(out, "\n", "\r\n") + "...\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := reformat(t)
			if bytes.Equal(out, raw) {
				t.Fatal("nothing was reformatted")
			}
			if diff := cmp.Diff(want, open(t, out, id), values); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Any value of any bytes comes back, names that look like tags included.
func TestAnyValueComesBack(t *testing.T) {
	id := newIdentity(t)
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_.-]{0,12}`), rapid.SampledFrom([]string{"null", "true", "y", "a.base64", "a", "a.base64.base64", "sops", "binding"}))
		content := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
			rapid.SampledFrom([][]byte{{}, []byte("0123"), []byte("true"), []byte("null"), []byte("base64:QQ=="), []byte("ENC[AES256_GCM,data:"), []byte("a\nb\n"), []byte(" a"), []byte("\n a"), []byte("a\r\nb"), []byte("# c")}))
		value, err := secret.New(rapid.MapOfN(name, content, 1, 5).Draw(r, "fields"))
		if err != nil {
			r.Fatal(err)
		}
		want := document(t, map[string]string{"x": "x"})
		want.Value = value
		if diff := cmp.Diff(want, open(t, seal(t, want, id), id), values); diff != "" {
			r.Fatalf("names %v: %s", value.Names(), diff)
		}
	})
}

func TestSealRefuses(t *testing.T) {
	id := newIdentity(t)
	big, err := secret.New(map[string][]byte{"value": bytes.Repeat([]byte("x"), secret.MaxBytes)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change     func(*root.Document)
		recipients []string
	}{
		"no name":        {change: func(d *root.Document) { d.Name = "" }},
		"no platform":    {change: func(d *root.Document) { d.Binding.Platform = "" }},
		"no secret":      {change: func(d *root.Document) { d.Binding.Secret = "" }},
		"no path":        {change: func(d *root.Document) { d.Binding.Path = "" }},
		"seeds another":  {change: func(d *root.Document) { d.Seeds = "billing-db" }},
		"no value":       {change: func(d *root.Document) { d.Value = secret.Value{} }},
		"too large":      {change: func(d *root.Document) { d.Value = big }},
		"no recipients":  {recipients: []string{}},
		"plugin":         {recipients: []string{"age1yubikey1qqqq"}},
		"ssh":            {recipients: []string{"ssh-ed25519 AAAA"}},
		"two in one":     {recipients: []string{id.Public() + "," + id.Public()}},
		"not a key":      {recipients: []string{"age1qqq"}},
		"one is not one": {recipients: []string{id.Public(), ""}},
	} {
		doc := login(t)
		if c.change != nil {
			c.change(&doc)
		}
		recipients := c.recipients
		if recipients == nil {
			recipients = []string{id.Public()}
		}
		if raw, err := codec().Seal(t.Context(), doc, recipients); err == nil || raw != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := codec()
	broken.Random = strings.NewReader("")
	if _, err := broken.Seal(t.Context(), login(t), []string{id.Public()}); err == nil {
		t.Error("sealed without randomness")
	}
}

// Whoever was removed from the recipients, and kept the data key of the document as it was, must not read it as it is now. The entry
// with the old data key is transplanted to show that.
func TestSealedAgainTheOldDataKeyOpensNothing(t *testing.T) {
	offline, old, host := newIdentity(t), newIdentity(t), newIdentity(t)
	want := login(t)
	raw := seal(t, want, offline, old)
	again := seal(t, open(t, raw, offline), offline, host)
	for _, id := range []root.Identity{offline, host} {
		if diff := cmp.Diff(want, open(t, again, id), values); diff != "" {
			t.Error(diff)
		}
	}
	for _, public := range []string{offline.Public(), host.Public(), "tried " + old.Public()} {
		refusedSaying(t, again, root.ErrWrongKey, public, old)
	}
	entry := regexp.MustCompile(`(?s)  age:\n.*?  encrypted_regex:`)
	transplanted := entry.ReplaceAll(again, entry.Find(raw))
	if bytes.Equal(transplanted, again) {
		t.Fatal("nothing was transplanted")
	}
	refused(t, transplanted, root.ErrTampered, old)
}

// replace changes the sealed document textually and fails when there is nothing to change.
func replace(t *testing.T, raw []byte, pattern, with string) []byte {
	t.Helper()
	out := regexp.MustCompile(pattern).ReplaceAll(raw, []byte(with))
	if bytes.Equal(out, raw) {
		t.Fatalf("%s does not occur in\n%s", pattern, raw)
	}
	return out
}

func TestOpenRefuses(t *testing.T) {
	id := newIdentity(t)
	raw := seal(t, login(t), id)
	other := seal(t, document(t, map[string]string{"username": "x", "password": "canary-of-another"}), id)
	leaf := func(raw []byte, name string) string {
		return string(regexp.MustCompile(`(?m)^    ` + name + `: (.*)$`).FindSubmatch(raw)[1])
	}
	for name, c := range map[string]struct {
		raw   []byte
		class error
	}{
		"empty":                {nil, root.ErrMalformed},
		"blank":                {[]byte(" \n\n"), root.ErrMalformed},
		"only a comment":       {[]byte("# x\n"), root.ErrMalformed},
		"a list":               {[]byte("- a\n"), root.ErrMalformed},
		"not YAML":             {[]byte("\x00\x01canary: ["), root.ErrMalformed},
		"a merge conflict":     {replace(t, raw, `kind:`, "<<<<<<< HEAD\nkind:"), root.ErrMalformed},
		"two documents":        {append(bytes.Clone(raw), append([]byte("---\n"), raw...)...), root.ErrMalformed},
		"an alias to itself":   {replace(t, raw, `spec:`, "x: &a [*a]\nspec:"), root.ErrMalformed},
		"one in a second part": {append(bytes.Clone(raw), []byte("---\nx: &a [*a]\n")...), root.ErrMalformed},
		"a doubled key":        {replace(t, raw, `kind:`, "kind: x\nkind:"), root.ErrMalformed},
		"too large":            {append(bytes.Clone(raw), bytes.Repeat([]byte("# filler\n"), 1<<18)...), root.ErrMalformed},
		"too deep":             {append(bytes.Clone(raw), []byte("x: "+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"\n")...), root.ErrMalformed},
		"another kind":         {replace(t, raw, `kind: BootstrapSecret`, "kind: Secret"), root.ErrMalformed},
		"no name":              {replace(t, raw, `  name: .*\n`, ""), root.ErrMalformed},
		"no seeds":             {replace(t, raw, `  seeds: .*\n`, ""), root.ErrMalformed},
		"no data":              {replace(t, raw, `(?s)data:\n.*kind:`, "kind:"), root.ErrMalformed},
		"no binding":           {replace(t, raw, `(?s)  binding:\n.*  values:`, "  values:"), root.ErrMalformed},
		"no platform":          {replace(t, raw, `    platform: .*\n`, ""), root.ErrMalformed},
		"no namespace":         {replace(t, raw, `    namespace: .*\n`, ""), root.ErrTampered},
		"never encrypted":      {replace(t, replace(t, raw, `(?s)sops:\n.*spec:`, "spec:"), `ENC.*\]`, canary), root.ErrPlaintext},
		"metadata cut out":     {replace(t, raw, `(?s)sops:\n.*spec:`, "spec:"), root.ErrPlaintext},
		"a plain field":        {replace(t, raw, `    password: .*`, "    password: "+canary), root.ErrPlaintext},
		"a plain number":       {replace(t, raw, `    password: .*`, "    password: 42"), root.ErrPlaintext},
		"a field more":         {replace(t, raw, `(    password: .*)`, "$1\n    added: "+canary), root.ErrPlaintext},
		"an empty field more":  {replace(t, raw, `(    password: .*)`, "$1\n    added: \"\""), root.ErrMalformed},
		"a null field more":    {replace(t, raw, `(    password: .*)`, "$1\n    added: null"), root.ErrMalformed},
		"a field less":         {replace(t, raw, `    password: .*\n`, ""), root.ErrTampered},
		"a field emptied":      {replace(t, raw, `    password: .*`, `    password: ""`), root.ErrMalformed},
		"a field renamed":      {replace(t, raw, `    password:`, "    passphrase:"), root.ErrTampered},
		"fields swapped":       {replace(t, raw, `    password: (.*)\n    username: (.*)`, "    password: $2\n    username: $1"), root.ErrTampered},
		"fields reordered":     {replace(t, raw, `(    password: .*\n)(    username: .*\n)`, "$2$1"), root.ErrTampered},
		"parts reordered":      {replace(t, raw, `(?s)(  binding:\n.*)(  values:\n.*)(kind:)`, "$2$1$3"), root.ErrTampered},
		"a field of another":   {replace(t, raw, `    password: .*`, "    password: "+leaf(other, "password")), root.ErrTampered},
		"a list as a field":    {replace(t, raw, `    password: (.*)`, "    password: [$1]"), root.ErrMalformed},
		"a field of a binding": {replace(t, raw, `    platform: `, "    owner: x\n    platform: "), root.ErrMalformed},
		"text after it":        {replace(t, raw, `(    password: .*)`, "${1}x"), root.ErrMalformed},
		"type bytes":           {replace(t, raw, `(    password: .*),type:str\]`, "$1,type:bytes]"), root.ErrMalformed},
		"type int":             {replace(t, raw, `(    password: .*),type:str\]`, "$1,type:int]"), root.ErrMalformed},
		"type comment":         {replace(t, raw, `(    password: .*),type:str\]`, "$1,type:comment]"), root.ErrMalformed},
		"MAC of type bytes":    {replace(t, raw, `(  mac: .*),type:str\]`, "$1,type:bytes]"), root.ErrMalformed},
		"MAC removed":          {replace(t, raw, `  mac: .*`, `  mac: ""`), root.ErrMalformed},
		"MAC of another":       {replace(t, raw, `  mac: ENC.*`, string(regexp.MustCompile(`  mac: ENC.*`).Find(other))), root.ErrTampered},
		"another time":         {replace(t, raw, `2026-03-01`, "2026-03-02"), root.ErrTampered},
		"no time":              {replace(t, raw, `2026-03-01`, "march"), root.ErrMalformed},
		"MAC over everything":  {replace(t, raw, `mac_only_encrypted: true`, "mac_only_encrypted: false"), root.ErrMalformed},
		"another regex":        {replace(t, raw, `encrypted_regex: .*`, "encrypted_regex: ^nothing$$"), root.ErrMalformed},
		"a second rule":        {replace(t, raw, `(  encrypted_regex: .*)`, "$1\n  unencrypted_suffix: _x"), root.ErrMalformed},
		"a key of a service":   {replace(t, raw, `(  encrypted_regex: .*)`, "$1\n  kms: [{arn: x}]"), root.ErrMalformed},
		"no recipients":        {replace(t, raw, `(?s)  age:\n.*  encrypted_regex:`, "  age: []\n  encrypted_regex:"), root.ErrMalformed},
		"a plugin's recipient": {replace(t, raw, `recipient: age1.*`, "recipient: age1yubikey1qqqq"), root.ErrMalformed},
		"the key damaged":      {replace(t, raw, `-----BEGIN AGE ENCRYPTED FILE-----`, "-----BEGIN AGE-----"), root.ErrTampered},
		"mislabelled key":      {replace(t, raw, id.Public(), newIdentity(t).Public()), root.ErrTampered},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.raw, c.class, id) })
	}
	t.Run("no identity", func(t *testing.T) { refused(t, raw, root.ErrWrongKey) })
}

// Older sops lists the kinds it does not use as empty.
func TestOpenOfOlderMetadata(t *testing.T) {
	id := newIdentity(t)
	raw := replace(t, seal(t, login(t), id), `(  encrypted_regex: .*)`, "$1\n  kms: []\n  gcp_kms: []\n  azure_kv: []\n  hc_vault: []\n  pgp: []")
	if diff := cmp.Diff(login(t), open(t, raw, id), values); diff != "" {
		t.Error(diff)
	}
}

// The environment holds a key that fits, in every place stock sops looks; it must not be used.
func TestOpenAsksNobody(t *testing.T) {
	id, stranger, home := newIdentity(t), newIdentity(t), t.TempDir()
	key := string(id.ExposeFile(now))
	keys := filepath.Join(home, "sops", "age", "keys.txt")
	if err := os.MkdirAll(filepath.Dir(keys), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(home, "ran")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("SOPS_AGE_KEY", key)
	t.Setenv("SOPS_AGE_KEY_FILE", keys)
	t.Setenv("SOPS_AGE_KEY_CMD", "touch "+ran)
	raw := seal(t, login(t), id)
	refused(t, raw, root.ErrWrongKey)
	refused(t, raw, root.ErrWrongKey, stranger)
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program was run")
	}
}

// Nothing reaches the process's streams, comments that the library would warn of included.
func TestNothingIsLogged(t *testing.T) {
	id := newIdentity(t)
	raw := replace(t, seal(t, login(t), id), `(?m)^  values:`, "  # canary plain comment\n  values:")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = write, write
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	// The library's loggers took their stream when they were made; redirecting the descriptor catches them too.
	restore := redirect(t, write)
	open(t, raw, id)
	refused(t, raw[:len(raw)/2], root.ErrMalformed, id)
	refused(t, raw, root.ErrWrongKey, newIdentity(t))
	seal(t, open(t, raw, id), id)
	restore()
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	if _, err := logged.ReadFrom(read); err != nil {
		t.Fatal(err)
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged.String())
	}
}
