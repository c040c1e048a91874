// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/getsops/sops/v3/shamir"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"
)

// A share's text is one line, made to be printed, typed and read aloud: lower-case letters and digits without 0, 1, 8
// and 9 in the long parts. Its parts, joined by dots:
//
//	custody-share-1 . THRESHOLDofTOTAL . INDEX . SET . KEY . DATA . CHECK
//
// SET tells one split from every other; KEY is the fingerprint of the public key; CHECK covers all that is before it.
const (
	shareVersion = "custody-share-1"
	maxShares    = 255
	setLength    = 5
	keyLength    = 10
	checkLength  = 5
)

var (
	shareCode = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	shareForm = lazyregexp.New(`^custody-share-1\.([1-9][0-9]{0,2})of([1-9][0-9]{0,2})\.([1-9][0-9]{0,2})\.([a-z2-7]{8})\.([a-z2-7]{16})\.([a-z2-7]{119,})\.([a-z2-7]{8})$`)
)

// Share is one part of a split identity. Fewer than the threshold of them tell nothing about it.
//
// Like an Identity, it is behind two pointers.
type Share struct{ in **share }

type share struct {
	threshold, total, index int
	set, key                string
	data                    []byte
}

// Fingerprint is the short form of a public key that shares carry: 16 letters and digits.
func Fingerprint(public string) string {
	return digest(keyLength, "custody public key", []byte(public))
}

func digest(length int, purpose string, parts ...[]byte) string {
	hash := sha256.New()
	hash.Write([]byte(purpose))
	for _, part := range parts {
		hash.Write([]byte{0})
		hash.Write(part)
	}
	return shareCode.EncodeToString(hash.Sum(nil)[:length])
}

// Split splits an identity into total shares, any threshold of which give it back. Both lie between 2 and 255.
// The shares were combined once before they are returned. Splitting the same identity again makes another set, whose
// shares do not mix with the first.
func Split(identity Identity, total, threshold int) ([]Share, error) {
	if threshold < 2 || total < threshold || total > maxShares {
		return nil, &Error{Doing: "splitting identity", Class: ErrMalformed,
			Detail: fmt.Sprintf("%d of %d shares is not possible", threshold, total),
			Next:   fmt.Sprintf("ask for 2 shares at least to be needed, and for no more than are made (%d at most)", maxShares)}
	}
	if identity.in == nil {
		return nil, &Error{Doing: "splitting identity", Class: ErrMalformed, Detail: "there is none", Next: "load one first"}
	}
	text := []byte((*identity.in).text)
	parts, err := shamir.Split(text, total, threshold)
	if err != nil {
		return nil, fmt.Errorf("splitting identity: %w", err) // speaks of counts and randomness only
	}
	set := digest(setLength, "custody share set", parts...)
	shares := make([]Share, 0, total)
	for i, part := range parts {
		shares = append(shares, keep(&share{
			threshold: threshold, total: total, index: i + 1, set: set, key: Fingerprint(identity.Public()), data: part[:len(text)],
		}))
	}
	for _, some := range [][]Share{shares[:threshold], shares[total-threshold:]} {
		if back, err := Combine(some); err != nil || back.Public() != identity.Public() {
			return nil, &Error{Doing: "splitting identity", Class: ErrMalformed, Detail: "the shares do not give the identity back",
				Next: "nothing was kept; report this"}
		}
	}
	return shares, nil
}

// ParseShare reads a share's text. Case, spaces and line breaks do not matter; anything else that changed is
// ErrDamagedShare.
func ParseShare(text string) (Share, error) {
	text = strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	parts := shareForm.FindStringSubmatch(text)
	if parts == nil {
		return Share{}, &Error{Doing: "reading share", Class: ErrDamagedShare, Detail: "it does not have the form of a share",
			Next: "give one whole line that begins with " + shareVersion + "; if it was typed, compare it with the original"}
	}
	in := &share{set: parts[4], key: parts[5]}
	in.threshold, _ = strconv.Atoi(parts[1])
	in.total, _ = strconv.Atoi(parts[2])
	in.index, _ = strconv.Atoi(parts[3])
	data, err := shareCode.DecodeString(parts[6])
	if err != nil || in.threshold < 2 || in.total < in.threshold || in.total > maxShares || in.index > in.total {
		return Share{}, damaged(in)
	}
	in.data = data
	if in.text() != text {
		return Share{}, damaged(in)
	}
	return keep(in), nil
}

