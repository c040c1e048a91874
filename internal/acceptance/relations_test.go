// SPDX-License-Identifier: Apache-2.0

package acceptance_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// with is a kind whose secrets' documents say one more line beneath rotation, if any. More, if any, sets up more of its
// server.
func with(name, line string, more func(s *acceptance.Stage, made *acceptance.Part)) acceptance.Kind {
	all := related()
	k := all[slices.IndexFunc(all, func(k acceptance.Kind) bool { return k.Name == name })]
	start := k.Start
	k.Start = func(s *acceptance.Stage, accounts []string) acceptance.Part {
		made := start(s, accounts)
		account := made.Account
		if line != "" {
			made.Account = func(name string) string { return account(name) + "\n    " + line }
		}
		if more != nil {
			more(s, &made)
		}
		return made
	}
	return k
}

// TestGroupOnTwoServers has a group of a MariaDB account, which leads, and a PostgreSQL account, whose password has to
// satisfy a rule that the server has from some moment on.
func TestGroupOnTwoServers(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	s, pair := acceptance.Relate(t, "",
		with("mysql-dual", "group: shop", nil),
		with("postgres-alternate", "group: shop", func(s *acceptance.Stage, made *acceptance.Part) {
			s.Replace("estate/upstream-postgres.yaml", "tls: disable", "tls: disable, sendPassword: true")
			made.Origin = "{generated: {type: password, length: 40, classes: [digit]}}"
		}))
	leader, other := pair[0], pair[1]
	want := 1
	forward := func(how string) {
		t.Helper()
		want++
		if result, version := s.OneFate(pair); result != "completed" || version != want {
			t.Fatalf("%s: %s at version %d, want completed at %d", how, result, version, want)
		}
	}
	for _, name := range []string{other, leader, other} {
		s.Rotate(name)
		forward("requested by " + name)
	}
	steps := slices.Clone(acceptance.RunSteps)
	thorough.Random(t, t.Name()).Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	for i, step := range steps[:thorough.Of(0, 3, len(steps))] {
		of, by := pair[i%2], pair[(i/2)%2]
		at := s.Watch(of, step)
		s.Asked(by)
		s.KillOn(at, of+" "+step)
		s.Until(leader, "the version after a kill", func(row inventory.Row) bool { return acceptance.Number(row.Version) > want && row.Live == nil })
		s.Until(other, "the version after a kill", func(row inventory.Row) bool { return acceptance.Number(row.Version) > want && row.Live == nil })
		forward(fmt.Sprintf("requested by %s, killed when %s was %s", by, of, step))
	}

	passwordRule(s, true)
	var before []map[string]string
	for _, name := range pair {
		before = append(before, s.Fields(name))
	}
	taken := map[string]bool{}
	for _, killed := range []bool{false, true} {
		at := s.Watch(leader, "applied")
		s.Asked(leader)
		if killed {
			s.KillOn(at, "the leader's candidate")
		}
		for _, name := range pair {
			s.Until(name, "its run to be taken back", func(row inventory.Row) bool {
				return row.Live == nil && row.Last != nil && row.Last.Result == "undone" && !taken[string(row.Last.Group)]
			})
		}
		if result, version := s.OneFate(pair); result != "undone" || version != want {
			t.Fatalf("killed: %v: %s at version %d, want undone at %d", killed, result, version, want)
		}
		row, led := s.Row(other), s.Row(leader)
		taken[string(row.Last.Group)] = true
		if !strings.Contains(row.Last.Detail, "password rule") || !strings.Contains(led.Last.Detail, other+", of its group, was taken back") {
			t.Errorf("taken back because %q and %q, want the server's password rule and the other member", row.Last.Detail, led.Last.Detail)
		}
		for i, name := range pair {
			if verdict, err := s.SignIn(name, before[i]); verdict != upstream.Accepted || s.Fields(name)["version"] != before[i]["version"] {
				t.Errorf("%s: the credential from before is %s (%v), and %s is delivered", name, verdict, err, s.Fields(name)["version"])
			}
		}
		s.Sound(0)
		if ran := s.Rotations(leader); !slices.ContainsFunc(ran[0].Events, func(e audit.Event) bool { return e.Step == "applied" }) {
			t.Errorf("the leader's candidate was never applied, so nothing was taken back: %+v", ran[0].Events)
		}
	}

	passwordRule(s, false)
	s.Rotate(other) // which its group's back-off does not hold up
	forward("once the rule is gone")
	s.Unrelate(0)
}

