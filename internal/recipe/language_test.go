// SPDX-License-Identifier: Apache-2.0

package recipe_test

import (
	"os"
	"strings"
	"testing"

	"custody.dev/custody/internal/recipe"

	"go.yaml.in/yaml/v3"
)

// lab is a whole recipe, of which tests change parts.
func lab(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const byBearer = `{bearer: "${admin.token}"}`

func compile(t *testing.T, text string) *recipe.Compiled {
	t.Helper()
	r, err := recipe.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := recipe.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	whole := lab(t)
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
		{"braces forgotten", `{label: "${tag}"`, `{label: "key of params.service"`, "create.steps[0].json.label: it names params.service outside of ${…}"},
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
		{"empty condition", "when: response.status == 401,", `when: "",`, "verify.steps[0].replies[1].when: empty"},
		{"empty wait", "      let: {id: string(", "      repeat: {until: \"\", every: 1s, most: 3}\n      let: {id: string(", "create.steps[0].repeat.until: empty"},
		{"empty time of use", "  last: target.used", `  last: ""`, "usage.last: empty"},
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
	if err := yaml.Unmarshal([]byte(lab(t)), &data); err != nil {
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
	compiled := compile(t, lab(t))
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
