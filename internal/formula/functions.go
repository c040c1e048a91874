// SPDX-License-Identifier: Apache-2.0

package formula

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"text/template"

	"golang.org/x/crypto/bcrypt"
)

// functionError says why a function has no result. It never quotes an argument.
type functionError struct{ text string }

func (e *functionError) Error() string { return e.text }

// functions are all that templates can call. Those of the template language itself are refused.
func functions() template.FuncMap {
	return template.FuncMap{
		"userinfo": userinfo, "query": url.QueryEscape, "base64": encode, "json": quote,
		"htpasswd": htpasswd, "dockerConfig": dockerConfig, "sesPassword": sesPassword,
	}
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

// dockerConfig is a config.json with the credential of one registry.
func dockerConfig(registry, user, password string) (string, error) {
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
