// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/api/v1alpha1"

	"github.com/google/go-cmp/cmp"
)

// httpOverwrite is a small recipe of an account's password, as a document holds it.
func httpOverwrite() map[string]any {
	step := func(name, request string, more map[string]any) map[string]any {
		out := map[string]any{"name": name, "request": request}
		for key, value := range more {
			out[key] = value
		}
		return out
	}
	return map[string]any{
		"parameters": map[string]any{"user": map[string]any{"type": "text", "required": true, "means": "the user"}},
		"fields":     map[string]any{"password": map[string]any{"means": "the password"}},
		"kind":       map[string]any{"capability": "overwrite", "undo": "reapply", "lostReply": "recover"},
		"make":       []any{map[string]any{"password": "password"}},
		"create": map[string]any{"steps": []any{step("set", "PUT /users/${params.user}", map[string]any{
			"form": map[string]any{"password": "${candidate.password}", "old": "${current.password}"},
		})}},
		"verify": map[string]any{"steps": []any{step("self", "GET /self", map[string]any{
			"auth": map[string]any{"basic": map[string]any{"username": "${params.user}", "password": "${secret.password}"}},
			"replies": []any{
				map[string]any{"when": "response.status == 200", "then": "accepted"},
				map[string]any{"when": "response.status == 401", "then": "refused"},
			},
		})}},
	}
}

