// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

const (
	nonceBytes = 4
	// shortTag is the length of the shortest tag: custody-, twenty digits for claim and run, and the nonce.
	shortTag = len("custody-") + 20 + 1 + 2*nonceBytes
)

// Nonce tells tags of one run apart.
func Nonce(random io.Reader) (string, error) {
	raw := make([]byte, nonceBytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("drawing a nonce: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func digest(n int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:n]
}

var (
	plainRun  = lazyregexp.New(`^[A-Za-z0-9-]+$`)
	notPlain  = lazyregexp.New(`[^a-z0-9]+`)
	nonceForm = lazyregexp.New(`^[0-9a-f]{8}(-|$)`)
)

// tagPrefix is what every tag of run begins with: the claim's digest and the run, or where that does not fit, one digest
// of both.
func (c *Compiled) tagPrefix(claim, run string) string {
	long := "custody-" + digest(10, claim) + "-" + run + "-"
	if c.Source.Tag != nil && plainRun.MatchString(run) && len(long)+2*nonceBytes <= c.Source.Tag.Max {
		return long
	}
	return "custody-" + digest(20, claim, run) + "-"
}

// Tag is what a credential of claim and run carries, "" where the recipe has none; the claim in words at its end, as far
// as it fits, is for people.
func (c *Compiled) Tag(claim, run, nonce string) string {
	if c.Source.Tag == nil {
		return ""
	}
	tag := c.tagPrefix(claim, run) + nonce
	words := "-" + strings.Trim(notPlain.ReplaceAllString(strings.ToLower(claim), "-"), "-")
	room := c.Source.Tag.Max - len(tag)
	if room < 3 {
		return tag
	}
	return strings.TrimRight(tag+words[:min(len(words), room)], "-")
}

// Carries reports whether a tag read upstream is one of claim and run.
func (c *Compiled) Carries(tag, claim, run string) bool {
	rest, ok := strings.CutPrefix(tag, c.tagPrefix(claim, run))
	return ok && nonceForm.MatchString(rest)
}