func keep(in *share) Share { return Share{&in} }

func damaged(in *share) error {
	return &Error{Doing: "reading share", Class: ErrDamagedShare, Detail: fmt.Sprintf("the checksum of share %d does not fit", in.index),
		Next: "compare it with the original, letter by letter, or use another share of the set"}
}

func (s *share) text() string {
	body := fmt.Sprintf("%s.%dof%d.%d.%s.%s.%s", shareVersion, s.threshold, s.total, s.index, s.set, s.key, shareCode.EncodeToString(s.data))
	return body + "." + digest(checkLength, "custody share", []byte(body))
}

// Combine gives back the identity that was split. It never returns another: the result has the public key whose
// fingerprint the shares carry. More shares than needed are welcome, and all are used.
func Combine(shares []Share) (Identity, error) {
	const doing = "combining shares"
	if len(shares) == 0 || slices.ContainsFunc(shares, func(s Share) bool { return s.in == nil }) {
		return Identity{}, &Error{Doing: doing, Class: ErrTooFewShares, Detail: "a share is missing", Next: "give the shares, one a line"}
	}
	first := *shares[0].in
	parts := make([][]byte, 0, len(shares))
	seen := map[int]bool{}
	for _, each := range shares {
		s := *each.in
		if s.set != first.set || s.key != first.key || s.threshold != first.threshold || s.total != first.total {
			return Identity{}, &Error{Doing: doing, Class: ErrMixedShares,
				Detail: fmt.Sprintf("share %d is of set %s for key %s, share %d of set %s for key %s", first.index, first.set, first.key, s.index, s.set, s.key),
				Next:   "use shares of one set only: the set is the fourth part of the line"}
		}
		if seen[s.index] {
			return Identity{}, &Error{Doing: doing, Class: ErrDuplicateShare, Detail: fmt.Sprintf("share %d of set %s", s.index, s.set),
				Next: "replace one of the two by another share of the set"}
		}
		seen[s.index] = true
		parts = append(parts, append(bytes.Clone(s.data), byte(s.index)))
	}
	if len(shares) < first.threshold {
		return Identity{}, &Error{Doing: doing, Class: ErrTooFewShares,
			Detail: fmt.Sprintf("%d given, %d of %d needed", len(shares), first.threshold, first.total),
			Next:   fmt.Sprintf("bring %d more of set %s", first.threshold-len(shares), first.set)}
	}
	mismatch := &Error{Doing: doing, Class: ErrDamagedShare, Detail: fmt.Sprintf("together they do not give key %s", first.key),
		Next: "one of them was made to look right: try other shares of the set, leaving out one at a time"}
	text, err := shamir.Combine(parts)
	if err != nil {
		return Identity{}, mismatch
	}
	id, err := parseLine(string(text))
	if err != nil || Fingerprint(id.Public()) != first.key {
		return Identity{}, mismatch
	}
	return id, nil
}

// Index is the share's number, from 1.
func (s Share) Index() int { return s.shown().index }

// Threshold is how many shares are needed.
func (s Share) Threshold() int { return s.shown().threshold }

// Total is how many shares were made.
func (s Share) Total() int { return s.shown().total }

// Set names the split; shares of different sets do not mix.
func (s Share) Set() string { return s.shown().set }

// Key is the Fingerprint of the identity's public key.
func (s Share) Key() string { return s.shown().key }

func (s Share) shown() share {
	if s.in == nil {
		return share{}
	}
	return **s.in
}

// Expose returns the share's text, for a printer, a terminal or an encrypted message.
func (s Share) Expose() string {
	if s.in == nil {
		return ""
	}
	return (*s.in).text()
}

// String says which share it is, and redacts what it holds; so do the other forms.
func (s Share) String() string {
	in := s.shown()
	return fmt.Sprintf("share %d of %d (any %d), set %s, key %s %s", in.index, in.total, in.threshold, in.set, in.key, secret.Redacted)
}

// GoString redacts.
func (s Share) GoString() string { return s.String() }

// Format redacts under every verb and flag.
func (s Share) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// MarshalJSON redacts.
func (s Share) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText redacts.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML redacts.
func (s Share) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue redacts.
func (s Share) LogValue() slog.Value { return slog.StringValue(s.String()) }
