// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
)

// post sends JSON and reads what a 201 answers, if anything is asked for.
func post(t *testing.T, client *http.Client, request *http.Request, into any) {
	t.Helper()
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", request.URL.Path, response.Status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// register makes a client of an open provider.
func register(t *testing.T, issuer string) (id, secret string) {
	t.Helper()
	body := `{"client_name": "Orders", "grant_types": ["client_credentials"], "response_types": [], "redirect_uris": [], "scope": "orders.read"}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/reg", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	post(t, http.DefaultClient, request, &made)
	return made.ID, made.Secret
}

// giteaApplication makes an OAuth 2 application of the user ci.
func giteaApplication(t *testing.T, server *realparts.GiteaServer, password string) (id, secret string) {
	t.Helper()
	body := `{"name": "by hand", "redirect_uris": ["https://portal.example.org/"], "confidential_client": true}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/v1/user/applications/oauth2", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("ci", password)
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	post(t, server.Client, request, &made)
	return made.ID, made.Secret
}

// giteaToken makes an access token of the user ci.
func giteaToken(t *testing.T, server *realparts.GiteaServer, password string) string {
	t.Helper()
	body := `{"name": "by hand", "scopes": ["read:user"]}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/v1/users/ci/tokens", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("ci", password)
	var made struct {
		Token string `json:"sha1"`
	}
	post(t, server.Client, request, &made)
	return made.Token
}