// passwordRule has the PostgreSQL server want letters and other signs in each password, or no longer.
func passwordRule(s *acceptance.Stage, on bool) {
	s.T().Helper()
	p := acceptance.Started[*realparts.Server](s, "postgres")
	change := "ALTER SYSTEM RESET session_preload_libraries"
	if on {
		change = "ALTER SYSTEM SET session_preload_libraries = 'passwordcheck'"
	}
	s.Must(p.Exec(s.T().Context(), change))
	s.Must(p.Exec(s.T().Context(), "SELECT pg_reload_conf()"))
	acceptance.Eventually(s.T(), "the server to take its configuration", func() bool {
		set, err := p.Exec(s.T().Context(), "SHOW session_preload_libraries")
		return err == nil && (set[0] != "") == on
	})
}

// TestStaggerOnTwoServers requests two secrets of one set at once. The second begins when the gap since the end of the
// first has passed, and a kill in between makes it no shorter.
func TestStaggerOnTwoServers(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	const gap = 5 * time.Second
	line := fmt.Sprintf("stagger: {set: nightly, gap: %s}", gap)
	s, pair := acceptance.Relate(t, "", with("postgres-alternate", line, nil), with("redis-dual", line, nil))
	if first, second := s.Rotations(pair[0])[0], s.Rotations(pair[1])[0]; max(first.Started.Sub(second.Ended), second.Started.Sub(first.Ended)) >= gap {
		t.Errorf("first issues from %s to %s and from %s to %s: the set held them up", first.Started, first.Ended, second.Started, second.Ended)
	}
	time.Sleep(gap) // since the first issues
	for _, name := range pair {
		s.Asked(name)
	}
	done := func(row inventory.Row) bool { return acceptance.Number(row.Version) == 2 && row.Live == nil }
	acceptance.Eventually(t, "one to be rotated", func() bool { return done(s.Row(pair[0])) || done(s.Row(pair[1])) })
	first, second := pair[0], pair[1]
	if !done(s.Row(first)) {
		first, second = second, first
	}
	waits := func(what ...reason.Code) func(row inventory.Row) bool {
		return func(row inventory.Row) bool {
			return row.Live == nil && acceptance.Number(row.Version) == 1 && row.Waiting.Is(what...) && row.Waiting.Args["secret"] == first && row.Waiting.Args["set"] == "nightly"
		}
	}
	s.Until(second, "it to wait for the other", waits(reason.StaggerRun, reason.StaggerGap)) // for its end, or for the gap since
	s.Restart()
	s.Until(second, "it to wait for the gap after a kill", waits(reason.StaggerGap))
	s.Until(second, "its rotation", done)
	for _, name := range pair {
		if n := len(s.Rotations(name)); n != 2 {
			t.Errorf("%s: %d runs, want the first issue and one", name, n)
		}
	}
	began, ended := s.Rotations(second)[0].Started, s.Rotations(first)[0].Ended
	if between := began.Sub(ended); between < gap || between > gap+time.Minute { // it begins within a second where the machine is quiet, and does not wait for a person
		t.Errorf("%s began %s after the end of %s, want %s and little more", second, between, first, gap)
	}
	s.Unrelate(1)
}

