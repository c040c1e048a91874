// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"context"
	"strconv"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/login"
)

const (
	// maxDescription is the most that MinIO takes.
	maxDescription = 256
	markerPrefix   = "custody/"
	markerSchema   = markerPrefix + "1"
	// keyName is the name of every key; what tells them apart is the description.
	keyName = "custody"
)

// marker is the description of a key: who may change it, which run made it, and which runs came before. It holds no
// secret: custody/1 CLAIM RUN SEQUENCE [PAST,…].
type marker struct {
	Claim string
	accesskey.Runs
	Sequence uint64
}

// claimed reports whether a description is some Custody's, in whatever schema.
func claimed(description string) bool { return strings.HasPrefix(description, markerPrefix) }

// parseMarker reads a description; own is false for one in any other form.
func parseMarker(description string) (m marker, own bool) {
	parts := strings.Split(description, " ")
	if len(parts) < 4 || len(parts) > 5 || parts[0] != markerSchema || parts[1] == "" || parts[2] == "" {
		return marker{}, false
	}
	sequence, err := strconv.ParseUint(parts[3], 10, 64)
	if err != nil {
		return marker{}, false
	}
	m = marker{Claim: parts[1], Runs: accesskey.Runs{Run: authority.RunID(parts[2])}, Sequence: sequence}
	if len(parts) == 5 {
		m.Past = strings.Split(parts[4], ",")
	}
	return m, true
}

// encode leaves out the oldest runs that do not fit.
func (m marker) encode() string {
	head := strings.Join([]string{markerSchema, m.Claim, string(m.Run), strconv.FormatUint(m.Sequence, 10)}, " ")
	for i := range m.Past {
		if text := head + " " + strings.Join(m.Past[i:], ","); len(text) <= maxDescription {
			return text
		}
	}
	return head
}

var _ upstream.Marked = (*Upstream)(nil)

// Stranger reads the descriptions of the user's keys.
func (u *Upstream) Stranger(ctx context.Context, known []authority.RunID) (string, error) {
	c, err := u.look(ctx, login.LookingAtMarker)
	if err != nil {
		return "", err
	}
	defer c.end()
	return c.newest().Stranger(known), nil
}

// newest is the marker of the key that was made last, of those with this account's claim.
func (c *call) newest() (newest marker) {
	for _, a := range c.accounts {
		m, own := parseMarker(a.Description)
		if !own || m.Claim != c.u.Claim || m.Sequence < newest.Sequence {
			continue
		}
		newest = m
	}
	return newest
}

// supersede returns the marker that run writes, given all keys of the user. It is an error when a later run has begun.
func (c *call) supersede(run authority.RunID) (marker, error) {
	newest := c.newest()
	runs, ok := newest.Begin(run)
	switch {
	case !ok:
		return marker{}, login.Superseded(c.doing, run, newest.Run)
	case newest.Run == run:
		return newest, nil
	}
	return marker{Claim: c.u.Claim, Runs: runs, Sequence: newest.Sequence + 1}, nil
}

func foreign(doing string) *upstream.Error {
	return &upstream.Error{
		Doing: doing, Class: upstream.ErrSuperseded, Detail: "a key of that id carries another claim or belongs to another run",
		Next: "if nobody else rotates it, delete it by hand: mc admin accesskey rm ALIAS KEY",
	}
}
