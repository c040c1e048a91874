// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// service keeps the credentials of one account, as the services below do: each with a number, a name and a secret part,
// honoured some time after it was made and until some time after it was removed. A request that no route of its
// publisher's description has is answered 404.
type service struct {
	mu     sync.Mutex
	admin  string
	next   int
	most   int
	full   any // what is answered then, by services that tests let answer in several ways
	delay  time.Duration
	kept   []issued
	routes map[string]func(*service, http.ResponseWriter, *http.Request)
}

type issued struct {
	id, name, secret string
	inactive         bool
	from, to         time.Time
}

func newService(routes map[string]func(*service, http.ResponseWriter, *http.Request)) *service {
	return &service{admin: "admin-credential-for-tests", delay: 10 * time.Millisecond, routes: routes}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mux := http.NewServeMux()
	for pattern, route := range s.routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { route(s, w, r) })
	}
	mux.ServeHTTP(w, r)
}

// administered answers 401 unless the admin asks.
func administered(route func(*service, http.ResponseWriter, *http.Request)) func(*service, http.ResponseWriter, *http.Request) {
	return func(s *service, w http.ResponseWriter, r *http.Request) {
		_, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if given != s.admin {
			answer(w, http.StatusUnauthorized, map[string]any{"message": "who are you?"})
			return
		}
		route(s, w, r)
	}
}

func digits(bytes int) string {
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw)
	return hex.EncodeToString(raw)
}

// issue makes a credential; secretPart makes its secret from its number, unless the caller chose one.
func (s *service) issue(name string, secretPart func(id string) string) (issued, bool) {
	if s.most > 0 && len(s.live()) >= s.most {
		return issued{}, false
	}
	s.next++
	one := issued{id: fmt.Sprint(4_000_000_000 + s.next), name: name, from: time.Now().Add(s.delay)}
	one.secret = secretPart(one.id)
	s.kept = append(s.kept, one)
	return one, true
}

func (s *service) live() []issued {
	return slices.DeleteFunc(slices.Clone(s.kept), func(one issued) bool { return !one.to.IsZero() })
}

func (s *service) find(id string) *issued {
	for i := range s.kept {
		if s.kept[i].id == id && s.kept[i].to.IsZero() {
			return &s.kept[i]
		}
	}
	return nil
}

func (s *service) honoured(given string) bool { return s.holder(given) != nil }

// holder is the credential that given opens, nil for none.
func (s *service) holder(given string) *issued {
	now := time.Now()
	at := slices.IndexFunc(s.kept, func(one issued) bool {
		return one.secret == given && !one.inactive && !now.Before(one.from) && (one.to.IsZero() || now.Before(one.to))
	})
	if at < 0 {
		return nil
	}
	return &s.kept[at]
}

func (s *service) names(*testing.T) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.live() {
		out = append(out, one.id)
	}
	return out
}

// remove ends what {id} names, and answers with status; 404 when there is no such thing.
func remove(status int) func(*service, http.ResponseWriter, *http.Request) {
	return administered(func(s *service, w http.ResponseWriter, r *http.Request) {
		one := s.find(r.PathValue("id"))
		if one == nil {
			answer(w, http.StatusNotFound, nil)
			return
		}
		one.to = time.Now().Add(s.delay)
		answer(w, status, nil)
	})
}

var unhurried = regexp.MustCompile(`(?m)^  (settle|deadline|late): .*\n`)

// brisk is a built-in recipe whose settle time and deadline are as short as the services of these tests are quick.
func brisk(t *testing.T, name string) *recipe.Compiled {
	t.Helper()
	text, err := os.ReadFile("../../recipe/recipes/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	short := unhurried.ReplaceAllString(string(text), "")
	return compile(t, strings.Replace(short, "\nkind:\n", "\nkind:\n  settle: 50ms\n  deadline: 10s\n", 1))
}

// TestAsPublished holds the recipes whose service is a local server to the suite.
func TestAsPublished(t *testing.T) {
	t.Parallel()
	atOnce(t, map[string]func(*testing.T){
		"CloudflareToken":   publishedCloudflareToken,
		"EntraPassword":     publishedEntraPassword,
		"GitHubDeployKey":   publishedGitHubDeployKey,
		"GitLabTokenRotate": publishedGitLabTokenRotate,
		"GoogleKey":         publishedGoogleKey,
		"GrafanaToken":      publishedGrafanaToken,
		"KeycloakSecret":    publishedKeycloakSecret,
		"OktaClientSecret":  publishedOktaClientSecret,
		"SendGridKey":       publishedSendGridKey,
	})
}

// described checks a built-in recipe against such a service.
func described(t *testing.T, name string, fresh func() *service, admin map[string]string, parameters map[string]any) {
	t.Helper()
	compiled := brisk(t, name)
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		s := fresh()
		f := suited(t, s)
		fields := map[string]string{}
		for field, v := range admin {
			fields[field] = cmp.Or(v, s.admin)
		}
		config := f.config(compiled, text(t, fields))
		config.Parameters = parameters
		config.NewPassword = drawHex
		config.Endpoints = map[string]string{"login": f.address()}
		if name != "entra-application-password" {
			config.Endpoints = nil
		}
		return upstreamtest.Fixture{
			Upstream: f.upstream(t, config).Powers(), Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: s.names, Wait: func() { time.Sleep(15 * time.Millisecond) },
		}
	})
}

