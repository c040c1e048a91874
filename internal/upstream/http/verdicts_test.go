// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// subject is what a built-in recipe needs to verify value.
type subject struct {
	parameters   map[string]any
	admin, value map[string]string
	endpoint     string // that stands beside url
}

const (
	cloudflareAccount = "0123456789abcdef0123456789abcdef"
	oktaApplication   = "0oa1example2example3"
	anyUUID           = "66666666-7777-8888-9999-000000000000"
)

// subjects has one for each built-in recipe.
func subjects(t *testing.T) map[string]subject {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(drawn()[0])
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	token := map[string]string{"token": "a-token", "id": "7"}
	client := map[string]string{"clientId": "a-client", "clientSecret": "a-secret", "id": "7", "keyId": "7"}
	return map[string]subject{
		"cloudflare-token": {value: token, admin: token, parameters: map[string]any{
			"account": cloudflareAccount, "resource": "com.cloudflare.api.account.zone." + cloudflareAccount, "permissionGroups": []any{cloudflareAccount},
		}},
		"entra-application-password": {value: client, admin: client, endpoint: "login", parameters: map[string]any{
			"tenant": anyUUID, "application": anyUUID, "clientId": anyUUID,
		}},
		"gitea-oauth-application": {value: client, admin: token, parameters: map[string]any{"redirectURIs": []any{"https://shop.example.org"}}},
		"gitea-token": {value: token, admin: map[string]string{"username": "ci", "password": "any"}, parameters: map[string]any{
			"user": "ci", "scopes": []any{"read:user"},
		}},
		"github-deploy-key": {value: map[string]string{"privateKey": key, "publicKey": "ssh-ed25519 AAAA"}, admin: token, parameters: map[string]any{
			"owner": "example", "repository": "shop",
		}},
		"gitlab-token-rotate": {value: token, parameters: map[string]any{"name": gitLabName}},
		"google-service-account-key": {
			value: map[string]string{"credentials": "{}", "privateKey": key, "keyId": "7"}, endpoint: "oauth",
			admin: map[string]string{"clientEmail": googleAccount, "privateKey": key, "keyId": "7"}, parameters: map[string]any{"serviceAccount": googleAccount},
		},
		"grafana-service-account-token": {value: token, admin: token, parameters: map[string]any{"serviceAccount": "7"}},
		"keycloak-client-secret": {value: client, admin: client, parameters: map[string]any{
			"realm": "shop", "client": keycloakClient, "clientId": "shop",
		}},
		"okta-client-secret": {value: client, admin: token, parameters: map[string]any{"application": oktaApplication, "clientId": oktaApplication}},
		"sendgrid-key":       {value: map[string]string{"key": "SG.7.any"}, admin: map[string]string{"key": "any"}, parameters: map[string]any{"scopes": []any{"mail.send"}}},
	}
}

// judged verifies the value of a at a server that answers every request by handler.
func judged(t *testing.T, name string, a subject, handler http.HandlerFunc) (upstream.Verdict, error) {
	t.Helper()
	f := newFake(t, handler)
	config := f.config(builtin(t, name), secret.Value{})
	config.Parameters, config.NewPassword = a.parameters, drawHex
	if a.admin != nil {
		config.Admin = only(text(t, a.admin))
	}
	if a.endpoint != "" {
		config.Endpoints = map[string]string{a.endpoint: f.address()}
	}
	return f.upstream(t, config).Verify(t.Context(), text(t, a.value))
}

// What stands before a service answers in its stead, whatever the credential: a page to sign in at, a notice of works.
func TestWhatIsNotTheServicesAnswerDecidesNothing(t *testing.T) {
	t.Parallel()
	all := subjects(t)
	for _, name := range recipe.Names() {
		a, known := all[name]
		if !known {
			t.Errorf("%s: no value to try it with", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, status := range []int{200, 400, 401, 403, 503} {
				for _, body := range []string{"<html>sign in</html>", "", "{}", `{"result": null}`} {
					got, err := judged(t, name, a, func(w http.ResponseWriter, _ *http.Request) {
						w.WriteHeader(status)
						_, _ = w.Write([]byte(body))
					})
					if got != upstream.Unknown {
						t.Errorf("%d and %q: got %s (%v), want unknown", status, body, got, err)
					}
				}
			}
		})
	}
}

