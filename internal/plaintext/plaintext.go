// SPDX-License-Identifier: Apache-2.0

// Package plaintext tells credentials from names by their form, so that what stands in a document in plain text is found, and
// never repeated.
//
// Guaranteed: Show and Plain return nothing that Credential knows, and nothing that is as mixed as a generated value. Not
// guaranteed: that a credential is known as one. What looks like a word passes.
package plaintext

import (
	"math"
	"strconv"
	"strings"
	"unicode"

	"custody.dev/custody/internal/lazyregexp"
)

// pattern is one form by which an issuer's credentials can be told.
type pattern struct {
	name string
	form *lazyregexp.Regexp
}

// patterns are written as concatenations where the whole would itself look like a credential to a scanner.
var patterns = []pattern{
	{"a private key", lazyregexp.New(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----`)},
	{"an age identity", lazyregexp.New(`(?i)AGE-` + `SECRET-KEY-(PQ-)?1[0-9A-Z]{8,}`)},
	{"an AWS access key", lazyregexp.New(`\b(AKIA|ASIA)[0-9A-Z]{16}\b`)},
	{"a GitHub token", lazyregexp.New(`\b(gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,})`)},
	{"a GitLab token", lazyregexp.New(`\bgl[a-z]{2,6}-[0-9A-Za-z_-]{20,}`)},
	{"a Slack token", lazyregexp.New(`\bxox[a-z]-[0-9A-Za-z-]{10,}`)},
	{"a Google API key", lazyregexp.New(`\bAIza[0-9A-Za-z_-]{35}`)},
	{"a payment key", lazyregexp.New(`\b[rs]k_live_[0-9A-Za-z]{16,}`)},
	{"a mail relay key", lazyregexp.New(`\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}`)},
	{"a Vault token", lazyregexp.New(`\bhv[sbr]\.[0-9A-Za-z_-]{20,}`)},
	{"a signed token", lazyregexp.New(`\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.`)},
	{"a password in an address", lazyregexp.New(`\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]{3,}@`)},
}

// Credential names the form of credential that text holds, or "".
func Credential(text string) string {
	for _, p := range patterns {
		if p.form.MatchString(text) {
			return p.name
		}
	}
	return ""
}

var (
	secretKey = lazyregexp.New(`(?i)(pass(word|wd|phrase)?|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credential)s?$`)
	encrypted = lazyregexp.New(`^ENC\[AES256_GCM,data:[^,\]]*,iv:[^,\]]+,tag:[^,\]]+,type:(str|int|float|bytes|bool|comment)\]$`)
	separator = lazyregexp.New(`[-_./:]+`)
)

// EncryptedType returns the type of the value that text holds as SOPS encrypts one, such as str; "" where it holds none.
func EncryptedType(text string) string {
	if parts := encrypted.FindStringSubmatch(text); parts != nil {
		return parts[1]
	}
	return ""
}

// Suspicious reports whether the text under a key that names a secret looks as if it were one: not a name or a path made
// of words, but a mix of characters. It errs towards silence; the patterns above do not depend on the key.
func Suspicious(key, text string) bool {
	if len(text) < 10 || !secretKey.MatchString(key) || strings.ContainsAny(text, " \n") || EncryptedType(text) != "" {
		return false
	}
	return mixed(text)
}

// mixed reports whether text without spaces is more random than a name.
func mixed(text string) bool {
	longest := ""
	for _, run := range separator.Split(text, -1) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	switch lower, upper, digit, symbol := classes(longest); {
	case lower+upper+digit+symbol >= 3:
		return len(longest) >= 10 && entropy(longest) >= 2.8
	case digit == 1 && lower+upper == 1:
		return len(longest) >= 16 && entropy(longest) >= 3
	}
	return false
}

func classes(s string) (lower, upper, digit, symbol int) {
	for _, r := range s {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			symbol = 1
		}
	}
	return lower, upper, digit, symbol
}

// entropy is Shannon's, in bits for each character.
func entropy(s string) float64 {
	count := map[rune]int{}
	total := 0
	for _, r := range s {
		count[r]++
		total++
	}
	bits := 0.0
	for _, n := range count {
		p := float64(n) / float64(total)
		bits -= p * math.Log2(p)
	}
	return bits
}

// Plain is Show without the quotes where they tell nothing.
func Plain(text string) string {
	shown := Show(text)
	if shown == `"`+text+`"` && text != "" && !strings.Contains(text, " ") {
		return text
	}
	return shown
}

// Show quotes text from a document for a fault. What could be a secret in the wrong place is withheld, and so is what
// is too long to be a name.
func Show(text string) string {
	if len(text) > 128 || Credential(text) != "" || (len(text) >= 10 && mixed(text)) {
		return "[withheld]"
	}
	return strconv.Quote(text)
}
