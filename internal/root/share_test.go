// SPDX-License-Identifier: Apache-2.0

package root_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"custody.dev/custody/internal/root"
)

func split(t testing.TB, id root.Identity, total, threshold int) []root.Share {
	t.Helper()
	shares, err := root.Split(id, total, threshold)
	if err != nil {
		t.Fatal(err)
	}
	return shares
}

func TestEveryQuorumGivesTheIdentityBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		id := newIdentity(t)
		total := rapid.IntRange(2, 9).Draw(r, "total")
		threshold := rapid.IntRange(2, total).Draw(r, "threshold")
		chosen := rapid.Permutation(split(t, id, total, threshold)).Draw(r, "order")
		given := rapid.IntRange(0, total).Draw(r, "given")
		var parsed []root.Share
		for _, share := range chosen[:given] {
			text := share.Expose()
			if rapid.Bool().Draw(r, "typed") {
				text = " " + strings.ToUpper(text[:40]) + "\n  " + text[40:] + "\r\n"
			}
			back, err := root.ParseShare(text)
			if err != nil {
				r.Fatal(err)
			}
			parsed = append(parsed, back)
		}
		got, err := root.Combine(parsed)
		if given < threshold {
			if !errors.Is(err, root.ErrTooFewShares) || hint(err) == "" {
				r.Fatalf("%d of %d: %v", given, threshold, err)
			}
			return
		}
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(string(id.ExposeFile(created)), string(got.ExposeFile(created))); diff != "" {
			r.Fatal("another identity came back")
		}
	})
}

func TestShareSaysWhatItIs(t *testing.T) {
	id := newIdentity(t)
	share := split(t, id, 5, 3)[3]
	text := share.Expose()
	if strings.ContainsAny(text, " \n\t") || len(text) > 180 {
		t.Errorf("a share must be one line without blanks that a person can type; it has %d characters", len(text))
	}
	back, err := root.ParseShare(text)
	if err != nil {
		t.Fatal(err)
	}
	type facts struct {
		Index, Threshold, Total int
		Set, Key                string
	}
	want := facts{4, 3, 5, share.Set(), root.Fingerprint(id.Public())}
	got := facts{back.Index(), back.Threshold(), back.Total(), back.Set(), back.Key()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if other := split(t, id, 5, 3)[3]; other.Set() == share.Set() {
		t.Error("two splits have one set id")
	}
}

func TestSplitRefuses(t *testing.T) {
	id := newIdentity(t)
	for name, c := range map[string]struct {
		id               root.Identity
		total, threshold int
	}{
		"one needed": {id, 3, 1}, "more needed than made": {id, 2, 3}, "none": {id, 0, 0}, "too many": {id, 256, 2},
		"zero identity": {root.Identity{}, 3, 2},
	} {
		if shares, err := root.Split(c.id, c.total, c.threshold); !errors.Is(err, root.ErrMalformed) || hint(err) == "" || shares != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	id := newIdentity(t)
	shares, again, foreign := split(t, id, 3, 2), split(t, id, 3, 2), split(t, newIdentity(t), 3, 2)
	for name, c := range map[string]struct {
		shares []root.Share
		err    error
		says   string
	}{
		"none":           {nil, root.ErrTooFewShares, "give the shares"},
		"one":            {shares[:1], root.ErrTooFewShares, "bring 1 more of set " + shares[0].Set()},
		"zero share":     {[]root.Share{shares[0], {}}, root.ErrTooFewShares, "give the shares"},
		"twice":          {[]root.Share{shares[0], shares[0]}, root.ErrDuplicateShare, "another share of the set"},
		"another split":  {[]root.Share{shares[0], again[1]}, root.ErrMixedShares, "one set only"},
		"another root":   {[]root.Share{shares[0], foreign[1]}, root.ErrMixedShares, "one set only"},
		"mixed and more": {[]root.Share{shares[0], shares[1], again[2]}, root.ErrMixedShares, "one set only"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := root.Combine(c.shares)
			if !errors.Is(err, c.err) || got.Public() != "" {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if !strings.Contains(hint(err), c.says) {
				t.Errorf("hint %q does not say %q", hint(err), c.says)
			}
		})
	}
}

func TestEveryChangedLetterOfAShareIsFound(t *testing.T) {
	text := split(t, newIdentity(t), 3, 2)[0].Expose()
	for at := range text {
		for _, letter := range "a2.z-" {
			changed := text[:at] + string(letter) + text[at+1:]
			if changed == text {
				continue
			}
			if _, err := root.ParseShare(changed); !errors.Is(err, root.ErrDamagedShare) || hint(err) == "" {
				t.Fatalf("letter %d as %c: %v", at, letter, err)
			}
		}
		for _, changed := range []string{text[:at], text[:at] + text[at+1:], text[:at] + "a" + text[at:]} {
			if _, err := root.ParseShare(changed); !errors.Is(err, root.ErrDamagedShare) {
				t.Fatalf("at %d: %v", at, err)
			}
		}
	}
}

// FuzzCombineNeverGivesAnother: whatever is put into a share, the identity comes back or none does. The input is the
// change and not the share, since each worker of the fuzzer splits an identity of its own.
func FuzzCombineNeverGivesAnother(f *testing.F) {
	id := newIdentity(f)
	shares := split(f, id, 3, 2)
	original := shares[1].Expose()
	f.Add(uint(0), uint(0), "")
	f.Add(uint(0), uint(1000), "")
	f.Add(uint(strings.Index(original, ".2.")), uint(3), ".3.")
	f.Add(uint(strings.Index(original, "2of3")), uint(4), "3of3")
	f.Add(uint(len(original)), uint(0), "\n")
	f.Fuzz(func(t *testing.T, at, cut uint, insert string) {
		begin := min(at, uint(len(original)))
		end := begin + min(cut, uint(len(original))-begin)
		share, err := root.ParseShare(original[:begin] + insert + original[end:])
		if err != nil {
			return
		}
		if share.Expose() != original {
			t.Errorf("a changed share was read: %q in place of %d bytes at %d", insert, cut, at)
		}
		got, err := root.Combine([]root.Share{shares[0], share})
		if err != nil || got.Public() != id.Public() {
			t.Errorf("got %q, %v", got.Public(), err)
		}
	})
}
