// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"custody.dev/custody/internal/root"
)

// redirect points the process's standard error at to until the result is called.
func redirect(t *testing.T, to *os.File) (restore func()) {
	t.Helper()
	kept, err := unix.Dup(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(to.Fd()), 2, 0); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Dup3(kept, 2, 0); err != nil {
			t.Error(err)
		}
		if err := unix.Close(kept); err != nil {
			t.Error(err)
		}
	}
}

// A document cut at any place is refused, until only the last line break is missing. What is cut within spec still
// decrypts, and then names another secret or none: bootstrap compares that with the binding.
func TestOpenCutShort(t *testing.T) {
	id := newIdentity(t)
	want := login(t)
	raw := seal(t, want, id)
	plain := bytes.Index(raw, []byte("\nspec:"))
	for at := 0; at < len(raw)-1; at++ {
		if at%64 != 0 && at < plain {
			continue
		}
		got, err := codec().Open(t.Context(), raw[:at], []root.Identity{id})
		if err == nil && (at < plain || got.Seeds == want.Seeds || !got.Value.Equal(want.Value) || got.Binding != want.Binding) {
			t.Errorf("cut at %d of %d: opened", at, len(raw))
		}
	}
}

// A flipped bit in any byte of the encrypted data and of its MAC is found; of the rest (a sample), none changes what is
// returned.
func TestOpenFlipped(t *testing.T) {
	id := newIdentity(t)
	want := login(t)
	raw := seal(t, want, id)
	begin, end := bytes.Index(raw, []byte("data:\n")), bytes.Index(raw, []byte("kind:"))
	mac := bytes.Index(raw, []byte("  mac: "))
	macEnd := mac + bytes.IndexByte(raw[mac:], '\n')
	for at := range raw {
		covered := at >= begin && at < end || at >= mac && at < macEnd
		if !covered && at%4 != 0 {
			continue
		}
		flipped := bytes.Clone(raw)
		flipped[at] ^= 1 << (at * 5 % 8)
		got, err := codec().Open(t.Context(), flipped, []root.Identity{id})
		if err != nil {
			if strings.Contains(err.Error(), "canary") {
				t.Fatalf("byte %d: the error holds a value", at)
			}
			continue
		}
		if !got.Value.Equal(want.Value) || got.Binding != want.Binding {
			t.Fatalf("byte %d: another value", at)
		}
		if inText := raw[at] > ' ' && flipped[at] > ' '; covered && inText {
			t.Errorf("byte %d (%q as %q): opened", at, raw[at], flipped[at])
		}
	}
}

// splice puts insert in place of cut bytes at at.
func splice(raw []byte, at, cut uint, insert []byte) []byte {
	begin := min(at, uint(len(raw)))
	end := begin + min(cut, uint(len(raw))-begin)
	return slices.Concat(raw[:begin], insert, raw[end:])
}

// keeps wants a refusal, or exactly the value and binding that were sealed.
func keeps(t interface{ Errorf(string, ...any) }, raw []byte, want root.Document, id root.Identity) {
	got, err := codec().Open(context.Background(), raw, []root.Identity{id})
	switch {
	case err != nil && (!got.Value.Empty() || got.Name != ""):
		t.Errorf("a document came with %v", err)
	case err == nil && (!got.Value.Equal(want.Value) || got.Binding != want.Binding):
		t.Errorf("another value or binding")
	case err != nil && strings.Contains(err.Error(), "canary"):
		t.Errorf("the error holds a value")
	}
}

// Pieces of the document and of its siblings, sealed by the same hands, put anywhere in it.
func TestOpenSpliced(t *testing.T) {
	id := newIdentity(t)
	want := login(t)
	raw := seal(t, want, id)
	sources := [][]byte{raw, seal(t, document(t, map[string]string{"username": "other", "password": "canary-other"}), id), seal(t, want, newIdentity(t))}
	rapid.Check(t, func(r *rapid.T) {
		source := rapid.SampledFrom(sources).Draw(r, "source")
		lines, pieces := bytes.SplitAfter(raw, []byte("\n")), bytes.SplitAfter(source, []byte("\n"))
		from, length := rapid.IntRange(0, len(pieces)-1).Draw(r, "from"), rapid.IntRange(0, 30).Draw(r, "length")
		piece := bytes.Join(pieces[from:min(from+length, len(pieces))], nil)
		at, cut := rapid.IntRange(0, len(lines)-1).Draw(r, "at"), rapid.IntRange(0, 30).Draw(r, "cut")
		rest := bytes.Join(lines[min(at+cut, len(lines)):], nil)
		// A document that is another one as a whole was sealed by whoever may: what it is bound to is compared by its reader.
		if spliced := slices.Concat(bytes.Join(lines[:at], nil), piece, rest); !bytes.Equal(spliced, sources[1]) {
			keeps(r, spliced, want, id)
		}
		keeps(r, splice(raw, rapid.UintMax(uint(len(raw))).Draw(r, "byte"), rapid.UintMax(80).Draw(r, "bytes"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "insert")), want, id)
	})
}

// FuzzOpen: whatever is put into a document, it is refused or gives exactly what was sealed. The input is the change and
// not the document, since each worker of the fuzzer seals with keys of its own.
func FuzzOpen(f *testing.F) {
	id := newIdentity(f)
	want := login(f)
	raw := seal(f, want, id)
	at := func(text string) uint { return uint(bytes.Index(raw, []byte(text))) }
	f.Add(uint(0), uint(0), []byte{})
	f.Add(uint(0), uint(1<<20), []byte("apiVersion: custody.dev/v1alpha1\nkind: BootstrapSecret\n"))
	f.Add(at("type:str"), uint(8), []byte("type:bytes"))
	f.Add(at("kind:"), uint(0), []byte("x: &a [*a]\n"))
	f.Add(at("    username"), uint(0), []byte("    added: \"\"\n"))
	f.Add(at("  mac:"), uint(20), []byte("  mac: \"\""))
	f.Fuzz(func(t *testing.T, at, cut uint, insert []byte) { keeps(t, splice(raw, at, cut, insert), want, id) })
}
