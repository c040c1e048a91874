// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/root"
)

// stock is the real sops, working in a folder of its own with one identity and nothing else of the user's.
type stock struct {
	t       *testing.T
	program string
	folder  string
	file    string
}

func newStock(t *testing.T, id root.Identity) stock {
	t.Helper()
	s := stock{t: t, program: realparts.Sops(t), folder: t.TempDir()}
	s.file = filepath.Join(s.folder, "orders-db.yaml")
	s.write("key.txt", id.ExposeFile(now), 0o600)
	return s
}

func (s stock) write(name string, data []byte, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), data, mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s stock) put(raw []byte) {
	s.t.Helper()
	s.write("orders-db.yaml", raw, 0o600)
}

func (s stock) get() []byte {
	s.t.Helper()
	raw, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	return raw
}

func (s stock) run(args ...string) []byte {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), s.program, args...)
	command.Dir = s.folder
	command.Env = []string{
		"HOME=" + s.folder, "PATH=" + os.Getenv("PATH"), "SOPS_DISABLE_VERSION_CHECK=true",
		"SOPS_AGE_KEY_FILE=" + filepath.Join(s.folder, "key.txt"), "EDITOR=" + filepath.Join(s.folder, "editor"),
	}
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		s.t.Fatalf("sops %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return out
}

func TestStockSopsIsTheVersionWritten(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	fields := strings.Fields(string(s.run("--version")))
	if len(fields) < 2 {
		t.Fatalf("got %q", fields)
	}
	if !bytes.Contains(seal(t, login(t), id), []byte("version: "+fields[1]+"\n")) {
		t.Errorf("documents do not say version %s: adjust formatVersion", fields[1])
	}
}

func TestStockSopsReads(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	key := "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n"
	s.put(seal(t, document(t, map[string]string{"password": canary, "key": key, "raw": "\xff\x00", "empty": "", "number": "0123", "truth": "true"}), id))
	var got struct {
		Data v1alpha1.BootstrapData `yaml:"data"`
		Spec v1alpha1.BootstrapSecretSpec
	}
	if err := yaml.Unmarshal(s.run("decrypt", s.file), &got); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.BootstrapData{
		Binding: v1alpha1.Binding{Platform: "example", Secret: "orders-db", Path: "shop/orders", Namespace: "shop"},
		Values: map[string]string{
			"password": canary, "key": key, "raw.base64": "base64:/wA=", "empty.base64": "base64:", "number": "0123", "truth": "true",
		},
	}
	if diff := cmp.Diff(want, got.Data); diff != "" {
		t.Error(diff)
	}
	if got.Spec.Seeds != "orders-db" {
		t.Errorf("seeds %q", got.Spec.Seeds)
	}
}

