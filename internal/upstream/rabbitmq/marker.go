// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/upstream/login"
)

// A user of RabbitMQ has no comment. It has tags, of which the broker knows five and ignores all others; Custody's hold
// no secret, and every administrator can read them.
const (
	tagPrefix = "custody."
	tagClaim  = tagPrefix + "claim="
	tagRun    = tagPrefix + "run="
	tagPast   = tagPrefix + "past="
	// maxPast bounds how many superseded runs a marker remembers.
	maxPast = 8
)

// tagText is what a tag may hold as it is: tags are of 255 bytes at most, and commas divide them.
var tagText = lazyregexp.New(`^[A-Za-z0-9._:/@-]{1,200}$`)

// inTag is text as a tag holds it, by its digest where it does not fit.
func inTag(text string) string {
	if tagText.MatchString(text) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// marker is what Custody's tags say: who may change the account, and which run did last.
type marker struct {
	claim string
	login.Runs[string]
}

// readMarker splits tags into Custody's and others.
func readMarker(tags []string) (m marker, others []string) {
	for _, tag := range tags {
		switch {
		case strings.HasPrefix(tag, tagClaim):
			m.claim = tag[len(tagClaim):]
		case strings.HasPrefix(tag, tagRun):
			m.Run = tag[len(tagRun):]
		case strings.HasPrefix(tag, tagPast):
			m.Past = append(m.Past, tag[len(tagPast):])
		case !strings.HasPrefix(tag, tagPrefix):
			others = append(others, tag)
		}
	}
	return m, others
}

// tags are m's own.
func (m marker) tags() []string {
	tags := []string{tagClaim + m.claim}
	if m.Run != "" {
		tags = append(tags, tagRun+m.Run)
	}
	for _, past := range m.Past {
		tags = append(tags, tagPast+past)
	}
	return tags
}

// supersede returns the marker once run has begun. ok is false when a later run has.
func (m marker) supersede(run authority.RunID) (next marker, ok bool) {
	m.Runs, ok = m.Begin(inTag(string(run)), maxPast)
	return m, ok
}
