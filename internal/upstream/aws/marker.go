// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Tags of the user. A value has 256 characters at most.
const (
	tagClaim = "custody"
	// tagRuns holds the current run, then the digests of those before it, newest first.
	tagRuns = "custody-run"
	// tagInactive holds the ids of keys that Custody made inactive.
	tagInactive = "custody-inactive"

	maxTag  = 256
	maxPast = 16
)

// marker is what the tags say. It holds no secret; who may read the user sees it.
type marker struct {
	Claim    string
	Run      authority.RunID
	Past     []string
	Inactive []string
}

func readMarker(tags []types.Tag) marker {
	var m marker
	for _, tag := range tags {
		value := aws.ToString(tag.Value)
		switch aws.ToString(tag.Key) {
		case tagClaim:
			m.Claim = value
		case tagRuns:
			if words := strings.Fields(value); len(words) > 0 {
				m.Run, m.Past = authority.RunID(words[0]), words[1:]
			}
		case tagInactive:
			m.Inactive = strings.Fields(value)
		}
	}
	return m
}

func (m marker) tags() []types.Tag {
	tag := func(key, value string) types.Tag { return types.Tag{Key: aws.String(key), Value: aws.String(value)} }
	return []types.Tag{
		tag(tagClaim, m.Claim),
		tag(tagRuns, fit(append([]string{string(m.Run)}, m.Past...))),
		tag(tagInactive, fit(m.Inactive)),
	}
}

// fit joins as many words as a tag holds.
func fit(words []string) string {
	text := ""
	for _, word := range words {
		if len(text)+1+len(word) > maxTag {
			break
		}
		text = strings.TrimPrefix(text+" "+word, " ")
	}
	return text
}

func (m marker) equal(other marker) bool {
	return m.Claim == other.Claim && m.Run == other.Run && slices.Equal(m.Past, other.Past) && slices.Equal(m.Inactive, other.Inactive)
}

// next is the marker once run has begun and inactive are what Custody made inactive.
func (m marker) next(run authority.RunID, inactive []string) marker {
	next := m
	next.Inactive = inactive
	if m.Run == run {
		return next
	}
	next.Run = run
	if m.Run != "" {
		next.Past = append([]string{short(m.Run)}, m.Past...)
		next.Past = next.Past[:min(len(next.Past), maxPast)]
	}
	return next
}

func short(run authority.RunID) string {
	sum := sha256.Sum256([]byte(run))
	return hex.EncodeToString(sum[:4])
}

// admit checks that run may change what is marked by m.
func (m marker) admit(doing, claim string, run authority.RunID) error {
	if m.Claim != "" && m.Claim != claim {
		return &Error{
			Doing: doing, Class: upstream.ErrSuperseded, Detail: "the user carries the claim of " + m.Claim,
			Next: "if nobody else rotates its keys: aws iam untag-user --user-name USER --tag-keys custody custody-run custody-inactive",
		}
	}
	if m.Run != run && slices.Contains(m.Past, short(run)) {
		return &Error{
			Doing: doing, Class: upstream.ErrSuperseded, Detail: "run " + string(m.Run) + " came after run " + string(run),
			Next: "nothing: the later run goes on",
		}
	}
	return nil
}
