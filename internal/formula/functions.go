// SPDX-License-Identifier: Apache-2.0

package formula

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/template"
	"unicode/utf8"

	"custody.dev/custody/internal/materialize/format" //nolint:depguard // pure: one place knows how readers of env files quote
	"custody.dev/custody/internal/secret"

	"golang.org/x/crypto/bcrypt"
)

// functionError says why a function has no result. It never quotes an argument.
type functionError struct{ text string }

func (e *functionError) Error() string { return e.text }

// functions are all that templates can call. Those of the template language itself are refused.
func functions() template.FuncMap {
	return template.FuncMap{
		"userinfo": short(plain(userinfo)), "query": short(plain(query)), "base64": short(plain(encode)), "json": short(quote),
		"shell": short(shell), "systemd": short(systemd), "libpq": short(libpq), "pgpass": short(pgpass),
		"env": env, "htpasswd": htpasswd, "dockerConfig": dockerConfig, "sesPassword": sesPassword,
	}
}

// errTooLong stops a template whose text grows beyond what a value may hold.
var errTooLong = &functionError{fmt.Sprintf("a text on the way, or the result, is longer than the %d bytes that a value may have", secret.MaxBytes)}

// short is a function whose text, and whose result, are no longer than a value may be: those that follow each other could
// double it each time.
func short(function func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		if len(text) > secret.MaxBytes {
			return "", errTooLong
		}
		made, err := function(text)
		if err == nil && len(made) > secret.MaxBytes {
			return "", errTooLong
		}
		return made, err
	}
}

func plain(function func(string) string) func(string) (string, error) {
	return func(text string) (string, error) { return function(text), nil }
}

// query escapes text for a URL's query. A space is %20: only forms read a + as a space, libpq and many others do not.
func query(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// shell is text as one word of a POSIX shell, quotes included.
func shell(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", &functionError{"shell: a word of a shell holds no NUL"}
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'", nil
}

// systemd is text as the value of a line in an EnvironmentFile=, quotes included. It is not for Environment= in a unit, where
// % stands for specifiers.
func systemd(text string) (string, error) {
	if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
		return "", &functionError{"systemd: a value is UTF-8 and holds no NUL"}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text) + `"`, nil
}

// env is a value in an env file, as format env writes one: with quotes where it needs some, or, after the word single or double,
// with those quotes wherever all readers read the value alike in them.
func env(args ...string) (string, error) {
	style := ""
	if len(args) == 2 {
		style = args[0]
	}
	if len(args) == 0 || len(args) > 2 || style != "" && style != format.Single && style != format.Double {
		return "", &functionError{"env: it takes a text, and before it the word single or double, or nothing"}
	}
	text := args[len(args)-1]
	if len(text) > secret.MaxBytes {
		return "", errTooLong
	}
	written, err := format.EnvText(text, style)
	if err != nil {
		return "", &functionError{"env: readers of env files have no common way to read the value"}
	}
	return written, nil
}

// libpq is text as a value in a connection string of keywords and values, quotes included.
func libpq(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", &functionError{"libpq: a value holds no NUL"}
	}
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'", nil
}

// pgpass is text as one field of a line of .pgpass.
func pgpass(text string) (string, error) {
	if strings.ContainsAny(text, "\x00\n\r") {
		return "", &functionError{"pgpass: a field of a password file holds no NUL and no line end"}
	}
	text = strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(text)
	if text == "*" || strings.HasPrefix(text, "#") { // which stand for anything, and for a comment
		text = `\` + text
	}
	return text, nil
}

// userinfo escapes a user name or a password for the part of a URL before the @.
func userinfo(text string) string {
	// A user name alone escapes what a password may hold, the colon included.
	return url.User(text).String()
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// quote is text as a JSON string, quotes included.
func quote(text string) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return "", &functionError{"json: the text cannot be encoded"}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// htpasswd is one line of an htpasswd file, with a bcrypt hash.
func htpasswd(user, password string) (string, error) {
	if user == "" || strings.ContainsAny(user, ":\n\r") {
		return "", &functionError{"htpasswd: a user name is not empty and holds no colon and no line end"}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", &functionError{"htpasswd: bcrypt takes passwords of 72 bytes at most"}
	}
	return user + ":" + string(hash), nil
}

// dockerHub is the key under which docker looks the credential of its own registry up, whatever name the user gave it.
const dockerHub = "https://index.docker.io/v1/"

// dockerConfig is a config.json with the credential of one registry.
func dockerConfig(registry, user, password string) (string, error) {
	switch registry {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		registry = dockerHub
	}
	type auth struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	encoded, err := json.Marshal(map[string]any{"auths": map[string]auth{registry: {user, password, encode(user + ":" + password)}}})
	if err != nil {
		return "", &functionError{"dockerConfig: the credential cannot be encoded"}
	}
	return string(encoded), nil
}

// sesPassword is the SMTP password that Amazon SES honours for an IAM user's secret access key in one region, by the
// algorithm that AWS publishes ("Obtaining Amazon SES SMTP credentials by converting existing AWS credentials").
func sesPassword(secretAccessKey, region string) (string, error) {
	if secretAccessKey == "" || region == "" {
		return "", &functionError{"sesPassword: a secret access key and a region are needed"}
	}
	const version = 0x04
	sum := []byte("AWS4" + secretAccessKey)
	for _, part := range []string{"11111111", region, "ses", "aws4_request", "SendRawEmail"} {
		mac := hmac.New(sha256.New, sum)
		mac.Write([]byte(part))
		sum = mac.Sum(nil)
	}
	return base64.StdEncoding.EncodeToString(append([]byte{version}, sum...)), nil
}
