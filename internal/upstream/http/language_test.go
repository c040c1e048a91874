// SPDX-License-Identifier: Apache-2.0

package recipe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	recipe "custody.dev/custody/internal/upstream/http"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	whole := labRecipe(byBearer, byCursor)
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown key", "  undo: discard", "  undo: discard\n  undone: true", "kind.undone"},
		{"duplicate key", "  undo: discard", "  undo: discard\n  undo: discard", "stands here twice"},
		{"missing key", "  undo: discard\n", "", "kind.undo: missing|kind.undo (line"},
		{"alias", "note: \"${optional.none()}\"", "note: *a", "aliases are not allowed"},
		{"wrong type", "issues: true", "issues: perhaps", "kind.issues"},
		{"duration", "settle: 50ms", "settle: soon", "kind.settle"},
		{"unknown parameter", "${params.hours}", "${params.hour}", "create.steps[0].json.hours: "},
		{"unknown field", "secret.key.startsWith", "secret.kez.startsWith", "find.match: "},
		{"unknown step", "key: steps.made.key", "key: steps.maid.key", "create.value.key: "},
		{"unknown variable", "secret.id", "current.id", "find.id: "},
		{"admin out of place", `{label: "${tag}"`, `{label: "${admin.token}"`, "create.steps[0].json.label: "},
		{"secret in revoke", "keys/${target.id}", "keys/${secret.id}", "revoke.steps[0].request: "},
		{"not a condition", "response.status == 201, then: ok", "response.status, then: ok", "create.steps[0].replies[0].when: want bool"},
		{"unclosed", "${params.service}/keys\n      json", "${params.service/keys\n      json", "create.steps[0].request: a ${ is not closed"},
		{"secret in address", "GET /self", "GET /self/${secret.key}", "verify.steps[0]: secret.key is secret"},
		{"query in path", "GET /self", "GET /self?x=1", "verify.steps[0].request: a path has no query"},
		{"dots in path", "GET /self", "GET /../self", "verify.steps[0].request"},
		{"method", "GET /self", "TRACE /self", "verify.steps[0].request: want a method"},
		{"verdict out of place", "201, then: ok", "201, then: accepted", "create.steps[0].replies[0].then: want one of"},
		{"change in verify", "401, then: refused}", "401, then: quota}", "verify.steps[0].replies[1].then"},
		{"done in a list", "items: response.body.keys", "replies: [{when: response.status == 200, then: done}]\n      items: response.body.keys", "list.steps[0].replies[0].then: want one of ok, unknown, not-applied"},
		{"quota in a list", "items: response.body.keys", "replies: [{when: response.status == 409, then: quota}]\n      items: response.body.keys", "list.steps[0].replies[0].then"},
		{"done in usage", "usage:\n", "usage:\n  steps:\n    - {name: seen, request: GET /seen, items: response.body, replies: [{when: response.status == 200, then: done}]}\n", "usage.steps[0].replies[0].then"},
		{"evidence by a name unknown", "late: 1m", "if: params.tells, late: 1m", "kind.evidence.if: "},
		{"overwrite is shared", "capability: dual\n  issues: true\n  undo: discard", "capability: overwrite\n  issues: true\n  exclusive: false\n  undo: impossible", "kind.exclusive"},
		{"refused by no error of OAuth 2", byBearer, `{oauth2: {request: POST /oauth/token, refused: ["not one"]}}`, "admin.auth.oauth2.refused[0]"},
		{"nothing accepted", "200, then: accepted", "200, then: unknown", "verify: no reply is accepted"},
		{"no endpoint", "request: GET /self", "request: GET /self\n      at: nowhere", `verify.steps[0].at: there is no endpoint "nowhere"`},
		{"header of ours", "request: GET /self", "request: GET /self\n      headers: {authorization: x}", "verify.steps[0].headers.authorization"},
		{"two ways", byBearer, `{bearer: "${admin.token}", basic: {username: a}}`, "admin.auth: want one of"},
		{"no way", byBearer, "none", "admin.auth: say how"},
		{"overwrite discards", "capability: dual", "capability: overwrite", "kind.undo: an overwrite kind cannot discard"},
		{"no tag", "tag: {where: \"the key's label\", max: 100}\n", "", "kind.lostReply: reissue needs a tag"},
		{"tag too short", "max: 100", "max: 20", "tag.max: a tag needs 37"},
		{"no decoy", "decoy:\n  key: {keep: 7}", "", "decoy: a kind that issues needs one"},
		{"no usage", "usage:\n  last: target.used", "", "kind.evidence: evidence and usage go together"},
		{"pattern", `"[a-z0-9-]+"`, `"[a-z"`, "parameters.service.pattern"},
		{"default", "default: 720", "default: many", "parameters.hours.default"},
		{"reserved", "  hours: {", "  in: {", `parameters.in: "in" cannot be a name`},
		{"endpoint", "https://login.example.org", "http://login.example.org", "endpoints.login.url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := strings.ReplaceAll(whole, test.old, test.new)
			if source == whole {
				t.Fatal("the change changes nothing")
			}
			if test.name == "alias" {
				source = strings.Replace(source, "hours: \"${params.hours}\"", "hours: &a x", 1)
			}
			r, err := recipe.Parse([]byte(source))
			if err == nil {
				_, err = recipe.Compile(r)
			}
			if err == nil {
				t.Fatal("got no fault")
			}
			for want := range strings.SplitSeq(test.want, "|") {
				if strings.Contains(err.Error(), want) {
					return
				}
			}
			t.Errorf("got %q, want it to say %q", err, test.want)
		})
	}
}

