// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"
)

func TestBuiltinRecipesCompile(t *testing.T) {
	names := Names()
	if len(names) < 4 {
		t.Fatalf("got %d recipes, want at least 4", len(names))
	}
	for _, name := range names {
		compiled, err := Builtin(name)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
		if again, err := Builtin(name); again != compiled || err != nil {
			t.Errorf("%s: asked again, it is compiled again (%v)", name, err)
		}
	}
}

func TestDescriptionsAreWhole(t *testing.T) {
	described := Describe()
	if got, want := len(described), len(Names())+1; got != want {
		t.Errorf("got %d descriptions, want %d", got, want)
	}
	for _, d := range described {
		if err := d.Check(); err != nil {
			t.Errorf("%s: %v", d.Type, err)
		}
	}
}

// Each recipe's page says who else may have the account, and what wrong sign-ins may do there.
func TestPagesTellOfClaimsAndLockOuts(t *testing.T) {
	claims := map[string]string{
		"keycloak-client-secret": "whose `client` and `realm` are the same",
		"okta-client-secret":     "whose `application` is the same",
		"gitlab-token-rotate":    "whose `name` is the same",
	}
	for _, d := range Describe() {
		for _, heading := range []string{"\n## Claims\n", "\n## Lock-out\n"} {
			if strings.Count(d.Page, heading) != 1 {
				t.Errorf("%s: want one%s", d.Type, heading)
			}
		}
		want, exclusive := claims[d.Type]
		if !exclusive && d.Type != "http" {
			want = "Any number of secrets may share the account"
		}
		if !strings.Contains(d.Page, want) {
			t.Errorf("%s: the page does not say %q", d.Type, want)
		}
	}
	for want, c := range map[string]*Compiled{
		"is refused every 1m0s": {Source: &Recipe{}, kind: upstream.Kind{WrongEvery: time.Minute}},
		"never signs in":        {Source: &Recipe{Verify: Verify{Listed: true}}},
	} {
		if got := lockOut(c); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := accountWords(&Compiled{Source: &Recipe{}, exclusive: true}); !strings.Contains(got, "parameters are all the same") {
		t.Errorf("an account that no parameter names: got %q", got)
	}
}

// What the examples mention of the estate around them they print: the admin's secret above all.
func TestExamplesPrintTheirAdmin(t *testing.T) {
	for _, d := range Describe() {
		_, after, found := strings.Cut(d.Page, "adminRef: ")
		if !found {
			continue
		}
		name, _, _ := strings.Cut(after, "\n")
		if !strings.Contains(d.Page, "kind: ManagedSecret\nmetadata: {name: "+name+"}\n") {
			t.Errorf("%s: the ManagedSecret %s is missing", d.Type, name)
		}
	}
}

// What is coarse at the server is coarse in the recipe: the engine looks back that much further.
func TestEvidenceIsAsCoarseAsTheServers(t *testing.T) {
	for name, want := range map[string]time.Duration{"grafana-service-account-token": 5 * time.Minute, "github-deploy-key": 24 * time.Hour} {
		c, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		if c.kind.Evidence == nil || c.kind.Evidence.Fine < want {
			t.Errorf("%s: got %+v, want times to %s", name, c.kind.Evidence, want)
		}
	}
}
