// SPDX-License-Identifier: Apache-2.0

// Package plaintext distinguishes credentials from names by their form, so that plaintext secrets in documents are
// found and never printed.
//
// Guaranteed: Show and Plain return nothing that Credential recognises, and nothing that is as mixed as a generated
// value. Not guaranteed: that every credential is recognised. A password that looks like a word passes.
package plaintext

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"custody.dev/custody/internal/lazyregexp"
)

// pattern is one form by which an issuer's credentials can be told. Text that has none of the parts cannot match: looking for
// those first is what keeps reading an estate fast.
type pattern struct {
	name  string
	form  *lazyregexp.Regexp
	parts []string
}

// patterns are written as concatenations where the whole would itself look like a credential to a scanner.
var patterns = []pattern{
	{"a private key", lazyregexp.New(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----`), []string{"PRIVATE KEY"}},
	{"an age identity", lazyregexp.New(`(?i)AGE-` + `SECRET-KEY-(PQ-)?1[0-9A-Z]{8,}`), nil}, // in any case; see identity
	{"an AWS access key", lazyregexp.New(`\b(AKIA|ASIA)[0-9A-Z]{16}\b`), []string{"AKIA", "ASIA"}},
	{"a GitHub token", lazyregexp.New(`\b(gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,})`), []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"}},
	{"a GitLab token", lazyregexp.New(`\bgl[a-z]{2,6}-[0-9A-Za-z_-]{20,}`), []string{"gl"}},
	{"a Slack token", lazyregexp.New(`\bxox[a-z]-[0-9A-Za-z-]{10,}`), []string{"xox"}},
	{"a Google API key", lazyregexp.New(`\bAIza[0-9A-Za-z_-]{35}`), []string{"AIza"}},
	{"a payment key", lazyregexp.New(`\b[rs]k_live_[0-9A-Za-z]{16,}`), []string{"k_live_"}},
	{"a mail relay key", lazyregexp.New(`\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}`), []string{"SG."}},
	{"a Vault token", lazyregexp.New(`\bhv[sbr]\.[0-9A-Za-z_-]{20,}`), []string{"hvs.", "hvb.", "hvr."}},
	{"a signed token", lazyregexp.New(`\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.`), []string{"eyJ"}},
	{"a password in an address", lazyregexp.New(`\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]{3,}@`), []string{"://"}},
}

// may reports whether text has a part that every match has.
func (p pattern) may(text string) bool {
	if p.parts == nil {
		return identity(text)
	}
	return slices.ContainsFunc(p.parts, func(part string) bool { return strings.Contains(text, part) })
}

// identity reports whether text holds what age identities begin with, in any case.
func identity(text string) bool {
	const begins = "AGE-SECRET-KEY-"
	for from := 0; ; {
		dash := strings.IndexByte(text[from:], '-')
		if dash < 0 {
			return false
		}
		dash += from
		from = dash + 1
		if start := dash - len("AGE"); start >= 0 && len(text)-start >= len(begins) && alike(text[start:start+len(begins)], begins) {
			return true
		}
	}
}

// alike is strings.EqualFold for ASCII.
func alike(text, upper string) bool {
	for i := range len(upper) {
		c := text[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// Credential names the form of credential that text holds, or "".
func Credential(text string) string {
	for _, p := range patterns {
		if p.may(text) && p.form.MatchString(text) {
			return p.name
		}
	}
	return ""
}

var (
	encrypted = lazyregexp.New(`^ENC\[AES256_GCM,data:[^,\]]*,iv:[^,\]]+,tag:[^,\]]+,type:(str|int|float|bytes|bool|comment)\]$`)
	separator = lazyregexp.New(`[-_./:]+`)
)

// EncryptedType returns the type of the value that text holds as SOPS encrypts one, such as str; "" where it holds none.
func EncryptedType(text string) string {
	if !strings.HasPrefix(text, "ENC[") {
		return ""
	}
	if parts := encrypted.FindStringSubmatch(text); parts != nil {
		return parts[1]
	}
	return ""
}

// secretKey reports whether a key ends as those do that name secrets.
func secretKey(key string) bool {
	key = strings.ToLower(key)
	for _, end := range []string{key, strings.TrimSuffix(key, "s")} {
		for _, word := range []string{"pass", "password", "passwd", "passphrase", "secret", "token", "credential"} {
			if strings.HasSuffix(end, word) {
				return true
			}
		}
		before, isKey := strings.CutSuffix(end, "key")
		if !isKey {
			continue
		}
		if n := len(before); n > 0 && strings.IndexByte("-_.", before[n-1]) >= 0 {
			before = before[:n-1]
		}
		if strings.HasSuffix(before, "api") || strings.HasSuffix(before, "private") || strings.HasSuffix(before, "access") {
			return true
		}
	}
	return false
}

// Suspicious reports whether the text under a key that names a secret looks as if it were one: not a name or a path made
// of words, but a mix of characters. It errs towards silence; the patterns above do not depend on the key.
func Suspicious(key, text string) bool {
	if len(text) < 10 || !secretKey(key) || strings.ContainsAny(text, " \n") || EncryptedType(text) != "" {
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
