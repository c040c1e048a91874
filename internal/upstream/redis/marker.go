// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"custody.dev/custody/internal/authority"
)

// Redis has no comment on a user. It has a list of SHA-256 digests, any of which opens the account; a digest that
// nobody can find a password for is room for 32 bytes of one's own. Custody's begin with the word below, which a real
// digest does by accident once in 2^64. What makes this more than a note: removing a digest that is not there fails the
// whole ACL SETUSER, so that a change which takes the marker it has seen along is conditional on it.
const magic = "custody"

// marked is how Custody's entries begin in ACL LIST, after the #.
var marked = hex.EncodeToString([]byte(magic))

// Kinds of entries, after the word.
const (
	entryClaim = 'C' // 24 bytes: digest of the claim
	entryRun   = 'R' // 4 bytes: count of changes; 20 bytes: digest of the current run
	entryPast  = 'P' // the same of a run that was superseded
)

const (
	entryBytes = sha256.Size
	bodyBytes  = entryBytes - len(magic) - 1
	countBytes = 4
	// maxPast bounds how many superseded runs are remembered.
	maxPast = 8
)

type runDigest [bodyBytes - countBytes]byte

// stamp is one run's entry.
type stamp struct {
	count uint32
	run   runDigest
}

// marker is what a user's entries say: who may change the account, which run did last, and how often it was changed.
type marker struct {
	claim [bodyBytes]byte
	run   stamp
	// past are the runs that were superseded, oldest first.
	past []stamp
}

func digestOf(what, text string) []byte {
	sum := sha256.Sum256([]byte("custody.dev/redis/" + what + "\x00" + text))
	return sum[:]
}

func claimDigest(claim string) (d [bodyBytes]byte) {
	copy(d[:], digestOf("claim", claim))
	return d
}

func digestRun(run authority.RunID) (d runDigest) {
	copy(d[:], digestOf("run", string(run)))
	return d
}

// entry is the digest as rules write it, without # or !.
func entry(kind byte, body []byte) string {
	return hex.EncodeToString(append(append([]byte(magic), kind), body...))
}

func (s stamp) entry(kind byte) string {
	return entry(kind, append(binary.BigEndian.AppendUint32(nil, s.count), s.run[:]...))
}

// entries are all digests of m.
func (m marker) entries() []string {
	all := []string{entry(entryClaim, m.claim[:]), m.run.entry(entryRun)}
	for _, past := range m.past {
		all = append(all, past.entry(entryPast))
	}
	return all
}

// readMarker splits a user's digests into Custody's and those of passwords. stray are Custody's that m does not keep: a
// late creation may leave a first entry beside a newer one. found is false when there is no current run.
func readMarker(digests []string) (m marker, own, passwords []string, claimed, found bool) {
	for _, digest := range digests {
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != entryBytes || !bytes.HasPrefix(raw, []byte(magic)) {
			passwords = append(passwords, digest)
			continue
		}
		own = append(own, digest)
		body := raw[len(magic)+1:]
		s := stamp{count: binary.BigEndian.Uint32(body)}
		copy(s.run[:], body[countBytes:])
		switch raw[len(magic)] {
		case entryClaim:
			copy(m.claim[:], body)
			claimed = true
		case entryRun:
			if !found || s.count > m.run.count {
				m.run = s
			}
			found = true
		case entryPast:
			m.past = append(m.past, s)
		}
	}
	slices.SortFunc(m.past, func(a, b stamp) int { return int(a.count) - int(b.count) })
	return m, own, passwords, claimed, found
}

// supersede returns the marker once run has changed something more. ok is false when a later run has begun.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	digest := digestRun(run)
	if slices.ContainsFunc(m.past, func(s stamp) bool { return s.run == digest }) {
		return m, false
	}
	next = m
	if m.run.run != digest && m.run.run != (runDigest{}) {
		next.past = append(slices.Clone(m.past), m.run)
		next.past = next.past[max(0, len(next.past)-maxPast):]
	}
	next.run = stamp{count: m.run.count + 1, run: digest}
	return next, true
}
