// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// Through the socket, as Debian sets it up, no password is asked for; over TCP clients sign in with theirs.
func TestRefusalByAnotherMethodIsUnknown(t *testing.T) {
	t.Parallel()
	r := newRig(t, realparts.PostgresOptions{HBA: "local all custody_admin scram-sha-256\nlocal all all peer\n" +
		"host template1 all 127.0.0.1/32 ident\nhost all all 127.0.0.1/32 scram-sha-256\n"})
	// told is what a refusal by peer or ident comes to.
	told := func(u *postgres.Upstream, v secret.Value, what string) {
		t.Helper()
		got, err := u.Verify(t.Context(), v)
		said, ok := errors.AsType[*upstream.Error](err)
		if got != upstream.Unknown || !ok || said.Said != "SQLSTATE 28000" || !strings.Contains(said.Hint(), "pg_hba.conf") {
			t.Errorf("%s: got %s, %v, want unknown with a hint at pg_hba.conf", what, got, err)
		}
	}
	for _, mode := range []upstream.Capability{upstream.Overwrite, upstream.Alternate} {
		config := r.config(mode)
		u := r.open(config)
		v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		socket := config
		socket.Server.Host = r.server.SocketDir
		identified := config
		identified.Server.Database = "template1"
		for way, elsewhere := range map[string]*postgres.Upstream{"peer": r.open(socket), "ident": r.open(identified)} {
			// Onboarding tries what the server was never given: its refusal would show that passwords are looked at.
			never, err := elsewhere.Propose(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			told(elsewhere, never, string(mode)+", "+way+": a password that was never given")
			told(elsewhere, v, string(mode)+", "+way+": the right password")
			r.sql("ALTER ROLE " + v.ExposeText("username") + " NOLOGIN")
			told(elsewhere, v, string(mode)+", "+way+": a role that may not log in")
			r.sql("ALTER ROLE " + v.ExposeText("username") + " LOGIN")
			told(elsewhere, upstreamtest.Login(t, r.name("nobody"), "x"), string(mode)+", "+way+": no such role")
		}
		upstreamtest.Is(t, u, upstream.Accepted, v, string(mode)+": the password, where it is asked for")
		upstreamtest.Is(t, u, upstream.Refused, upstreamtest.Login(t, v.ExposeText("username"), "wrong"), string(mode)+": a wrong one there")

		socket.Admin = upstreamtest.Admins(upstreamtest.Login(t, r.name("nobody"), upstreamtest.Password(t)))
		peered := r.open(socket)
		_, err := peered.Apply(t.Context(), "run-2", v, v)
		if said, ok := errors.AsType[*upstream.Error](err); !ok || !errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(said.Hint(), "pg_hba.conf") {
			t.Errorf("%s: an admin who is asked for no password: got %v, want ErrNotApplied with a hint at pg_hba.conf", mode, err)
		}
	}
}
