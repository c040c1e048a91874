// SPDX-License-Identifier: Apache-2.0

package mailtest

import (
	"os"
	"testing"

	"custody.dev/custody/internal/realparts"

	"golang.org/x/crypto/bcrypt"
)

// TestMailHeldNamesWhatOpens: an account at rest has one line that its delivered password opens.
func TestMailHeldNamesWhatOpens(t *testing.T) {
	hash := func(password string) string {
		made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return "{BLF-CRYPT}" + string(made)
	}
	line := func(login, stored, run string) string {
		return login + "@example.org:" + stored + "::::::userdb_custody=1;shop;" + run + "\n"
	}
	good := line("shop_a", hash("delivered"), "r2") + line("shop_b", hash("nobody's"), "r2")
	for _, c := range []struct {
		name, first, second string
		want                int
	}{
		{"at rest", good, "", 1},
		{"somebody else's line", good + line("shop", hash("delivered"), "r1"), "", 1},
		{"none", line("shop_a", hash("nobody's"), "r2"), "", 0},
		{"a second line", good + line("shop_b", hash("other"), "r2"), "", 2},
		{"not hashed by Custody", line("shop_a", hash("delivered"), "r2") + line("shop_b", "{PLAIN}x", "r2"), "", 2},
		{"written by an earlier run", line("shop_a", hash("delivered"), "r2") + line("shop_b", hash("candidate"), "r1"), "", 2},
		{"in both files", line("shop_a", hash("delivered"), "r2"), line("shop_a", hash("delivered"), "r2"), 2},
	} {
		m := &realparts.Mail{Dir: t.TempDir()}
		if err := os.Mkdir(m.File("users"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"first": c.first, "second": c.second} {
			if err := os.WriteFile(m.File("users/"+name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if held, err := mailHeld(m, []string{"shop_a", "shop_b"}, "delivered"); err != nil || len(held) != c.want {
			t.Errorf("%s: held %q (%v), want %d", c.name, held, err, c.want)
		}
	}
}
