// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOIDCKeepsItsStateAcrossRestarts(t *testing.T) {
	p := OIDC(t, OIDCOptions{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer+"/reg",
		strings.NewReader(`{"client_name":"kept","redirect_uris":[],"response_types":[],"grant_types":["client_credentials"]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+p.InitialAccessToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var registered struct {
		Secret string `json:"client_secret"`
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &registered); err != nil || response.StatusCode != http.StatusCreated || registered.Secret == "" {
		t.Fatalf("registering: got %s, %v: %s", response.Status, err, body)
	}
	before, err := p.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != 1 || before[0].Name != "kept" {
		t.Errorf("got clients %v, want the one that was registered", before)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := p.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("clients (-before +after a restart):\n%s", diff)
	}
	if log := p.Log(); !strings.Contains(log, "POST /reg 201") || strings.Contains(log, registered.Secret) {
		t.Errorf("want a log with the request and without the secret, got:\n%s", log)
	}
}

func TestOIDCWithoutNodeSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := StartOIDC(t.Context(), t.TempDir(), OIDCOptions{}); !errors.Is(err, ErrNoNode) {
		t.Errorf("got %v, want ErrNoNode", err)
	}
}
