// SPDX-License-Identifier: Apache-2.0

package clue

import (
	"encoding/base64"
	"math"
	"net/url"
	"strings"
	"unicode"

	"custody.dev/custody/internal/lazyregexp"
)

var (
	reference = lazyregexp.New(`^(\$\{?[A-Za-z_(]|\$\$|\{\{|<%|%\(|%[A-Z_]+%|<[^>]*>$|\[\[|!vault|vault:|ref\+|op://|arn:aws|projects/[^/]+/secrets/|secretsmanager:|ssm:|@Microsoft\.KeyVault|file:|env:|var\.|local\.|data\.|module\.|AgA|ENC\[|\$ANSIBLE_VAULT|age1|ssh-(rsa|ed25519) |ecdsa-sha2)`)
	userinfo  = lazyregexp.New(`^["']?([A-Za-z][A-Za-z0-9+.-]*)://([^\s/:@]*):([^\s/@]+)@`)
	connected = lazyregexp.New(`(?i)(?:^|[;\s])(?:password|pwd|accountkey|sharedaccesskey|secret_?key)\s*=\s*("[^"]*"|'[^']*'|[^;\s"']+)`)
	duration  = lazyregexp.New(`^[0-9]+(ms|s|m|h|d|w|y|Mi|Gi|Ki|MB|GB|KB|%)?$`)
	email     = lazyregexp.New(`^[^@\s]+@[^@\s]+\.[a-z]{2,}$`)
)

// placeholders are the texts that stand where people are to put a value, placeholding the parts by which longer ones are known.
var (
	placeholders = set("test testing demo dummy none null nil true false yes no on off password passwd secret token example string value strict auto generated disabled optional required undefined unset empty todo tbd foo bar baz foobar xxx on_create always never default basic bearer in_header apikey api_key")
	placeholding = []string{"changeme", "change-me", "change_me", "change me", "changeit", "replace-", "replace_", "replaceme", "replace with", "example", "placeholder", "your-", "your_", "yourpass", "xxxx", "****", "....", "dummy", "redacted", "insert-", "insert_", "fixme", "not-a-secret", "notasecret", "sk_test_", "pk_test_", "rk_test_", "fill-in", "fill_in", "to-be-", "todo"}
)

// Reference reports whether text says where a value comes from instead of being one.
func Reference(text string) bool { return reference.MatchString(strings.TrimSpace(text)) }

// Placeholder reports whether text stands where somebody is to put a value, or is a test key.
func Placeholder(text string) bool {
	lower := strings.ToLower(strings.TrimSpace(text))
	if placeholders[lower] || strings.Trim(lower, lower[:min(1, len(lower))]) == "" {
		return true
	}
	for _, part := range placeholding {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// Held says whether text in a place is the value of a secret, which part of it is, and why. The place is sure where its
// structure says that what it has is secret.
func Held(name, text string, sure bool) (value, kind, why string, ok bool) {
	text = strings.TrimSpace(text)
	if text == "" || Reference(text) && !strings.Contains(text, "://") {
		return "", "", "", false
	}
	if password, scheme := Password(text); scheme != "" {
		if password == "" || dull(password) {
			return "", "", "", false
		}
		return password, urlKind(scheme), "an address with a password in it", true
	}
	if named := SecretName(name); !named && !sure {
		if LikelyName(name) && Random(text) {
			return text, "", "the name can be that of a secret, and the value looks random", true
		}
		return "", "", "", false
	} else if !named && Identity(name) && !strings.Contains(text, "PRIVATE KEY") {
		return "", "", "", false
	}
	if strings.Contains(text, "PRIVATE KEY-----") {
		return text, "private key", "a private key in PEM", true
	}
	if dull(text) {
		return "", "", "", false
	}
	return text, "", "", true
}

// dull reports whether text in the place of a secret is something else: a reference, a placeholder, a path, an address, a number.
func dull(text string) bool {
	switch {
	case len(text) < 4, Reference(text), Placeholder(text), duration.MatchString(text) && len(text) < 10:
		return true
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "./"), strings.HasPrefix(text, "../"), strings.HasPrefix(text, "~/"):
		return !strings.ContainsAny(text, "+=") || len(text) < 24
	case strings.HasPrefix(text, "http://"), strings.HasPrefix(text, "https://"):
		return true
	case strings.Contains(text, "-----BEGIN CERTIFICATE"), strings.Contains(text, "-----BEGIN PUBLIC"):
		return true
	case strings.Contains(text, "${"), strings.Contains(text, "{{"), strings.Contains(text, "$("):
		return true
	}
	return email.MatchString(text)
}

// Password is the password of a user in an address or a connection string, and its scheme; the scheme is "" for other text.
func Password(text string) (password, scheme string) {
	if parts := userinfo.FindStringSubmatch(text); parts != nil {
		plain, err := url.PathUnescape(parts[3])
		if err != nil {
			plain = parts[3]
		}
		return plain, strings.ToLower(parts[1])
	}
	if strings.Contains(text, "=") && (strings.Contains(text, ";") || strings.Contains(text, "host=") || strings.Contains(text, "dbname=")) {
		if parts := connected.FindStringSubmatch(text); parts != nil {
			return strings.Trim(parts[1], `"'`), "connection"
		}
	}
	return "", ""
}

func urlKind(scheme string) string {
	switch scheme {
	case "smtp", "smtps":
		return "mail password"
	case "http", "https":
		return "password"
	}
	return "database password"
}

// Random reports whether text looks generated: long, without spaces, with letters and digits mixed.
func Random(text string) bool {
	if len(text) < 16 || strings.ContainsAny(text, " /\\:\n\t.") {
		return false
	}
	digits, letters := false, false
	for _, r := range text {
		digits = digits || unicode.IsDigit(r)
		letters = letters || unicode.IsLetter(r)
	}
	return digits && letters && Entropy(text) >= 3
}

// Entropy is Shannon's, in bits for each byte.
func Entropy(text string) float64 {
	var count [256]int
	for i := range len(text) {
		count[text[i]]++
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(text))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// Weak reports whether a value is so short or so much like a word that two places with it need not mean one secret.
func Weak(text string) bool { return len(text) < 12 && Entropy(text) < 3.2 }

// Decoded is the text of base64, and false where it is none.
func Decoded(text string) (string, bool) {
	compact := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	data, err := base64.StdEncoding.DecodeString(compact)
	return string(data), err == nil
}
