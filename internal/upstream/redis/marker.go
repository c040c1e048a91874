// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream/login"
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
	entryPast  = 'P' // 4 bytes: place among them, the oldest first; 20 bytes: digest of a run that was superseded
)

const (
	entryBytes = sha256.Size
	bodyBytes  = entryBytes - len(magic) - 1
	countBytes = 4
	runBytes   = bodyBytes - countBytes
	// maxPast bounds how many superseded runs are remembered.
	maxPast = 8
)

// marker is what a user's entries say: who may change the account, which run did last, and how often it was changed.
// Claim and runs are there by their digests.
type marker struct {
	claim string
	login.Runs[string]
	changes uint32
}

func digestOf(what, text string) string {
	sum := sha256.Sum256([]byte("custody.dev/redis/" + what + "\x00" + text))
	return string(sum[:])
}

func claimDigest(claim string) string { return digestOf("claim", claim)[:bodyBytes] }

func runDigest(run authority.RunID) string { return digestOf("run", string(run))[:runBytes] }

// entry is the digest as rules write it, without # or !.
func entry(kind byte, body string) string {
	return hex.EncodeToString(append(append([]byte(magic), kind), body...))
}

// runEntry is that of a run; among those of one kind, the number orders them.
func runEntry(kind byte, number uint32, run string) string {
	return entry(kind, string(binary.BigEndian.AppendUint32(nil, number))+run)
}

// noRun is what a first entry has for a run.
var noRun = string(make([]byte, runBytes))

// entries are all digests of m.
func (m marker) entries() []string {
	all := []string{entry(entryClaim, m.claim), runEntry(entryRun, m.changes, m.Run)}
	for i, past := range m.Past {
		all = append(all, runEntry(entryPast, uint32(i), past))
	}
	return all
}

// readMarker splits a user's digests into Custody's and those of passwords. A late creation may have left a first entry
// beside a newer one, which m passes over. own is nil without an entry of a run: too little to hold on to.
func readMarker(digests []string) (m marker, own, passwords []string) {
	found := false
	for _, digest := range slices.Sorted(slices.Values(digests)) { // runs of one kind in the order of their numbers
		raw, err := hex.DecodeString(digest)
		if err != nil || len(raw) != entryBytes || !bytes.HasPrefix(raw, []byte(magic)) {
			passwords = append(passwords, digest)
			continue
		}
		own = append(own, digest)
		body := raw[len(magic)+1:]
		number, run := binary.BigEndian.Uint32(body), string(body[countBytes:])
		switch raw[len(magic)] {
		case entryClaim:
			m.claim = string(body)
		case entryRun:
			m.Run, m.changes, found = strings.TrimSuffix(run, noRun), number, true
		case entryPast:
			m.Past = append(m.Past, run)
		}
	}
	if !found {
		own = nil
	}
	return m, own, passwords
}

// supersede returns the marker once run has changed something more. ok is false when a later run has begun.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	m.Runs, ok = m.Begin(runDigest(run), maxPast)
	m.changes++
	return m, ok
}
