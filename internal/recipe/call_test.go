// SPDX-License-Identifier: Apache-2.0

package recipe_test

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"

	"github.com/google/go-cmp/cmp"
)

const filled = `
parameters:
  user: {type: text, default: ci, means: "the user"}
fields:
  password: {means: "the password"}
admin:
  fields: {certificate: "PEM", key: "PEM"}
  auth: {mtls: {certificate: "${admin.certificate}", key: "${admin.key}"}}
kind: {capability: overwrite, undo: reapply, lostReply: recover}
make:
  - password: password
create:
  steps:
    - name: set
      request: PUT /users/${params.user}/password
      query: {empty: "", by: "${claim}"}
      headers: {X-User: "${params.user}"}
      form: {password: "${candidate.password}"}
      replies: [{when: response.status == 202, then: ok}]
      let: {job: response.body.job}
verify:
  steps:
    - name: self
      request: GET /self
      auth: {basic: {username: "${params.user}", password: "${secret.password}", encoded: true}}
      replies:
        - {when: response.status == 204, then: accepted}
`

func TestCallsAreFilledIn(t *testing.T) {
	t.Parallel()
	compiled := compile(t, filled)
	call := compiled.Create[0]
	v := recipe.Values{"claim": "shop/test/key", "params.user": "a/b c", "candidate.password": "p&q"}
	if got, err := call.Path(v); got != "/users/a%2Fb%20c/password" || err != nil {
		t.Errorf("path: got %q, %v", got, err)
	}
	if got, err := call.Query(v); got.Encode() != "by=shop%2Ftest%2Fkey" || err != nil {
		t.Errorf("query: got %q, %v", got.Encode(), err)
	}
	if got, err := call.Headers(v); !cmp.Equal(got, map[string]string{"X-User": "a/b c"}) || err != nil {
		t.Errorf("headers: got %q, %v", got, err)
	}
	if body, media, err := call.Body(v); string(body) != "password=p%26q" || media != "application/x-www-form-urlencoded" || err != nil {
		t.Errorf("body: got %q (%s), %v", body, media, err)
	}
	for _, user := range []string{"", ".", ".."} {
		if got, err := call.Path(v.With(recipe.Values{"params.user": user})); err == nil {
			t.Errorf("user %q: got the path %q", user, got)
		}
	}
	if _, err := call.Headers(v.With(recipe.Values{"params.user": "a\r\nX-Admin: yes"})); err == nil || strings.Contains(err.Error(), "yes") {
		t.Errorf("a line break in a header: got %v, want an error that does not quote it", err)
	}
}

func TestSignaturesAreFilledIn(t *testing.T) {
	t.Parallel()
	compiled := compile(t, filled)
	by := compiled.Verify[0].SignIn
	got, err := by.Fill(recipe.Values{"params.user": "ci", "secret.password": "a:b"})
	if want := (recipe.Signature{Header: "Authorization", Value: "Basic Y2k6YSUzQWI="}); !cmp.Equal(got, want) || err != nil { // ci:a%3Ab
		t.Errorf("basic: got %+v, %v", got, err)
	}
	if !compiled.Create[0].SignIn.Admin {
		t.Error("what changes something is not signed by the admin")
	}
	admin, err := secret.Text(map[string]string{"certificate": "one", "key": "other"})
	if err != nil {
		t.Fatal(err)
	}
	got, err = compiled.Admin.Fill(compiled.AdminFields(admin))
	if want := (recipe.Signature{Pair: &recipe.Pair{Certificate: "one", Key: "other"}}); !cmp.Equal(got, want) || err != nil {
		t.Errorf("mtls: got %+v, %v", got, err)
	}
	// A certificate that is missing is not the same as none that is wanted.
	if got, err = compiled.Admin.Fill(compiled.AdminFields(secret.Value{})); got.Pair == nil || err != nil {
		t.Errorf("mtls without a certificate: got %+v, %v, want an empty pair", got, err)
	}
}

func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	call := compile(t, filled).Create[0]
	v, isJSON := recipe.Answer(202, map[string]string{"x-a": "b"}, []byte(`{"job": 9007199254740993}`))
	if !isJSON {
		t.Error("JSON is not taken for it")
	}
	if reply, ruled := call.Reply(v); !ruled || reply.Then != recipe.OK {
		t.Errorf("got the reply %+v, %t", reply, ruled)
	}
	if err := call.Bind(v); err != nil || v["steps.set.status"] != 202 {
		t.Errorf("got the status %v, %v", v["steps.set.status"], err)
	}
	call.Skip(v)
	if v["steps.set.status"] != 0 || v["steps.set.job"] != nil {
		t.Errorf("left out: got %v and %v", v["steps.set.status"], v["steps.set.job"])
	}
	const page = "<html>my-password</html>"
	v, isJSON = recipe.Answer(500, nil, []byte(page))
	if isJSON || !cmp.Equal(v["response.body"], any(map[string]any{})) || v["response.text"] != page {
		t.Errorf("a page: got %v, JSON: %t", v, isJSON)
	}
	if _, ruled := call.Reply(v); ruled {
		t.Error("a page is taken for a reply")
	}
	if err := call.Bind(v); err == nil || strings.Contains(err.Error(), "my-password") {
		t.Errorf("binding what is not there: got %v, want an error that quotes nothing", err)
	}
}