func grafana() *service {
	const base = "/api/serviceaccounts/7/tokens"
	return newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST " + base: administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Name          string `json:"name"`
				SecondsToLive int    `json:"secondsToLive"`
			}
			taken := func(one issued) bool { return one.name == body.Name }
			if !decodeBody(r, &body) || body.SecondsToLive != 90*86400 || slices.ContainsFunc(s.live(), taken) {
				answer(w, http.StatusBadRequest, nil)
				return
			}
			one, _ := s.issue(body.Name, func(string) string { return "glsa_" + digits(16) })
			var id int
			_, _ = fmt.Sscan(one.id, &id)
			answer(w, http.StatusOK, map[string]any{"id": id, "name": one.name, "key": one.secret})
		}),
		"GET " + base: administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			list := []map[string]any{}
			for _, one := range s.live() {
				var id int
				_, _ = fmt.Sscan(one.id, &id)
				list = append(list, map[string]any{"id": id, "name": one.name, "lastUsedAt": nil})
			}
			answer(w, http.StatusOK, list)
		}),
		"DELETE " + base + "/{id}": remove(http.StatusOK),
		"GET /api/org": func(s *service, w http.ResponseWriter, r *http.Request) {
			if !s.honoured(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
				answer(w, http.StatusUnauthorized, map[string]string{"message": "Invalid API key"})
				return
			}
			answer(w, http.StatusForbidden, map[string]string{"message": "You'll need additional permissions"})
		},
	})
}

func publishedGrafanaToken(t *testing.T) {
	described(t, "grafana-service-account-token", grafana, map[string]string{"token": ""}, map[string]any{"serviceAccount": "7", "days": 90})
}

// cloudflareToken is cfat_, forty characters and a checksum.
func cloudflareToken(string) string {
	body := digits(20)
	return fmt.Sprintf("cfat_%s%08x", body, crc32.ChecksumIEEE([]byte(body)))
}

func cloudflareForm(token string) bool {
	rest, prefixed := strings.CutPrefix(token, "cfat_")
	return prefixed && len(rest) == 48 && rest[40:] == fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(rest[:40])))
}

func cloudflare() *service {
	const account = "0123456789abcdef0123456789abcdef"
	const base = "/client/v4/accounts/" + account + "/tokens"
	return newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST " + base: administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Name     string `json:"name"`
				Policies []struct {
					Effect    string            `json:"effect"`
					Resources map[string]string `json:"resources"`
					Groups    []struct {
						ID string `json:"id"`
					} `json:"permission_groups"`
				} `json:"policies"`
			}
			if !decodeBody(r, &body) || len(body.Policies) != 1 || body.Policies[0].Effect != "allow" || len(body.Policies[0].Groups) != 2 ||
				body.Policies[0].Resources["com.cloudflare.api.account.zone."+account] != "*" {
				answer(w, http.StatusBadRequest, map[string]any{"success": false})
				return
			}
			one, _ := s.issue(body.Name, cloudflareToken)
			answer(w, http.StatusOK, map[string]any{"success": true, "result": map[string]any{"id": one.id, "name": one.name, "value": one.secret}})
		}),
		"GET " + base: administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			page, size := 1, 2
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			list := []map[string]any{}
			live := s.live()
			for _, one := range live[min((page-1)*size, len(live)):min(page*size, len(live))] {
				list = append(list, map[string]any{"id": one.id, "name": one.name, "status": "active"})
			}
			answer(w, http.StatusOK, map[string]any{"success": true, "result": list})
		}),
		"DELETE " + base + "/{id}": remove(http.StatusOK),
		"GET " + base + "/verify": func(s *service, w http.ResponseWriter, r *http.Request) {
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !cloudflareForm(token) {
				answer(w, http.StatusBadRequest, map[string]any{"success": false, "errors": []any{map[string]any{
					"code": 6003, "message": "Invalid request headers",
					"error_chain": []any{map[string]any{"code": 6111, "message": "Invalid format for Authorization header"}},
				}}})
				return
			}
			one := s.holder(token)
			if one == nil {
				answer(w, http.StatusUnauthorized, map[string]any{"success": false, "errors": []any{map[string]any{"code": 1000, "message": "Invalid API Token"}}})
				return
			}
			answer(w, http.StatusOK, map[string]any{"success": true, "result": map[string]any{"id": one.id, "status": "active"}})
		},
	})
}