func TestRecipeWithinADocument(t *testing.T) {
	t.Parallel()
	var data map[string]any
	if err := yaml.Unmarshal([]byte(labRecipe(byBearer, byCursor)), &data); err != nil {
		t.Fatal(err)
	}
	if _, err := recipe.Defined(data); err != nil {
		t.Errorf("the whole recipe: %v", err)
	}
	delete(data, "verify")
	if _, err := recipe.Defined(data); err == nil || !strings.Contains(err.Error(), "verify: missing") {
		t.Errorf("without verify: got %v, want that it is missing", err)
	}
	for _, nothing := range []any{nil, "text", []any{}} {
		if _, err := recipe.Defined(nothing); err == nil {
			t.Errorf("%v: got no fault", nothing)
		}
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	compiled := compile(t, labRecipe(byBearer, byCursor))
	for _, test := range []struct {
		given map[string]any
		want  string
	}{
		{map[string]any{"service": "shop"}, ""},
		{map[string]any{"service": "shop", "hours": int64(3)}, ""},
		{map[string]any{"service": "shop", "hours": 3.0}, ""},
		{map[string]any{"service": "shop", "hours": 3.5}, "hours: want a whole number"},
		{map[string]any{"service": "shop", "hours": "3"}, "hours: want a whole number"},
		{map[string]any{}, "service is missing"},
		{map[string]any{"service": "sh/op"}, "service: it does not match"},
		{map[string]any{"service": "shop\n"}, "service: it does not match"},
		{map[string]any{"service": true}, "service: want text"},
		{map[string]any{"service": "shop", "servise": "x"}, "no parameter servise"},
	} {
		err := compiled.CheckParameters(test.given, false)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %q", test.given, err, test.want)
		}
	}
	if err := compiled.CheckParameters(map[string]any{}, true); err != nil {
		t.Errorf("in part: got %v, want no fault", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	valid := func() recipe.Config {
		return recipe.Config{
			Recipe: compile(t, labRecipe(byBearer, byCursor)), URL: "https://api.example.org", Claim: "shop/test/key", Clock: time.Now,
			Parameters: map[string]any{"service": "shop"}, Admin: func(context.Context) ([]secret.Value, error) { return nil, nil },
		}
	}
	for name, change := range map[string]func(*recipe.Config){
		"no recipe":        func(c *recipe.Config) { c.Recipe = nil },
		"no clock":         func(c *recipe.Config) { c.Clock = nil },
		"no claim":         func(c *recipe.Config) { c.Claim = "" },
		"no admin":         func(c *recipe.Config) { c.Admin = nil },
		"plain":            func(c *recipe.Config) { c.URL = "http://api.example.org" },
		"user":             func(c *recipe.Config) { c.URL = "https://a:b@api.example.org" },
		"query":            func(c *recipe.Config) { c.URL = "https://api.example.org/?a=b" },
		"no address":       func(c *recipe.Config) { c.URL = "" },
		"unknown endpoint": func(c *recipe.Config) { c.Endpoints = map[string]string{"logon": "https://example.org"} },
		"not PEM":          func(c *recipe.Config) { c.CACertificate = "certificate" },
		"parameter":        func(c *recipe.Config) { c.Parameters = nil },
	} {
		config := valid()
		change(&config)
		if _, err := recipe.New(config); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := recipe.New(valid()); err != nil {
		t.Errorf("the valid one: %v", err)
	}
}

// steps tests what a recipe can do beyond the one of the page.
const steps = `
parameters:
  path: {type: text, default: plain, means: "a part of a path"}
fields:
  password: {means: "the password"}
  username: {means: "the user", public: true}
admin:
  fields: {certificate: "PEM", key: "PEM"}
  auth: {mtls: {certificate: "${admin.certificate}", key: "${admin.key}"}}
kind: {capability: overwrite, undo: reapply, lostReply: recover}
make:
  - password: password
  - text: {field: username, value: "robot-${params.path}"}
create:
  steps:
    - name: never
      if: params.path == "never"
      request: POST /never
      let: {what: response.body.what}
    - name: begun
      request: PUT /users/${params.path}/password
      query: {empty: "", user: "${candidate.username}"}
      form: {password: "${candidate.password}", digest: "${sha256(candidate.password)}", was: "${steps.never.what == null ? 'nothing' : 'something'}"}
      replies: [{when: response.status == 202, then: ok}]
      let: {job: 'response.header["x-job"]'}
    - name: done
      request: GET /jobs/${steps.begun.job}
      repeat: {until: response.body.state == "done", every: 10ms, most: 5}
verify:
  steps:
    - name: self
      request: GET /self
      auth: {basic: {username: "${secret.username}", password: "${secret.password}"}}
      replies:
        - {when: response.status == 204, then: accepted}
        - {when: response.status == 401, then: refused}
`

func TestStepsOfAnOverwriteKind(t *testing.T) {
	t.Parallel()
	password, seen, asked, needed := "", []string{}, 0, 3
	f := newTLSFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/self":
			if user, given, _ := r.BasicAuth(); user != "robot-a/../b c" || given != password || given == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		case len(r.TLS.PeerCertificates) != 1:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPut:
			_ = r.ParseForm()
			seen = append(seen, r.URL.EscapedPath()+"?"+r.URL.RawQuery, r.PostForm.Get("was"), fmt.Sprint(len(r.PostForm.Get("digest"))))
			password = r.PostForm.Get("password")
			w.Header().Set("X-Job", "job-1")
			w.WriteHeader(http.StatusAccepted)
		default:
			asked++
			state := "running"
			if asked%needed == 0 {
				state = "done"
			}
			answer(w, http.StatusOK, map[string]string{"state": state})
		}
	}))
	certificate, key := clientCertificate(t)
	config := f.config(compile(t, steps), text(t, map[string]string{"certificate": certificate, "key": key}))
	config.Parameters = map[string]any{"path": "a/../b c"}
	drawn := 0
	config.NewPassword = func(io.Reader) (string, error) {
		drawn++
		return fmt.Sprintf("drawn-by-rule-%d", drawn), nil
	}
	u := f.upstream(t, config)
	first := apply(t, u, "run-1", text(t, map[string]string{"note": "kept"}))
	if diff := cmp.Diff([]string{"note", "password", "username"}, first.Names()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	want := []string{"/users/a%2F..%2Fb%20c/password?user=robot-a%2F..%2Fb+c", "nothing", "64"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if asked != 3 {
		t.Errorf("asked for the job %d times, want 3", asked)
	}
	verdict(t, u, first, upstream.Accepted)
	second := apply(t, u, "run-2", first)
	verdict(t, u, first, upstream.Refused)
	if _, err := u.Apply(t.Context(), "run-2", second, first); err != nil {
		t.Errorf("reapplying: %v", err)
	}
	verdict(t, u, first, upstream.Accepted)

	// A job that does not end: the password may have been set.
	needed = 1000
	candidate, err := u.Propose(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Apply(t.Context(), "run-3", first, candidate); err == nil || strings.Contains(err.Error(), upstream.ErrNotApplied.Error()) {
		t.Errorf("a job without end: got %v, want an error that leaves it open", err)
	}

	// A trial brings the current one back.
	needed = 1
	if err := recipe.Try(t.Context(), config, first, func(recipe.Trial) {}); err != nil {
		t.Errorf("trying: %v", err)
	}
	verdict(t, u, first, upstream.Accepted)
	if err := recipe.Try(t.Context(), config, secret.Value{}, func(recipe.Trial) {}); err == nil {
		t.Error("trying without the current value: got no error")
	}
}

func clientCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
