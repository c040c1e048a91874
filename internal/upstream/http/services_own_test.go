// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	adapter "custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/golang-jwt/jwt/v5"
)

// keycloak has one client with its secret and the one before, as Keycloak does under the executor secret-rotation.
type keycloak struct {
	mu               sync.Mutex
	current, rotated string
	down, disabled   bool // its database does not answer; the client is disabled
}

const keycloakClient = "01234567-89ab-cdef-0123-456789abcdef"

func (k *keycloak) held(*testing.T) (out []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for place, v := range map[string]string{"current": k.current, "rotated": k.rotated} {
		if v != "" {
			out = append(out, place)
		}
	}
	return out
}

func (k *keycloak) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	const base = "/admin/realms/shop/clients/" + keycloakClient + "/client-secret"
	const token = "/realms/shop/protocol/openid-connect/token"
	user, password, _ := r.BasicAuth()
	known := user == "shop" && password != "" && (password == k.current || password == k.rotated)
	switch {
	case r.Method == http.MethodPost && r.URL.Path == token+"/introspect" && (k.down || k.disabled || !known):
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_request", "error_description": "Authentication failed."})
	case r.Method == http.MethodPost && r.URL.Path == token+"/introspect":
		answer(w, http.StatusOK, map[string]bool{"active": false})
	case r.Method == http.MethodPost && r.URL.Path == token && k.down:
		answer(w, http.StatusBadRequest, map[string]string{
			"error": "unauthorized_client", "error_description": "Unexpected error when authenticating client",
		})
	case r.Method == http.MethodPost && r.URL.Path == token && r.PostFormValue("grant_type") == "refresh_token":
		const wrong = "Invalid client or Invalid client credentials"
		switch {
		case k.disabled || user != "shop":
			answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": wrong})
		case !known:
			answer(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized_client", "error_description": wrong})
		default:
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "Invalid refresh token"})
		}
	case r.Method == http.MethodPost && r.URL.Path == token:
		if user != "custody" || password != "the-admin-secret" || r.PostFormValue("grant_type") != "client_credentials" {
			answer(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized_client"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"access_token": "admin-access", "token_type": "Bearer", "expires_in": 60})
	case r.Header.Get("Authorization") != "Bearer admin-access":
		answer(w, http.StatusUnauthorized, map[string]string{"error": "HTTP 401 Unauthorized"})
	case r.Method == http.MethodPost && r.URL.Path == base:
		k.rotated, k.current = k.current, digits(16)
		answer(w, http.StatusOK, map[string]string{"type": "secret", "value": k.current})
	case r.Method == http.MethodGet && r.URL.Path == base:
		answer(w, http.StatusOK, map[string]string{"type": "secret", "value": k.current})
	case r.Method == http.MethodGet && r.URL.Path == base+"/rotated" && k.rotated != "":
		answer(w, http.StatusOK, map[string]string{"type": "secret", "value": k.rotated})
	case r.Method == http.MethodDelete && r.URL.Path == base+"/rotated" && k.rotated != "":
		k.rotated = ""
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, http.StatusNotFound, map[string]string{"error": "not found"})
	}
}

func publishedKeycloakSecret(t *testing.T) {
	compiled := brisk(t, "keycloak-client-secret")
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		server := &keycloak{}
		f := suited(t, server)
		config := f.config(compiled, text(t, map[string]string{"clientId": "custody", "clientSecret": "the-admin-secret"}))
		config.Parameters = map[string]any{"realm": "shop", "client": keycloakClient, "clientId": "shop"}
		return upstreamtest.Fixture{
			Upstream: f.upstream(t, config).Powers(), Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: server.held,
		}
	})
}

// google keeps the public halves of a service account's keys, checks assertions with them, and knows the admin's key.
type google struct {
	*service
	admin  *rsa.PrivateKey
	public map[string]*rsa.PublicKey
}

const googleAccount = "exporter@shop-1234.iam.gserviceaccount.com"

var googleName = "projects/shop-1234/serviceAccounts/" + googleAccount + "/keys/"

// drawn are as many RSA keys as the tests need: each account has a handful at a time, told apart by their ids as well.
var drawn = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 5)
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

func newGoogle(t *testing.T) *google {
	t.Helper()
	keys := drawn()
	g := &google{admin: keys[0], public: map[string]*rsa.PublicKey{}}
	const base = "/v1/projects/-/serviceAccounts/" + googleAccount + "/keys"
	g.service = newService(map[string]func(*service, http.ResponseWriter, *http.Request){
		"POST " + base: administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			one, room := s.issue("", func(id string) string { return id })
			if !room {
				answer(w, g.full.(map[string]any)["error"].(map[string]any)["code"].(int), g.full)
				return
			}
			key := keys[1+s.next%(len(keys)-1)]
			g.public[one.id] = &key.PublicKey
			der, _ := x509.MarshalPKCS8PrivateKey(key)
			file, _ := json.Marshal(map[string]string{
				"type": "service_account", "private_key_id": one.id, "client_email": googleAccount,
				"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
			})
			answer(w, http.StatusOK, map[string]string{"name": googleName + one.id, "privateKeyData": base64.StdEncoding.EncodeToString(file)})
		}),
		"GET " + base: administered(func(s *service, w http.ResponseWriter, _ *http.Request) {
			list := []map[string]string{}
			for _, one := range s.live() {
				list = append(list, map[string]string{"name": googleName + one.id, "keyType": "USER_MANAGED"})
			}
			if len(list) == 0 {
				answer(w, http.StatusOK, map[string]any{}) // Google leaves empty lists out
				return
			}
			answer(w, http.StatusOK, map[string]any{"keys": list})
		}),
		"DELETE " + base + "/{id}": remove(http.StatusOK),
		"POST /token":              g.token,
	})
	return g
}

func (g *google) token(s *service, w http.ResponseWriter, r *http.Request) {
	access := "of no use"
	_, err := jwt.Parse(r.PostFormValue("assertion"), func(assertion *jwt.Token) (any, error) {
		if issuer, _ := assertion.Claims.GetIssuer(); issuer == "custody@shop-1234.iam.gserviceaccount.com" {
			access = s.admin
			return &g.admin.PublicKey, nil
		}
		id, _ := assertion.Header["kid"].(string)
		if !s.honoured(id) {
			return nil, jwt.ErrTokenUnverifiable
		}
		return g.public[id], nil
	}, jwt.WithAudience("https://oauth2.googleapis.com/token"), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"RS256"}))
	if err != nil || !strings.HasSuffix(r.PostFormValue("grant_type"), "jwt-bearer") {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3599})
}

// configure is for an upstream whose admin this service knows.
func (g *google) configure(t *testing.T, f *fake, config *adapter.Config) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(g.admin)
	if err != nil {
		t.Fatal(err)
	}
	config.Admin = only(text(t, map[string]string{
		"clientEmail": "custody@shop-1234.iam.gserviceaccount.com", "keyId": "admin-key",
		"privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}))
	config.Parameters = map[string]any{"serviceAccount": googleAccount}
	config.Endpoints = map[string]string{"oauth": f.address()}
}

func publishedGoogleKey(t *testing.T) {
	compiled := brisk(t, "google-service-account-key")
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		g := newGoogle(t)
		f := suited(t, g)
		config := f.config(compiled, secret.Value{})
		g.configure(t, f, &config)
		return upstreamtest.Fixture{
			Upstream: f.upstream(t, config).Powers(), Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: g.names, Public: []string{"keyId"}, Wait: func() { time.Sleep(15 * time.Millisecond) },
		}
	})
}
