// SPDX-License-Identifier: Apache-2.0

package mysql_test

import (
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// unchanged checks that err refuses a change of user with a hint that says want, and that the account is as it was shown.
func (r *rig) unchanged(err error, want, user, before, what string) {
	r.Helper()
	upstreamtest.Hinted(r, upstream.ErrNotApplied, err, what)
	if said, ok := errors.AsType[*upstream.Error](err); ok && !strings.Contains(said.Hint(), want) {
		r.Errorf("%s: got %v with hint %q, want it to say %q", what, err, said.Hint(), want)
	}
	if diff := cmp.Diff(before, r.shown(user)); diff != "" {
		r.Errorf("%s: the account changed (-before +after):\n%s", what, diff)
	}
}

func (r *rig) shown(user string) string { return r.sql("SHOW CREATE USER " + user + "@'%'")[0] }

// What else opens an account is never taken from it: neither by applying nor, in mode dual, by revoking.
func testMeans(r *rig) {
	password := upstreamtest.Password(r)
	own := "mysql_native_password USING PASSWORD('" + password + "')"
	for _, test := range []struct {
		means, hint string
		modes       []upstream.Capability
	}{
		{own + " OR unix_socket", "by hand", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{"unix_socket OR " + own, "by hand", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{"mysql_native_password USING 'invalid' OR unix_socket", "by hand", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{own + " OR ed25519 USING PASSWORD('theirs')", "by hand", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{"unix_socket", "mode alternate", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{"ed25519 USING PASSWORD('" + password + "')", "plugin: ed25519", []upstream.Capability{upstream.Overwrite, upstream.Dual}},
		{own + " OR mysql_native_password USING PASSWORD('theirs')", "by hand", []upstream.Capability{upstream.Overwrite}},
		{own + " OR mysql_native_password USING PASSWORD('theirs') OR mysql_native_password USING PASSWORD('more')", "by hand", []upstream.Capability{upstream.Dual}},
	} {
		for _, mode := range test.modes {
			config := r.config(mode)
			current := upstreamtest.Login(r, config.User, password)
			r.sql("ALTER USER " + config.User + "@'%' IDENTIFIED VIA " + test.means)
			before := r.shown(config.User)
			u := r.open(config)
			what := fmt.Sprintf("%s, %s", mode, strings.ReplaceAll(test.means, password, "…"))
			for _, from := range []secret.Value{current, {}} {
				candidate, err := u.Propose(r.Context(), from)
				if err != nil {
					r.Fatal(err)
				}
				_, err = u.Apply(r.Context(), "run-1", from, candidate)
				r.unchanged(err, test.hint, config.User, before, what+": Apply")
				if mode == upstream.Dual && strings.HasPrefix(test.means, own) && from.Has("password") {
					err = u.Revoke(r.Context(), "run-1", current, candidate)
					r.unchanged(err, test.hint, config.User, before, what+": Revoke")
				}
			}
		}
	}
	// A plugin that the document names is meant.
	for _, mode := range []upstream.Capability{upstream.Overwrite, upstream.Dual} {
		config := r.config(mode)
		config.Plugin = "mysql_native_password"
		current := upstreamtest.Login(r, config.User, password)
		r.sql("ALTER USER " + config.User + "@'%' IDENTIFIED VIA ed25519 USING PASSWORD('" + password + "')")
		u := r.open(config)
		upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", current), string(mode)+": another plugin, named")
	}
}

// An admin without a right sees its own account, and what else opens that is left alone too.
func testOwnMeans(r *rig) {
	for _, rights := range []string{"CREATE USER", "USAGE"} {
		config := r.config(upstream.Overwrite)
		config.Server.MarkerTable = ""
		current := upstreamtest.Login(r, config.User, upstreamtest.Password(r))
		r.sql(fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED VIA mysql_native_password USING PASSWORD('%s') OR unix_socket; GRANT %s ON *.* TO %[1]s@'%%'",
			config.User, current.ExposeText("password"), rights))
		config.Admin = upstreamtest.Admins(current)
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), current)
		if err != nil {
			r.Fatal(err)
		}
		before := r.shown(config.User)
		_, err = u.Apply(r.Context(), "run-1", current, candidate)
		r.unchanged(err, "by hand", config.User, before, rights)
	}
}

func testUnseenMeans(r *rig) {
	r.sql("REVOKE SELECT ON mysql.global_priv FROM custody_admin@'%'")
	defer r.sql("GRANT SELECT ON mysql.global_priv TO custody_admin@'%'")
	for _, mode := range []upstream.Capability{upstream.Overwrite, upstream.Dual} {
		config := r.config(mode)
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), secret.Value{})
		if err != nil {
			r.Fatal(err)
		}
		before := r.shown(config.User)
		_, err = u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
		r.unchanged(err, "GRANT SELECT ON mysql.global_priv", config.User, before, string(mode))
	}
	u := r.open(r.config(upstream.Alternate))
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "mode alternate, which needs no look")
}
