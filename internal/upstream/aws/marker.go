// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/login"

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

	maxTag = 256
)

// marker is what the tags say. It holds no secret; who may read the user sees it.
type marker struct {
	Claim string
	accesskey.Runs
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
				m.Run, m.Past = authority.RunID(words[0]), reversed(words[1:])
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
		tag(tagRuns, fit(append([]string{string(m.Run)}, reversed(m.Past)...))),
		tag(tagInactive, fit(m.Inactive)),
	}
}

func reversed(words []string) []string {
	words = slices.Clone(words)
	slices.Reverse(words)
	return words
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

// next is the marker once run, which was admitted, has begun and inactive are what Custody made inactive.
func (m marker) next(run authority.RunID, inactive []string) marker {
	m.Runs, _ = m.Begin(run)
	m.Inactive = inactive
	return m
}

// foreign is an error where m carries another claim.
func (m marker) foreign(doing, claim string) error {
	if m.Claim != "" && m.Claim != claim {
		return &upstream.Error{
			Doing: doing, Class: upstream.ErrSuperseded, Detail: "the user carries the claim of " + m.Claim,
			Next: "if nobody else rotates its keys: aws iam untag-user --user-name USER --tag-keys custody custody-run custody-inactive",
		}
	}
	return nil
}

// admit checks that run may change what is marked by m.
func (m marker) admit(doing, claim string, run authority.RunID) error {
	if err := m.foreign(doing, claim); err != nil {
		return err
	}
	if _, ok := m.Begin(run); !ok {
		return login.Superseded(doing, run, m.Run)
	}
	return nil
}
