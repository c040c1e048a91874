// SPDX-License-Identifier: Apache-2.0

package formula_test

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/bcrypt"
)

const canary = `p@ss:w/o"r\d &%?#`

func inputs(t *testing.T) map[string]secret.Value {
	t.Helper()
	db, err := secret.Text(map[string]string{"username": "app_a", "password": canary})
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Text(map[string]string{"secretAccessKey": "example-secret-access-key"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]secret.Value{"db": db, "aws": key}
}

func compute(t *testing.T, text string) string {
	t.Helper()
	f, err := formula.Compile(map[string]string{"out": text}, []string{"db", "aws"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Compute(inputs(t))
	if err != nil {
		t.Fatal(err)
	}
	return v.ExposeText("out")
}

func TestConnectionStringIsReadBack(t *testing.T) {
	got, err := url.Parse(compute(t, `postgres://{{ userinfo .db.username }}:{{ userinfo .db.password }}@db:5432/shop?options={{ query .db.password }}`))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := got.User.Password()
	if got.User.Username() != "app_a" || password != canary || got.Query().Get("options") != canary {
		t.Errorf("got user %q, password %q, query %q", got.User.Username(), password, got.Query())
	}
}

func TestDockerConfigIsReadBack(t *testing.T) {
	var got struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if err := json.Unmarshal([]byte(compute(t, `{{ dockerConfig "registry.example.org" .db.username .db.password }}`)), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canary, got.Auths["registry.example.org"].Password); diff != "" {
		t.Errorf("password (-want +got):\n%s", diff)
	}
	var quoted string
	if err := json.Unmarshal([]byte(compute(t, `{{ .db.password | json }}`)), &quoted); err != nil || quoted != canary {
		t.Errorf("json: got %q, %v", quoted, err)
	}
}

// passwords have all that some function has to escape.
var passwords = []string{canary, "it's $5", `it's \n`, `\\server\share`, "*", "#x", "a b", " a ", "a:b", "", "'", `\`, "`id`", "%s", "a+b", "ü", `"`, "$(id)"}

func computeWith(t *testing.T, password, text string) (string, error) {
	t.Helper()
	f, err := formula.Compile(map[string]string{"out": text}, []string{"db"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := secret.Text(map[string]string{"username": "app_a", "password": password})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Compute(map[string]secret.Value{"db": v})
	if err != nil {
		return "", err
	}
	return out.ExposeText("out"), nil
}

// libpq, and many other readers of URLs, take a + for itself.
func TestQueryWritesASpaceThatLibpqReads(t *testing.T) {
	if got := compute(t, `{{ query "a b+c" }}`); got != "a%20b%2Bc" {
		t.Errorf("got %s, want a%%20b%%2Bc", got)
	}
}

func TestShellWordIsReadBack(t *testing.T) {
	for _, password := range append(passwords, "two\nlines") {
		word, err := computeWith(t, password, `{{ shell .db.password }}`)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command("/bin/sh", "-c", "printf %s "+word).Output()
		if err != nil || string(got) != password {
			t.Errorf("%q: sh reads %q, %v", password, got, err)
		}
	}
}

func TestConnectionKeywordsAreReadBack(t *testing.T) {
	for _, password := range passwords {
		text, err := computeWith(t, password, `host=127.0.0.1 password={{ libpq .db.password }} user={{ libpq .db.username }}`)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgconn.ParseConfig(text)
		if err != nil || got.Password != password || got.User != "app_a" {
			t.Errorf("%q is not read back: %v", password, err)
		}
	}
}

func TestPasswordFileFieldsAreEscaped(t *testing.T) {
	for password, want := range map[string]string{`a:b\`: `a\:b\\`, "*": `\*`, "#x": `\#x`, "a*#": "a*#"} {
		if got, err := computeWith(t, password, `{{ pgpass .db.password }}`); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", password, got, err, want)
		}
	}
	if _, err := computeWith(t, "a\nb", `{{ pgpass .db.password }}`); err == nil {
		t.Error("a line break is taken")
	}
}

// docker looks the credential of its own registry up under one key, whatever name the user gave it.
func TestDockerFindsTheCredentialOfDockerHub(t *testing.T) {
	for _, name := range []string{"docker.io", "index.docker.io"} {
		if got := compute(t, `{{ dockerConfig "`+name+`" .db.username .db.password }}`); !strings.Contains(got, `"https://index.docker.io/v1/":`) {
			t.Errorf("%s: got another key", name)
		}
	}
}

func TestHtpasswdIsVerified(t *testing.T) {
	user, hash, _ := strings.Cut(compute(t, `{{ htpasswd .db.username .db.password }}`), ":")
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(canary)); user != "app_a" || err != nil {
		t.Errorf("user %q, %v", user, err)
	}
}

// The expected password was computed with the script that AWS publishes.
func TestSESPassword(t *testing.T) {
	if got, want := compute(t, `{{ sesPassword .aws.secretAccessKey "eu-west-1" }}`), "BH9q////Mh9JmnnAtFJk0Y3GPj9wcRxtSYcfdMtlkba6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRefusedTemplates(t *testing.T) {
	for name, text := range map[string]string{
		"loop": `{{ range .db }}x{{ end }}`, "condition": `{{ if .db.username }}x{{ end }}`, "definition": `{{ define "x" }}{{ end }}`,
		"whole input": `{{ .db }}`, "everything": `{{ . }}`, "too deep": `{{ .db.username.more }}`, "unknown input": `{{ .web.password }}`,
		"library function": `{{ print .db.username }}`, "call": `{{ call .db.username }}`, "variable": `{{ $x := .db.username }}`,
		"number": `{{ base64 1 }}`, "unparsable": `{{ .db.username`, "within parentheses": `{{ base64 (len .db.username) }}`,
	} {
		if _, err := formula.Compile(map[string]string{"out": text}, []string{"db"}); err == nil {
			t.Errorf("%s: %s is taken", name, text)
		}
	}
	if _, err := formula.Compile(nil, []string{"db"}); err == nil {
		t.Error("a formula without fields is taken")
	}
}

func TestErrorsNameWhatIsMissingAndQuoteNothing(t *testing.T) {
	for text, want := range map[string]string{
		`{{ .db.token }}`:                          "input db has no field token",
		`{{ htpasswd .db.password .db.password }}`: "a user name",
		`{{ userinfo .db.username .db.password }}`: "cannot be applied",
	} {
		f, err := formula.Compile(map[string]string{"out": text}, []string{"db"})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		_, err = f.Compute(inputs(t))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "p@ss") {
			t.Errorf("%s: got %v, want %q and no value", text, err, want)
		}
	}
}

func TestDigestTellsFormulasApart(t *testing.T) {
	digest := func(text string) string {
		f, err := formula.Compile(map[string]string{"out": text}, []string{"db"})
		if err != nil {
			t.Fatal(err)
		}
		return f.Digest()
	}
	first, again, other := digest("a{{ .db.username }}"), digest("a{{ .db.username }}"), digest("b{{ .db.username }}")
	if first != again || first == other {
		t.Error("the digest is not the templates'")
	}
}