func publishedCloudflareToken(t *testing.T) {
	account := "0123456789abcdef0123456789abcdef"
	described(t, "cloudflare-token", cloudflare, map[string]string{"token": ""}, map[string]any{
		"account": account, "resource": "com.cloudflare.api.account.zone." + account, "permissionGroups": []any{account, strings.Repeat("a", 32)},
	})
}

func TestCloudflareDecoyKeepsItsPrefix(t *testing.T) {
	t.Parallel()
	f := newFake(t, cloudflare())
	config := f.config(builtin(t, "cloudflare-token"), secret.Value{})
	account := strings.Repeat("a", 32)
	config.Parameters = map[string]any{"account": account, "resource": "com.cloudflare.api.account.zone." + account, "permissionGroups": []any{account}}
	token := cloudflareToken("")
	decoy, err := f.upstream(t, config).Powers().(upstream.Decoyer).Decoy(text(t, map[string]string{"token": token, "id": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := decoy.ExposeText("token"); !strings.HasPrefix(got, "cfat_") || len(got) != len(token) || got == token {
		t.Errorf("got a decoy of %d characters that is the token: %t, want one with its prefix and length", len(got), got == token)
	}
}

func sendGrid() *service {
	return newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST /v3/api_keys": administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Name   string   `json:"name"`
				Scopes []string `json:"scopes"`
			}
			if !decodeBody(r, &body) || len(body.Name) > 100 || !slices.Equal(body.Scopes, []string{"mail.send"}) {
				answer(w, http.StatusBadRequest, nil)
				return
			}
			one, room := s.issue(body.Name, func(id string) string { return "SG." + id + "." + digits(20) })
			if !room {
				answer(w, http.StatusForbidden, map[string]any{"errors": []any{map[string]string{"message": "Cannot create more than 100 API Keys"}}})
				return
			}
			answer(w, http.StatusCreated, map[string]any{"api_key": one.secret, "api_key_id": one.id, "name": one.name})
		}),
		"GET /v3/api_keys": administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			list := []map[string]any{}
			for _, one := range s.live() {
				list = append(list, map[string]any{"api_key_id": one.id, "name": one.name})
			}
			answer(w, http.StatusOK, map[string]any{"result": list})
		}),
		"DELETE /v3/api_keys/{id}": remove(http.StatusNoContent),
		"GET /v3/scopes": func(s *service, w http.ResponseWriter, r *http.Request) {
			if !s.honoured(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
				answer(w, http.StatusUnauthorized, map[string]any{"errors": []any{map[string]string{"message": "authorization required"}}})
				return
			}
			answer(w, http.StatusOK, map[string]any{"scopes": []any{"mail.send"}})
		},
	})
}

func publishedSendGridKey(t *testing.T) {
	described(t, "sendgrid-key", sendGrid, map[string]string{"key": ""}, map[string]any{"scopes": []any{"mail.send"}})
}

