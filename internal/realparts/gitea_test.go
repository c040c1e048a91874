// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"net/http"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
)

func TestGiteaTakesSignInsAndStops(t *testing.T) {
	server := realparts.Gitea(t, realparts.GiteaOptions{Settings: map[string]string{"service.REQUIRE_SIGNIN_VIEW": "true"}})
	other, err := server.AddUser(t.Context(), "robot")
	if err != nil {
		t.Fatal(err)
	}
	status := func(username, password string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/user", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth(username, password)
		response, err := server.Client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	if got := status("custody-test-root", server.Admin.ExposeText("password")); got != http.StatusOK {
		t.Errorf("the administrator: got %d, want 200", got)
	}
	if got := status("robot", other.ExposeText("password")); got != http.StatusOK {
		t.Errorf("a user: got %d, want 200", got)
	}
	if got := status("robot", "wrong"); got != http.StatusUnauthorized {
		t.Errorf("a wrong password: got %d, want 401", got)
	}
	if !strings.Contains(server.Log(), "Starting Gitea") {
		t.Error("the log does not tell of the start")
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if response, err := server.Client.Get(server.URL); err == nil {
		response.Body.Close()
		t.Error("the stopped server answers")
	}
}