func with(t *testing.T, doc root.Document, name, content string) root.Document {
	t.Helper()
	value, err := doc.Value.With(name, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	doc.Value = value
	return doc
}

func TestOpenAfterStockSopsSet(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	s.put(seal(t, login(t), id))
	s.run("set", s.file, `["data"]["values"]["password"]`, `"new-pass phrase"`)
	s.run("set", s.file, `["data"]["values"]["added"]`, `"more"`)
	s.run("set", s.file, `["data"]["values"]["blob.base64"]`, `"base64:`+base64.StdEncoding.EncodeToString([]byte{0xff})+`"`)
	want := with(t, with(t, with(t, login(t), "password", "new-pass phrase"), "added", "more"), "blob", "\xff")
	raw := s.get()
	if diff := cmp.Diff(want, open(t, raw, id), values); diff != "" {
		t.Error(diff)
	}
	// What sops appended stands out of order; sealing again puts it in order, so that sorting does no harm.
	again := seal(t, open(t, raw, id), id)
	if diff := cmp.Diff(want, open(t, sort(t, again), id), values); diff != "" {
		t.Error(diff)
	}
	refused(t, sort(t, raw), root.ErrTampered, id)
	s.run("unset", s.file, `["data"]["values"]["added"]`)
	if got := open(t, s.get(), id); got.Value.Has("added") {
		t.Error("the field is still there")
	}
	s.run("set", s.file, `["data"]["values"]["password"]`, `42`)
	refusedSaying(t, s.get(), root.ErrMalformed, "data.values.password is not text but float", id)
	s.run("set", s.file, `["data"]["values"]["password"]`, `""`)
	refused(t, s.get(), root.ErrMalformed, id)
}

// sort reorders every mapping, as an API server does.
func sort(t *testing.T, raw []byte) []byte {
	t.Helper()
	var all map[string]any
	if err := yaml.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	out, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOpenAfterStockSopsEdit(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	s.put(seal(t, login(t), id))
	s.write("editor", []byte("#!/bin/sh\nsed -i -e 's/password: .*/password: edited # canary in a comment/' -e 's/^    binding:/    # canary on a line\\n    binding:/' \"$1\"\n"), 0o700)
	s.run("edit", s.file)
	raw := s.get()
	if bytes.Contains(raw, []byte("canary")) || !bytes.Contains(raw, []byte("type:comment")) {
		t.Fatalf("sops did not encrypt the comments:\n%s", raw)
	}
	want := with(t, login(t), "password", "edited")
	if diff := cmp.Diff(want, open(t, raw, id), values); diff != "" {
		t.Error(diff)
	}
	again := seal(t, open(t, raw, id), id)
	s.put(again)
	s.run("decrypt", s.file)
	if diff := cmp.Diff(want, open(t, again, id), values); diff != "" {
		t.Error(diff)
	}
}

// An edit that changes nothing gives every value back, whatever its text looks like in YAML.
func TestStockSopsEditKeepsOddTexts(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	s.write("editor", []byte("#!/bin/sh\nsed -i 's/seeds:/seeds: /' \"$1\"\n"), 0o700)
	odd := map[string]string{
		"a": "\n leading", "b": "trailing \n", "c": "\ttab", "d": "a\r\nb", "e": "\u2028\u0085\ufeff", "f": "- a: *b # c", "g": "\x00\x1b",
		"h": "null", "i": "0o17", "j": "1e3", "k": "2026-03-01", "l": "~", "m": "'\"", "n": strings.Repeat("long ", 200), "o": "\n\n\n", "p": "é𝄞",
		"q": "<<", "r": "ENC[AES256_GCM,data:x]", "s": "a\n  b\n c\n",
	}
	want := document(t, odd)
	s.put(seal(t, want, id))
	before := s.get()
	s.run("edit", s.file)
	after := s.get()
	if bytes.Equal(before, after) {
		t.Fatal("sops wrote nothing")
	}
	got := open(t, after, id)
	for _, name := range want.Value.Names() {
		if diff := cmp.Diff(want.Value.ExposeText(name), got.Value.ExposeText(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOpenAfterStockSopsUpdateKeys(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	offline, host := newIdentity(t), newIdentity(t)
	s := newStock(t, offline)
	s.put(seal(t, login(t), offline))
	s.write(".sops.yaml", []byte("creation_rules:\n  - encrypted_regex: ^data$\n    mac_only_encrypted: true\n    age: "+offline.Public()+","+host.Public()+"\n"), 0o600)
	s.run("updatekeys", "--yes", s.file)
	for _, id := range []root.Identity{offline, host} {
		if diff := cmp.Diff(login(t), open(t, s.get(), id), values); diff != "" {
			t.Error(diff)
		}
	}
	s.run("rotate", "--in-place", s.file)
	if diff := cmp.Diff(login(t), open(t, s.get(), host), values); diff != "" {
		t.Error(diff)
	}
}

// A document need not come from Seal: what stock sops encrypts by the rule opens as well.
func TestOpenOfWhatStockSopsEncrypted(t *testing.T) {
	if testing.Short() {
		return // stock sops takes minutes to build
	}
	id := newIdentity(t)
	s := newStock(t, id)
	s.write(".sops.yaml", []byte("creation_rules:\n  - encrypted_regex: ^data$\n    mac_only_encrypted: true\n    age: "+id.Public()+"\n"), 0o600)
	plain := `apiVersion: custody.dev/v1alpha1
data:
  binding: {namespace: shop, path: shop/orders, platform: example, secret: orders-db}
  values:
    password: ` + canary + `
    username: orders_a
kind: BootstrapSecret
metadata: {labels: {custody.dev/class: bootstrap}, name: orders-db-bootstrap}
spec: {neededBy: [postgres], seeds: orders-db}
`
	s.put([]byte(plain))
	refused(t, s.get(), root.ErrPlaintext, id)
	s.run("encrypt", "--in-place", s.file)
	if diff := cmp.Diff(login(t), open(t, s.get(), id), values); diff != "" {
		t.Error(diff)
	}
	s.put([]byte(plain))
	if err := os.Remove(filepath.Join(s.folder, ".sops.yaml")); err != nil {
		t.Fatal(err)
	}
	s.run("encrypt", "--in-place", "--age", id.Public(), s.file)
	refused(t, s.get(), root.ErrMalformed, id) // encrypts everything, names included
}