// TestUseHoldsRevocation has a program beside the declared consumers, which goes on with the old credential. The run
// names it, and revokes only once it has left, or has been silent for the quiet window.
func TestUseHoldsRevocation(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	const quiet = 2 * time.Second
	s, names := acceptance.Relate(t, quiet.String(), with("postgres-alternate", "", func(s *acceptance.Stage, _ *acceptance.Part) {
		s.Must(acceptance.Started[*realparts.Server](s, "postgres").Exec(s.T().Context(), "GRANT pg_read_all_stats TO custody_admin"))
		s.Replace("estate/upstream-postgres.yaml", "tls: disable", "tls: disable, usage: true")
	}))
	name := names[0]
	const who = "invoices from 127.0.0.1 in postgres"
	for i, leaves := range []bool{true, false} {
		old := s.Fields(name)
		session := program(s, s.At(name), old)
		say(s, session, "BEGIN; SELECT id FROM orders")
		s.Asked(name)
		row := s.Until(name, "the use to be seen", func(row inventory.Row) bool { return row.Live != nil && strings.Contains(row.Waiting.Said(), who) })
		if !row.Waiting.Is(reason.OldInUse) {
			t.Errorf("it waits because of %+v; want that the old credential is in use", row.Waiting)
		}
		s.Finding(name, reason.OldInUse, who)
		if i == 0 {
			s.Restart()
			s.Until(name, "the use to be seen after a kill", func(row inventory.Row) bool { return row.Live != nil && strings.Contains(row.Waiting.Said(), who) })
		}
		time.Sleep(2 * quiet)
		if row := s.Row(name); row.Live == nil || s.Fields(name)["version"] == old["version"] {
			t.Fatalf("version %s is delivered, live %v: want the next one, and its run to wait", s.Fields(name)["version"], row.Live)
		}
		for what, fields := range map[string]map[string]string{"old": old, "new": s.Fields(name)} {
			if verdict, err := s.SignIn(name, fields); verdict != upstream.Accepted {
				t.Errorf("while it is in use the %s credential is %s (%v)", what, verdict, err)
			}
		}
		say(s, session, "COMMIT")
		silent := time.Now()
		if leaves {
			s.Must(nil, session.Close(t.Context()))
		}
		s.Until(name, "the end of its run", func(row inventory.Row) bool { return row.Live == nil && acceptance.Number(row.Version) == i+2 })
		if verdict, err := s.SignIn(name, old); verdict != upstream.Refused {
			t.Errorf("after it the old credential is %s (%v)", verdict, err)
		}
		events := s.Rotations(name)[0].Events
		revoked := slices.IndexFunc(events, func(e audit.Event) bool { return e.Step == "revoked" })
		used := slices.IndexFunc(events, func(e audit.Event) bool { return e.Step == "old-used" && strings.Contains(e.Detail, who) })
		if used < 0 || revoked < used {
			t.Fatalf("the record does not say who used the old credential before it was revoked: %+v", events)
		}
		if left := events[revoked].At.Sub(silent); !leaves && left < quiet {
			t.Errorf("revoked %s after its last use, want the quiet window of %s", left, quiet)
		}
		if !leaves { // a password is asked for at sign-in
			say(s, session, "SELECT id FROM orders")
			s.Must(nil, session.Close(t.Context()))
		}
	}
	s.Unrelate(2)
}

// program is a session of a program that no document names.
func program(s *acceptance.Stage, at string, fields map[string]string) *pgconn.PgConn {
	s.T().Helper()
	config, err := pgconn.ParseConfig(at + " application_name=invoices")
	s.Must(nil, err)
	config.User, config.Password = fields["username"], fields["password"]
	conn, err := pgconn.ConnectConfig(s.T().Context(), config)
	s.Must(nil, err)
	return conn
}

func say(s *acceptance.Stage, conn *pgconn.PgConn, statements string) {
	s.T().Helper()
	s.Must(conn.Exec(s.T().Context(), statements).ReadAll())
}