func TestHTTPKind(t *testing.T) {
	type (
		server   = v1alpha1.UpstreamSpec
		rotation = v1alpha1.RotationSpec
	)
	defined := func(s *server, r *rotation) {
		s.HTTP.Recipe, s.HTTP.Define, s.AdminRef = "", httpOverwrite(), ""
		r.HTTP.Parameters, r.AllowInterruption = map[string]any{"user": "ci"}, true
	}
	for _, test := range []struct {
		name   string
		change func(*server, *rotation)
		want   []string
	}{
		{"built in", func(*server, *rotation) {}, nil},
		{"parameters in common", func(s *server, r *rotation) {
			s.HTTP.Parameters, r.HTTP.Parameters = r.HTTP.Parameters, nil
		}, nil},
		{"defined", defined, nil},
		{"loopback without TLS", func(s *server, _ *rotation) { s.HTTP.URL = "http://127.0.0.1:3000" }, nil},
		{"elsewhere without TLS", func(s *server, _ *rotation) { s.HTTP.URL = "http://git.example.org" }, []string{"upstream-tls url"}},
		{"no address", func(s *server, _ *rotation) { s.HTTP.URL = "git.example.org" }, []string{"upstream-form url"}},
		{"password in the address", func(s *server, _ *rotation) { s.HTTP.URL = "https://a:b@git.example.org" }, []string{"upstream-form url"}},
		{"CA that is none", func(s *server, _ *rotation) { s.HTTP.CACertificate = "none" }, []string{"upstream-form caCertificate"}},
		{"no such recipe", func(s *server, _ *rotation) { s.HTTP.Recipe = "gitea" }, []string{"upstream-form recipe"}},
		{"recipe from elsewhere", func(s *server, _ *rotation) { s.HTTP.Recipe = "../recipes/gitea-token" }, []string{"upstream-form recipe"}},
		{"no recipe", func(s *server, _ *rotation) { s.HTTP.Recipe = "" }, []string{"upstream-form recipe"}},
		{"two recipes", func(s *server, _ *rotation) { s.HTTP.Define = httpOverwrite() }, []string{"upstream-form define"}},
		{"no such endpoint", func(s *server, _ *rotation) { s.HTTP.Endpoints = map[string]string{"login": "https://a.example.org"} }, []string{"upstream-form endpoints"}},
		{"endpoint without TLS", func(s *server, _ *rotation) { s.HTTP.Endpoints = map[string]string{"login": "http://a.example.org"} }, []string{"upstream-tls endpoints.login", "upstream-form endpoints"}},
		{"no admin", func(s *server, _ *rotation) { s.AdminRef = "" }, []string{"admin-needed the document"}},
		{"an admin for nothing", func(s *server, r *rotation) { defined(s, r); s.AdminRef = "admin" }, []string{"admin-needed the document"}},
		{"several faults in one recipe", func(s *server, r *rotation) {
			defined(s, r)
			recipe := httpOverwrite()
			recipe["kind"].(map[string]any)["undo"] = "discard"
			recipe["verify"].(map[string]any)["steps"].([]any)[0].(map[string]any)["request"] = "TRACE /self"
			s.HTTP.Define = recipe
		}, []string{"upstream-form define", "upstream-form define"}},
		{"parameter missing", func(_ *server, r *rotation) { delete(r.HTTP.Parameters, "user") }, []string{"account-form parameters"}},
		{"parameter unknown", func(_ *server, r *rotation) { r.HTTP.Parameters["usr"] = "ci" }, []string{"account-form parameters"}},
		{"parameter of another type", func(_ *server, r *rotation) { r.HTTP.Parameters["user"] = true }, []string{"account-form parameters"}},
		{"parameter of another form", func(_ *server, r *rotation) { r.HTTP.Parameters["user"] = "../admin" }, []string{"account-form parameters"}},
		{"parameter twice", func(s *server, _ *rotation) { s.HTTP.Parameters = map[string]any{"user": "ci"} }, []string{"account-form parameters.user"}},
		{"parameter in common unknown", func(s *server, _ *rotation) { s.HTTP.Parameters = map[string]any{"usr": "ci"} }, []string{"upstream-form parameters"}},
		{"overwrite interrupts", func(s *server, r *rotation) { defined(s, r); r.AllowInterruption = false }, []string{"account-interrupts the document"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := server{AdminRef: "admin", HTTP: &v1alpha1.HTTPUpstream{URL: "https://git.example.org", Recipe: "gitea-token"}}
			r := rotation{Account: v1alpha1.Account{HTTP: &v1alpha1.HTTPAccount{
				Parameters: map[string]any{"user": "ci", "scopes": []any{"read:repository"}},
			}}}
			test.change(&s, &r)
			var got []string
			noted := func(rule string, where trail, reason string) {
				got = append(got, strings.TrimSpace(rule+" "+where.describe()))
				if strings.Contains(reason, "a:b") {
					t.Errorf("the reason quotes a password: %s", reason)
				}
			}
			httpServer(s, noted)
			httpAccount(s, r, noted)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHTTPClaims(t *testing.T) {
	claims := func(define any, url, user string) []string {
		return httpKind().claims(
			v1alpha1.UpstreamSpec{HTTP: &v1alpha1.HTTPUpstream{URL: url, Define: define}},
			v1alpha1.RotationSpec{Account: v1alpha1.Account{HTTP: &v1alpha1.HTTPAccount{Parameters: map[string]any{"user": user}}}})
	}
	one := claims(httpOverwrite(), "https://a.example.org", "one")
	if len(one) != 1 || !cmp.Equal(one, claims(httpOverwrite(), "https://A.example.org", "one")) {
		t.Errorf("one account: got %q, want one claim, the same each time", one)
	}
	if cmp.Equal(one, claims(httpOverwrite(), "https://a.example.org", "two")) {
		t.Error("two accounts have one claim")
	}
	if got := claims(nil, "https://a.example.org", "one"); got != nil {
		t.Errorf("without a recipe: got %q, want none", got)
	}
}

// A recipe is full of words such as token and password, with expressions beside them: none of that is a secret.
func TestHTTPRecipeWithinAnEstate(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	for _, name := range []string{"gitea-token", "gitea-oauth-application", "github-deploy-key", "gitlab-token-rotate"} {
		text, err := os.ReadFile("../upstream/http/recipes/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var define strings.Builder
		for line := range strings.Lines(string(text)) {
			define.WriteString("      " + line)
		}
		estate := strings.NewReplacer("RECIPIENT", recipient, "exec: EXEC", "http:\n    url: https://api.example.org\n    define:\n"+define.String(),
			"FIRST", "http: {}", "SECOND", "http: {}").Replace(execEstate)
		_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(estate)}}, Options{Environment: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults {
			switch fault.Rule {
			case "account-form", "account-interrupts", "admin-needed": // the accounts here are bare
			default:
				t.Errorf("%s: %s", name, fault)
			}
		}
	}
}
