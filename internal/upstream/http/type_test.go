// SPDX-License-Identifier: Apache-2.0

package http

import (
	"testing"

	"custody.dev/custody/internal/upstream/upstreamtest"

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
	type server struct {
		AdminRef string
		HTTP     *ServerSpec
	}
	type rotation struct {
		AllowInterruption bool
		HTTP              *AccountSpec
	}
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
		{"no admin", func(s *server, _ *rotation) { s.AdminRef = "" }, []string{"admin-needed"}},
		{"an admin for nothing", func(s *server, r *rotation) { defined(s, r); s.AdminRef = "admin" }, []string{"admin-needed"}},
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
		{"overwrite interrupts", func(s *server, r *rotation) { defined(s, r); r.AllowInterruption = false }, []string{"account-interrupts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := server{AdminRef: "admin", HTTP: &ServerSpec{URL: "https://git.example.org", Recipe: "gitea-token"}}
			r := rotation{HTTP: &AccountSpec{Parameters: map[string]any{"user": "ci", "scopes": []any{"read:repository"}}}}
			test.change(&s, &r)
			got := upstreamtest.Faults(Type(), s.AdminRef != "", s.HTTP, r.HTTP)
			if Type().Interrupts(s.HTTP, r.HTTP) && !r.AllowInterruption {
				got = append(got, "account-interrupts")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHTTPClaims(t *testing.T) {
	claims := func(define any, url, user string) []string {
		return Type().Claims(&ServerSpec{URL: url, Define: define}, &AccountSpec{Parameters: map[string]any{"user": user}})
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

// What a rotation would end or find no room for belongs to one secret, by the parameters that say which account is meant.
func TestHTTPClaimsOfExclusiveRecipes(t *testing.T) {
	claims := func(name, url string, common, own map[string]any) []string {
		return Type().Claims(&ServerSpec{URL: url, Recipe: name, Parameters: common}, &AccountSpec{Parameters: own})
	}
	const client, other = "01234567-89ab-cdef-0123-456789abcdef", "11234567-89ab-cdef-0123-456789abcdef"
	const sso = "https://sso.example.org"
	type parameters = map[string]any
	for _, test := range []struct {
		name, recipe string
		one, two     func() []string
		shared       bool
	}{
		{"one Keycloak client twice", "keycloak-client-secret",
			func() []string {
				return claims("keycloak-client-secret", sso, nil, parameters{"realm": "shop", "client": client, "clientId": "shop"})
			},
			func() []string { // another wording of the same
				return claims("keycloak-client-secret", "https://SSO.example.org/", parameters{"realm": "shop"}, parameters{"client": client, "clientId": "store"})
			}, true},
		{"two Keycloak clients", "keycloak-client-secret",
			func() []string {
				return claims("keycloak-client-secret", sso, nil, parameters{"realm": "shop", "client": client, "clientId": "shop"})
			},
			func() []string {
				return claims("keycloak-client-secret", sso, nil, parameters{"realm": "shop", "client": other, "clientId": "shop"})
			}, false},
		{"one Okta application twice", "okta-client-secret",
			func() []string {
				return claims("okta-client-secret", sso, nil, parameters{"application": "0oa1example2example3", "clientId": "a"})
			},
			func() []string {
				return claims("okta-client-secret", sso, nil, parameters{"application": "0oa1example2example3", "clientId": "b"})
			}, true},
		{"one GitLab token twice", "gitlab-token-rotate",
			func() []string { return claims("gitlab-token-rotate", sso, nil, parameters{"name": "push"}) },
			func() []string {
				return claims("gitlab-token-rotate", sso, nil, parameters{"name": "push", "days": 60})
			}, true},
		{"two GitLab tokens", "gitlab-token-rotate",
			func() []string { return claims("gitlab-token-rotate", sso, nil, parameters{"name": "push"}) },
			func() []string { return claims("gitlab-token-rotate", sso, nil, parameters{"name": "pull"}) }, false},
	} {
		one, two := test.one(), test.two()
		if len(one) != 1 || len(two) != 1 || cmp.Equal(one, two) != test.shared {
			t.Errorf("%s: got %q and %q, want one claim each, the same: %t", test.name, one, two, test.shared)
		}
	}
	if got := claims("gitea-token", sso, nil, parameters{"user": "ci", "scopes": []any{"read:repository"}}); got != nil {
		t.Errorf("tokens beside each other: got %q, want no claim", got)
	}
	if got := claims("keycloak-client-secret", sso, nil, nil); got != nil {
		t.Errorf("without its parameters: got %q, want none", got)
	}
}

// A kind that cannot undo has its account alone unless its recipe says otherwise.
func TestHTTPExclusive(t *testing.T) {
	for _, test := range []struct {
		undo      string
		exclusive any
		want      int
	}{
		{"impossible", nil, 1}, {"impossible", false, 0}, {"discard", nil, 0}, {"discard", true, 1},
	} {
		define := httpOverwrite()
		kind := map[string]any{"capability": "dual", "undo": test.undo, "lostReply": "recover"}
		if test.exclusive != nil {
			kind["exclusive"] = test.exclusive
		}
		define["kind"], define["find"] = kind, map[string]any{"id": "secret.password"}
		define["revoke"] = map[string]any{"steps": []any{map[string]any{"name": "gone", "request": "POST /revoke"}}}
		got := Type().Claims(&ServerSpec{URL: "https://a.example.org", Define: define}, &AccountSpec{Parameters: map[string]any{"user": "one"}})
		if len(got) != test.want {
			t.Errorf("undo %s, exclusive %v: got %q, want %d claims", test.undo, test.exclusive, got, test.want)
		}
	}
}

// What is granted is an address with the recipe as it was: another step sends credentials elsewhere beneath it.
func TestDefinedRecipeThatChangesIsAnotherEndpoint(t *testing.T) {
	at := func(change func(recipe map[string]any)) string {
		t.Helper()
		define := httpOverwrite()
		change(define)
		found := Type().Endpoints(&ServerSpec{URL: "https://a.example.org", Define: define})
		if len(found) != 1 {
			t.Fatalf("got %q, want one endpoint", found)
		}
		return found[0]
	}
	granted := at(func(map[string]any) {})
	if again := at(func(map[string]any) {}); again != granted {
		t.Errorf("the same recipe is %q, then %q", granted, again)
	}
	for name, change := range map[string]func(map[string]any){
		"a step": func(r map[string]any) {
			r["create"].(map[string]any)["steps"].([]any)[0].(map[string]any)["request"] = "PUT /others/${params.user}"
		},
		"a parameter": func(r map[string]any) {
			r["parameters"].(map[string]any)["user"].(map[string]any)["means"] = "another"
		},
	} {
		if changed := at(change); changed == granted {
			t.Errorf("%s changed, and the endpoint is still %q", name, granted)
		}
	}
}