func TestPublishedAnswersDecide(t *testing.T) {
	t.Parallel()
	for i, test := range []struct {
		recipe string
		status int
		body   string
		want   upstream.Verdict
	}{
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "7", "status": "active"}}`, upstream.Accepted},
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "7", "status": "disabled"}}`, upstream.Refused},
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "7", "status": "expired"}}`, upstream.Refused},
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "7", "status": "of a kind to come"}}`, upstream.Unknown},
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "8", "status": "active"}}`, upstream.Unknown},
		{"cloudflare-token", 200, `{"success": true, "result": {"id": "8", "status": "expired"}}`, upstream.Unknown},
		{"cloudflare-token", 401, `{"success": false, "errors": [{"code": 1000}]}`, upstream.Refused},
		{"entra-application-password", 200, `{"access_token": "any"}`, upstream.Accepted},
		{"gitea-token", 200, `{"version": "1.26.0"}`, upstream.Accepted},
		{"gitea-token", 401, `{"message": "invalid username, password or token"}`, upstream.Refused},
		{"gitlab-token-rotate", 401, `{"message": "401 Unauthorized"}`, upstream.Refused},
		{"gitlab-token-rotate", 401, `{"error": "invalid_token", "error_description": "Token was revoked."}`, upstream.Refused},
		{"google-service-account-key", 200, `{"id_token": "any"}`, upstream.Accepted},
		{"grafana-service-account-token", 200, `{"id": 1, "name": "Main Org."}`, upstream.Accepted},
		{"grafana-service-account-token", 403, `{"message": "You'll need additional permissions"}`, upstream.Accepted},
		{"grafana-service-account-token", 401, `{"message": "Expired API key"}`, upstream.Refused},
		{"okta-client-secret", 200, `{"active": false}`, upstream.Accepted},
		{"sendgrid-key", 200, `{"scopes": []}`, upstream.Accepted},
		{"sendgrid-key", 401, `{"errors": [{"message": "authorization required"}]}`, upstream.Refused},
	} {
		t.Run(fmt.Sprintf("%d %s", i, test.recipe), func(t *testing.T) {
			t.Parallel()
			got, err := judged(t, test.recipe, subjects(t)[test.recipe], func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			if got != test.want {
				t.Errorf("%d and %s: got %s (%v), want %s", test.status, test.body, got, err, test.want)
			}
		})
	}
}

// A value that was sealed with the id of another token would have that one removed in its stead.
func TestCloudflareTokenWithAnotherID(t *testing.T) {
	t.Parallel()
	s := cloudflare()
	f := newFake(t, s)
	config := f.config(brisk(t, "cloudflare-token"), text(t, map[string]string{"token": s.admin}))
	config.Parameters = map[string]any{
		"account": cloudflareAccount, "resource": "com.cloudflare.api.account.zone." + cloudflareAccount,
		"permissionGroups": []any{cloudflareAccount, strings.Repeat("a", 32)},
	}
	u := f.upstream(t, config)
	one, other := apply(t, u, "run-1", secret.Value{}), apply(t, u, "run-2", secret.Value{})
	time.Sleep(2 * s.delay)
	verdict(t, u, one, upstream.Accepted)
	mixed := text(t, map[string]string{"token": one.ExposeText("token"), "id": other.ExposeText("id")})
	got, err := u.Verify(t.Context(), mixed)
	if said, ok := errors.AsType[*upstream.Error](err); got != upstream.Unknown || !ok || !strings.Contains(said.Next, "id") {
		t.Errorf("got %s (%+v), want unknown, and to seal the right id", got, err)
	}
}

// Graph shows how a secret begins. One whose beginning it does not show is taken by its key id alone.
func TestEntraSecretWithAnotherKeyID(t *testing.T) {
	t.Parallel()
	s := entra()
	f := newFake(t, s)
	config := f.config(brisk(t, "entra-application-password"), text(t, map[string]string{"clientId": "the-admin", "clientSecret": "the-admin's secret"}))
	config.Parameters = map[string]any{
		"tenant": "11111111-2222-3333-4444-555555555555", "application": anyUUID, "clientId": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
	}
	config.Endpoints = map[string]string{"login": f.address()}
	u := f.upstream(t, config)
	one, other, next := apply(t, u, "run-1", secret.Value{}), apply(t, u, "run-2", secret.Value{}), apply(t, u, "run-3", secret.Value{})
	time.Sleep(2 * s.delay)
	mixed := text(t, map[string]string{
		"clientId": one.ExposeText("clientId"), "clientSecret": one.ExposeText("clientSecret"), "keyId": other.ExposeText("keyId"),
	})
	if err := u.Revoke(t.Context(), "run-3", mixed, next); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("another's key id: got %v, want ErrNotApplied", err)
	}
	if got := len(s.names(t)); got != 3 {
		t.Errorf("another's key id: got %d secrets, want all three", got)
	}
	unseen := text(t, map[string]string{"clientId": one.ExposeText("clientId"), "clientSecret": "handed over", "keyId": "made-by-hand"})
	f.asked()
	if err := u.Revoke(t.Context(), "run-3", unseen, next); err != nil || !strings.HasSuffix(strings.Join(f.asked(), "\n"), "/removePassword") {
		t.Errorf("no beginning is shown: got %v, want it removed", err)
	}
	if err := u.Revoke(t.Context(), "run-3", one, next); err != nil {
		t.Errorf("its own key id: got %v", err)
	}
}

// Introspection answers a wrong secret and Keycloak's own trouble alike; the token endpoint does not.
func TestKeycloakTellsItsTroubleFromAWrongSecret(t *testing.T) {
	t.Parallel()
	server := &keycloak{}
	f := newFake(t, server)
	config := f.config(brisk(t, "keycloak-client-secret"), text(t, map[string]string{"clientId": "custody", "clientSecret": "the-admin-secret"}))
	config.Parameters = map[string]any{"realm": "shop", "client": keycloakClient, "clientId": "shop"}
	u := f.upstream(t, config)
	right := apply(t, u, "run-1", secret.Value{})
	wrong := text(t, map[string]string{"clientId": "shop", "clientSecret": "wrong"})
	set := func(down, disabled bool) {
		server.mu.Lock()
		defer server.mu.Unlock()
		server.down, server.disabled = down, disabled
	}
	verdict(t, u, right, upstream.Accepted)
	verdict(t, u, wrong, upstream.Refused)
	for name, change := range map[string]func(){"an outage": func() { set(true, false) }, "a disabled client": func() { set(false, true) }} {
		t.Log(name)
		change()
		verdict(t, u, right, upstream.Unknown)
		verdict(t, u, wrong, upstream.Unknown)
	}
	set(false, false)
	verdict(t, u, right, upstream.Accepted)
}

// Deleting a token deletes the keys that it made: who hands in another must know.
func TestGitHubSaysWhatADeletedTokenTakesAlong(t *testing.T) {
	t.Parallel()
	f := newFake(t, &gitHub{token: "another"})
	config := f.config(builtin(t, "github-deploy-key"), text(t, map[string]string{"token": "deleted"}))
	config.Parameters = map[string]any{"owner": "example", "repository": "shop"}
	_, err := f.upstream(t, config).Apply(t.Context(), "run-1", secret.Value{}, text(t, map[string]string{"privateKey": "any", "publicKey": "ssh-ed25519 AAAA"}))
	said, ok := errors.AsType[*upstream.Error](err)
	if !ok || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(said.Next, "custody supply") || !strings.Contains(said.Next, "rotate") {
		t.Errorf("got %+v, want not applied, to hand in a token, and to rotate the keys that went with the old one", err)
	}
}