// A full account is told as such, with what is there, and nothing is removed.
func TestQuota(t *testing.T) {
	t.Parallel()
	simple := func(s *service, admin string, parameters map[string]any) func(*testing.T) (*service, http.Handler, func(*fake, *adapter.Config)) {
		return func(t *testing.T) (*service, http.Handler, func(*fake, *adapter.Config)) {
			s.most = 1
			return s, s, func(f *fake, c *adapter.Config) {
				c.Admin, c.Parameters = only(text(t, map[string]string{admin: s.admin})), parameters
			}
		}
	}
	// Google takes ten keys. What it answers to the eleventh was throttling's status once, and is that of a policy now.
	ten := func(status int, word, message string) func(*testing.T) (*service, http.Handler, func(*fake, *adapter.Config)) {
		return func(t *testing.T) (*service, http.Handler, func(*fake, *adapter.Config)) {
			g := newGoogle(t)
			g.most, g.full = 10, map[string]any{"error": map[string]any{"code": status, "status": word, "message": message}}
			for i := range 9 {
				g.kept = append(g.kept, issued{id: fmt.Sprintf("made-by-hand-%d", i)})
			}
			return g.service, g, func(f *fake, c *adapter.Config) { g.configure(t, f, c) }
		}
	}
	for name, test := range map[string]struct {
		fresh func(*testing.T) (*service, http.Handler, func(*fake, *adapter.Config))
		want  string
	}{
		"sendgrid-key":                    {simple(sendGrid(), "key", map[string]any{"scopes": []any{"mail.send"}}), "the account has the hundred keys"},
		"okta-client-secret":              {simple(okta(), "token", map[string]any{"application": "0oa1example2example3", "clientId": "0oa1example2example3"}), "the two secrets"},
		"google-service-account-key":      {ten(400, "FAILED_PRECONDITION", "Precondition check failed."), "the account has the ten keys"},
		"google-service-account-key, 429": {ten(429, "RESOURCE_EXHAUSTED", "Maximum number of keys on account reached."), "the account has the ten keys"},
	} {
		t.Run(name, func(t *testing.T) {
			s, handler, configure := test.fresh(t)
			f := newFake(t, handler)
			named, _, _ := strings.Cut(name, ",")
			config := f.config(brisk(t, named), secret.Value{})
			config.NewPassword = drawHex
			configure(f, &config)
			u := f.upstream(t, config)
			first := apply(t, u, "run-1", secret.Value{})
			var candidate secret.Value
			if !u.Kind().Issues {
				var err error
				if candidate, err = u.Propose(t.Context(), first); err != nil {
					t.Fatal(err)
				}
			}
			_, err := u.Apply(t.Context(), "run-2", first, candidate)
			if err == nil || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), s.names(t)[0]) {
				t.Errorf("got %v, want not applied, and what is there", err)
			}
			if _, later := errors.AsType[*upstream.Later](err); later {
				t.Errorf("got %v, which asking later does not mend", err)
			}
			time.Sleep(2 * s.delay)
			verdict(t, u, first, upstream.Accepted)
		})
	}
}

// A policy that forbids keys has the same status and word as a full account, with fewer keys there.
func TestGooglePolicyIsNoQuota(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	g.most, g.full = 1, map[string]any{"error": map[string]any{"code": 400, "status": "FAILED_PRECONDITION", "message": "Precondition check failed."}}
	f := newFake(t, g)
	config := f.config(brisk(t, "google-service-account-key"), secret.Value{})
	g.configure(t, f, &config)
	u := f.upstream(t, config)
	apply(t, u, "run-1", secret.Value{})
	if _, err := u.Apply(t.Context(), "run-2", secret.Value{}, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(err.Error(), "policy") {
		t.Errorf("got %v, want not applied, and the policy", err)
	}
}

func TestOktaSaysWhenToAskAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFake(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		w.Header().Set("X-Rate-Limit-Remaining", "0")
		w.Header().Set("X-Rate-Limit-Reset", fmt.Sprint(now.Unix()+45))
		answer(w, http.StatusTooManyRequests, map[string]string{"errorCode": "E0000047"})
	}))
	config := f.config(brisk(t, "okta-client-secret"), text(t, map[string]string{"token": "any"}))
	config.Parameters = map[string]any{"application": "0oa1example2example3", "clientId": "0oa1example2example3"}
	_, err := f.upstream(t, config).Verify(t.Context(), text(t, map[string]string{"clientId": "any", "clientSecret": "any"}))
	if later, ok := errors.AsType[*upstream.Later](err); !ok || later.After != 45*time.Second {
		t.Errorf("got %v (%+v), want to ask again in 45s", err, later)
	}
}

func drawHex(random io.Reader) (string, error) {
	raw := make([]byte, 16)
	_, err := io.ReadFull(random, raw)
	return hex.EncodeToString(raw), err
}

