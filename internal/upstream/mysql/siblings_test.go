// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// An account app@'localhost' beside app@'%' kept the password that both had, for ever, and its clients were refused the next.
func testSibling(r *rig) {
	for _, plugin := range []string{"mysql_native_password", "ed25519"} {
		for _, mode := range []upstream.Capability{upstream.Overwrite, upstream.Dual, upstream.Alternate} {
			config := r.config(mode)
			u := r.open(config)
			first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
			user, name := first.ExposeText("username"), fmt.Sprintf("%s, %s", mode, plugin)
			sibling := fmt.Sprintf("'%s'@'192.0.2.%%'", user)
			r.sql(fmt.Sprintf("CREATE USER %s IDENTIFIED VIA %s USING PASSWORD('%s')", sibling, plugin, first.ExposeText("password")))
			candidate, err := u.Propose(r.Context(), first)
			if err != nil {
				r.Fatal(err)
			}
			_, err = u.Apply(r.Context(), "run-2", first, candidate)
			said, is := errors.AsType[*upstream.Error](err)
			if !is || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(said.Hint(), "DROP USER "+sibling) {
				r.Fatalf("%s: got %v, want ErrNotApplied and a hint at the account", name, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, first, name+": nothing was changed")
			// Another password, or a locked account, is nobody's concern.
			r.sql(fmt.Sprintf("ALTER USER %s IDENTIFIED VIA %s USING PASSWORD('%s')", sibling, plugin, upstreamtest.Password(r)))
			if _, err := u.Apply(r.Context(), "run-2", first, candidate); err != nil {
				r.Errorf("%s: beside an account of another password: %v", name, err)
			}
			if mode != upstream.Overwrite { // which leaves nothing to revoke
				r.sql(fmt.Sprintf("ALTER USER %s IDENTIFIED VIA %s USING PASSWORD('%s')", sibling, plugin, first.ExposeText("password")))
				if err := u.Revoke(r.Context(), "run-2", first, candidate); err == nil || errors.Is(err, upstream.ErrNotApplied) {
					r.Errorf("%s: revoking while another account honours it: got %v, want an error that does not say that nothing was changed", name, err)
				}
				upstreamtest.Is(r, u, upstream.Refused, first, name+": the account itself, all the same")
				r.sql("ALTER USER " + sibling + " ACCOUNT LOCK")
				if err := u.Revoke(r.Context(), "run-2", first, candidate); err != nil {
					r.Errorf("%s: revoking beside a locked account: %v", name, err)
				}
			}
			r.sql("DROP USER " + sibling)
		}
	}
}
