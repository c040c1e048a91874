// SPDX-License-Identifier: Apache-2.0

package clue

import (
	"slices"
	"strings"
	"unicode"
)

// Words splits a name at capitals, signs and dots, in lower case: apiToken, API_TOKEN and api-token are api and token.
func Words(name string) []string {
	var words []string
	runes := []rune(name)
	start := -1
	flush := func(end int) {
		if start >= 0 && end > start {
			words = append(words, strings.ToLower(string(runes[start:end])))
		}
		start = -1
	}
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			flush(i)
			continue
		}
		if start >= 0 && unicode.IsUpper(r) {
			afterLower := !unicode.IsUpper(runes[i-1])
			beforeLower := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if afterLower || beforeLower {
				flush(i)
			}
		}
		if start < 0 {
			start = i
		}
	}
	flush(len(runes))
	return words
}

var (
	// cores are the words that name secrets, where they end a name.
	cores = set("password passwd passwort pass pwd pw passphrase passcode secret token credential credentials creds apikey psk pepper privatekey secretkey accesskey authkey requirepass masterauth")
	// coreEnds are what longer words end with that name secrets: dbpassword, PGPASSWORD.
	coreEnds = []string{"password", "passwd", "passphrase", "secret", "apikey", "token"}
	// keyed are the words before key that make it a secret.
	keyed = set("api access private secret signing sign encryption encrypt encryptor license licence master auth account storage service ssh application session cookie jwt hmac shared admin root client app consumer deploy webhook unseal recovery management primary-access")
	// trailing words may follow the core without changing what the name is of.
	trailing = set("value text plain plaintext base64 b64 prod production staging stage dev test old new current previous next secondary live unencrypted raw default string")
	// leading words make a name one of a switch or of an action, not of a secret.
	leading = set("existing update reset change min max forgot require hide show confirm allow enable disable generate use no has is validate public csrf xsrf next max_new")
	// identities are the names of what stands beside a secret in places that hold secrets.
	identities = set("username user login host hostname port database dbname db name url uri endpoint region server address email from account tenant issuer type provider namespace bucket ca crt cert certificate chain pem-public pub public sslmode scheme protocol engine clientid id version config enabled")
)

func set(words string) map[string]bool {
	made := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		made[word] = true
	}
	return made
}

func core(word string) bool {
	return cores[word] || slices.ContainsFunc(coreEnds, func(end string) bool { return strings.HasSuffix(word, end) })
}

// SecretName reports whether a name is that of a secret's value, and not of its file, its length, its user or its address.
func SecretName(name string) bool {
	words := stem(name)
	if len(words) == 0 || leading[words[0]] {
		return false
	}
	last := words[len(words)-1]
	if core(last) {
		return true
	}
	if (last == "key" || last == "keys") && len(words) > 1 {
		return keyed[words[len(words)-2]]
	}
	return false
}

// LikelyName reports whether a name is that of a secret if the text beside it looks random.
func LikelyName(name string) bool {
	words := stem(name)
	if len(words) == 0 || leading[words[0]] {
		return false
	}
	return last(words, "auth", "key", "salt", "pat") && !slices.Contains(words, "public") && !slices.Contains(words, "publishable")
}

func last(words []string, of ...string) bool { return slices.Contains(of, words[len(words)-1]) }

// Identity reports whether a name in a place that holds secrets is that of a user, an address or a setting.
func Identity(name string) bool {
	if SecretName(name) {
		return false
	}
	words := stem(name)
	return len(words) > 0 && identities[words[len(words)-1]]
}

// stem are the words of a name without those at its end that say nothing about what it is of.
func stem(name string) []string {
	words := Words(name)
	for len(words) > 1 && (trailing[words[len(words)-1]] || strings.Trim(words[len(words)-1], "0123456789") == "") {
		words = words[:len(words)-1]
	}
	return words
}

// EnvName reports whether a name is written as those of environment variables are.
func EnvName(name string) bool {
	return len(name) > 1 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && !unicode.IsDigit(rune(name[0]))
}

// Common reports whether a name is so common that two places with it need not mean one secret.
func Common(name string) bool { return len(Words(name)) < 2 && !EnvName(name) }

// Alike is a name in the form by which those in other spellings are found.
func Alike(name string) string { return strings.Join(Words(name), "_") }

// Kind guesses what a secret is, from its name.
func Kind(name string) string {
	words := Words(name)
	has := func(some ...string) bool {
		return slices.ContainsFunc(some, func(word string) bool { return slices.Contains(words, word) })
	}
	switch {
	case has("tls", "ssl") && has("key"):
		return "TLS key"
	case has("ssh"):
		return "SSH key"
	case has("webhook", "hook"):
		return "webhook"
	case has("signing", "jwt", "session", "cookie", "hmac"):
		return "signing key"
	case has("encryption", "encrypt", "passphrase", "salt", "pepper"):
		return "encryption key"
	case has("db", "database", "postgres", "postgresql", "mysql", "pgpassword", "redis", "amqp", "mongo") && has("password", "pass", "pw", "pwd", "url", "dsn", "pgpassword"):
		return "database password"
	case has("smtp", "mail") && has("password", "pass", "pw", "dsn", "url"):
		return "mail password"
	case has("aws") && has("key", "secret"):
		return "cloud access key"
	case has("key", "keys", "apikey"):
		return "API key"
	case has("token", "pat", "bearer"):
		return "token"
	case has("password", "passwd", "pass", "pw", "pwd", "requirepass", "passwort"):
		return "password"
	}
	return ""
}

// TestPath reports whether a file is test data, an example or a template, whose values nobody honours.
func TestPath(file string) bool {
	parts := strings.Split(strings.ToLower(file), "/")
	for i, part := range parts {
		if i < len(parts)-1 {
			switch part {
			case "testdata", "test", "tests", "fixtures", "__tests__", "__fixtures__", "mocks", "node_modules", "vendor", "third_party":
				return true
			}
			continue
		}
		for _, mark := range []string{"_test.", ".test.", ".spec."} {
			if strings.Contains(part, mark) {
				return true
			}
		}
		for _, end := range []string{".example", ".sample", ".dist", ".template", ".tmpl", ".tpl", ".test", ".defaults"} {
			if strings.HasSuffix(part, end) {
				return true
			}
		}
		if strings.HasPrefix(part, ".env") && strings.Contains(part, "example") || strings.HasPrefix(part, "example.") {
			return true
		}
	}
	return false
}