func okta() *service {
	const application = "0oa1example2example3"
	const base = "/api/v1/apps/" + application + "/credentials/secrets"
	s := newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST " + base: administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Secret string `json:"client_secret"`
				Status string `json:"status"`
			}
			if !decodeBody(r, &body) || len(body.Secret) < 14 || len(body.Secret) > 100 || body.Status != "ACTIVE" {
				answer(w, http.StatusBadRequest, map[string]any{"errorCode": "E0000001", "errorCauses": []any{map[string]string{"errorSummary": "client_secret: length"}}})
				return
			}
			one, room := s.issue("", func(string) string { return body.Secret })
			if !room {
				answer(w, http.StatusBadRequest, map[string]any{"errorCode": "E0000001", "errorCauses": []any{map[string]string{"errorSummary": "You've reached the maximum number of client secrets"}}})
				return
			}
			answer(w, http.StatusCreated, map[string]any{"id": one.id, "client_secret": one.secret, "status": "ACTIVE"})
		}),
		"GET " + base: administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			list := []map[string]any{}
			for _, one := range s.live() {
				status := "ACTIVE"
				if one.inactive {
					status = "INACTIVE"
				}
				list = append(list, map[string]any{"id": one.id, "client_secret": one.secret, "status": status})
			}
			answer(w, http.StatusOK, list)
		}),
		"POST " + base + "/{id}/lifecycle/deactivate": administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			if one := s.find(r.PathValue("id")); one != nil {
				one.inactive = true
				answer(w, http.StatusOK, map[string]any{"id": one.id})
				return
			}
			answer(w, http.StatusNotFound, nil)
		}),
		"DELETE " + base + "/{id}": administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			if one := s.find(r.PathValue("id")); one != nil && !one.inactive {
				answer(w, http.StatusBadRequest, nil) // only what is inactive can be deleted
				return
			}
			remove(http.StatusNoContent)(s, w, r)
		}),
		"POST /oauth2/v1/introspect": func(s *service, w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			if user != application || !s.honoured(password) {
				answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
				return
			}
			answer(w, http.StatusOK, map[string]bool{"active": false})
		},
	})
	s.most = 3 // one more than Okta has, since the suite leaves one behind: see TestQuota
	return s
}

func publishedOktaClientSecret(t *testing.T) {
	described(t, "okta-client-secret", okta, map[string]string{"token": ""}, map[string]any{
		"application": "0oa1example2example3", "clientId": "0oa1example2example3",
	})
}

func entra() *service {
	const tenant, application = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
	return newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST /v1.0/applications/" + application + "/addPassword": administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				Credential struct {
					DisplayName string    `json:"displayName"`
					End         time.Time `json:"endDateTime"`
				} `json:"passwordCredential"`
			}
			if !decodeBody(r, &body) || body.Credential.End.Before(time.Now()) {
				answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"message": "Invalid end"}})
				return
			}
			one, _ := s.issue(body.Credential.DisplayName, func(id string) string { return id[len(id)-3:] + "~" + digits(18) })
			answer(w, http.StatusOK, map[string]any{"keyId": one.id, "secretText": one.secret, "displayName": one.name, "hint": one.secret[:3]})
		}),
		"GET /v1.0/applications/" + application: administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			list := []map[string]any{{"keyId": "made-by-hand", "displayName": nil, "hint": nil}}
			for _, one := range s.live() {
				list = append(list, map[string]any{"keyId": one.id, "displayName": one.name, "hint": one.secret[:3]})
			}
			answer(w, http.StatusOK, map[string]any{"passwordCredentials": list})
		}),
		"POST /v1.0/applications/" + application + "/removePassword": administered(func(s *service, w http.ResponseWriter, r *http.Request) {
			var body struct {
				KeyID string `json:"keyId"`
			}
			one := (*issued)(nil)
			if decodeBody(r, &body) {
				one = s.find(body.KeyID)
			}
			if one == nil {
				answer(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"message": "No password credential found with keyId"}})
				return
			}
			one.to = time.Now().Add(s.delay)
			w.WriteHeader(http.StatusNoContent)
		}),
		"POST /" + tenant + "/oauth2/v2.0/token": func(s *service, w http.ResponseWriter, r *http.Request) {
			switch given := r.PostFormValue("client_secret"); {
			case r.PostFormValue("client_id") == "the-admin" && given == "the-admin's secret":
				answer(w, http.StatusOK, map[string]any{"access_token": s.admin, "token_type": "Bearer", "expires_in": 3599})
			case r.PostFormValue("client_id") == "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee" && s.honoured(given):
				answer(w, http.StatusOK, map[string]any{"access_token": "of no use", "token_type": "Bearer", "expires_in": 3599})
			default:
				answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_codes": []int{7000215}})
			}
		},
	})
}

func publishedEntraPassword(t *testing.T) {
	described(t, "entra-application-password", entra, map[string]string{"clientId": "the-admin", "clientSecret": "the-admin's secret"}, map[string]any{
		"tenant": "11111111-2222-3333-4444-555555555555", "application": "66666666-7777-8888-9999-000000000000",
		"clientId": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "days": 180,
	})
}
