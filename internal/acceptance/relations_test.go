// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/jackc/pgx/v5/pgconn"
)

// related is a kind of the table whose secrets' documents say one more line beneath rotation, if any. More, if any,
// sets up more of its server.
func related(name, line string, more func(s *stage, made *part)) kind {
	all := kinds()
	k := all[slices.IndexFunc(all, func(k kind) bool { return k.name == name })]
	start := k.start
	k.start = func(s *stage, accounts []string) part {
		made := start(s, accounts)
		account := made.account
		if line != "" {
			made.account = func(name string) string { return account(name) + "\n    " + line }
		}
		if more != nil {
			more(s, &made)
		}
		return made
	}
	return k
}

// relate starts the kinds with one secret each, under clients half of which hold what they read.
func relate(t *testing.T, quiet string, kinds ...kind) (s *stage, names []string) {
	t.Helper()
	s = newStage(t, kinds, plan{
		settle: "300ms", quiet: quiet, holds: true, accounts: func(kind) int { return 1 }, workers: func(kind) int { return 4 },
	})
	for _, l := range s.kinds {
		names = append(names, l.secrets...)
	}
	return s, names
}

// watch tells once when a secret's run is logged to have taken a step.
func (s *stage) watch(secret, step string) <-chan struct{} {
	seen := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every = func(of, at string) {
		if of == secret && at == step {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}
	return seen
}

// killOn kills the serving process on the signal, and starts it again.
func (s *stage) killOn(signal <-chan struct{}, what string) {
	s.t.Helper()
	select {
	case <-signal:
	case <-time.After(30 * time.Second):
		s.t.Fatalf("%s never came\n%s", what, tail(s.log()))
	}
	s.kill()
	s.serve()
}

// asked requests one rotation of a secret.
func (s *stage) asked(name string) {
	s.t.Helper()
	if _, err := s.drive.ask(s.t.Context(), name); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a secret's row to be as done says.
func (s *stage) until(name, what string, done func(inventory.Row) bool) inventory.Row {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	row, err := s.drive.await(ctx, name, done)
	if err != nil {
		s.t.Fatalf("waiting for %s: %v\n%s", what, err, tail(s.log()))
	}
	return row
}

// unrelate ends the clients and checks what they saw, and that each secret has one credential in the end.
func (s *stage) unrelate(replaced int) {
	s.t.Helper()
	time.Sleep(300 * time.Millisecond) // clients see the last credential
	for _, l := range s.kinds {
		l.quiet(s.t, l.client.stop(s.t))
		l.sound(s.t, func(string) int { return replaced })
	}
	s.rig.sound()
}

// oneFate checks that the last runs of a group's members were of one run of the group, ended alike, and made as many
// versions of each; it returns how they ended and the version.
func (s *stage) oneFate(names []string) (result string, version int) {
	s.t.Helper()
	var rows []inventory.Row
	for _, name := range names {
		row := s.until(name, "the end of its run", func(row inventory.Row) bool { return row.Live == nil })
		if row.Last == nil || row.Last.Group == "" {
			s.t.Fatalf("%s: its last run %+v was no group's", name, row.Last)
		}
		rows = append(rows, row)
	}
	for _, row := range rows[1:] {
		if row.Last.Group != rows[0].Last.Group || row.Last.Result != rows[0].Last.Result || number(row.Version) != number(rows[0].Version) {
			s.t.Fatalf("one group, two fates:\n%s\n%s", standing(rows[0]), standing(row))
		}
	}
	return rows[0].Last.Result, number(rows[0].Version)
}

// TestGroupOnTwoServers has a group of a MariaDB account, which leads, and a PostgreSQL account, whose password has to
// satisfy a rule that the server has from some moment on.
func TestGroupOnTwoServers(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	s, pair := relate(t, "",
		related("mysql-dual", "group: shop", nil),
		related("postgres-alternate", "group: shop", func(s *stage, made *part) {
			s.replace("estate/upstream-postgres.yaml", "tls: disable", "tls: disable, sendPassword: true")
			made.origin = "{generated: {type: password, length: 40, classes: [digit]}}"
		}))
	leader, other := pair[0], pair[1]
	want := 1
	forward := func(how string) {
		t.Helper()
		want++
		if result, version := s.oneFate(pair); result != "completed" || version != want {
			t.Fatalf("%s: %s at version %d, want completed at %d", how, result, version, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	rotate := func(name string) {
		t.Helper()
		if undone, err := s.drive.rotate(ctx, name); err != nil || undone > 0 {
			t.Fatalf("rotating by %s: %d runs undone, %v\n%s", name, undone, err, tail(s.log()))
		}
	}
	for _, name := range []string{other, leader, other} {
		rotate(name)
		forward("requested by " + name)
	}
	for i, step := range runSteps {
		of, by := pair[i%2], pair[(i/2)%2]
		at := s.watch(of, step)
		s.asked(by)
		s.killOn(at, of+" "+step)
		s.until(leader, "the version after a kill", func(row inventory.Row) bool { return number(row.Version) > want && row.Live == nil })
		s.until(other, "the version after a kill", func(row inventory.Row) bool { return number(row.Version) > want && row.Live == nil })
		forward(fmt.Sprintf("requested by %s, killed when %s was %s", by, of, step))
	}

	s.passwordRule(true)
	var before []map[string]string
	for _, name := range pair {
		before = append(before, s.fields(name))
	}
	taken := map[string]bool{}
	for _, killed := range []bool{false, true} {
		at := s.watch(leader, "applied")
		s.asked(leader)
		if killed {
			s.killOn(at, "the leader's candidate")
		}
		for _, name := range pair {
			s.until(name, "its run to be taken back", func(row inventory.Row) bool {
				return row.Live == nil && row.Last != nil && row.Last.Result == "undone" && !taken[string(row.Last.Group)]
			})
		}
		if result, version := s.oneFate(pair); result != "undone" || version != want {
			t.Fatalf("killed: %v: %s at version %d, want undone at %d", killed, result, version, want)
		}
		row, led := s.row(other), s.row(leader)
		taken[string(row.Last.Group)] = true
		if !strings.Contains(row.Last.Detail, "password rule") || !strings.Contains(led.Last.Detail, other+", of its group, was taken back") {
			t.Errorf("taken back because %q and %q, want the server's password rule and the other member", row.Last.Detail, led.Last.Detail)
		}
		for i, l := range s.kinds {
			if verdict, err := l.signIn(ctx, l.at, before[i]); verdict != upstream.Accepted || s.fields(pair[i])["version"] != before[i]["version"] {
				t.Errorf("%s: the credential from before is %s (%v), and %s is delivered", pair[i], verdict, err, s.fields(pair[i])["version"])
			}
			l.sound(t, func(string) int { return 0 })
		}
		if ran := s.runs(leader, "rotation"); !slices.ContainsFunc(ran[0].Events, func(e audit.Event) bool { return e.Step == "applied" }) {
			t.Errorf("the leader's candidate was never applied, so nothing was taken back: %+v", ran[0].Events)
		}
	}

	s.passwordRule(false)
	rotate(other) // which its group's back-off does not hold up
	forward("once the rule is gone")
	s.unrelate(0)
}

// passwordRule has the PostgreSQL server want letters and other signs in each password, or no longer.
func (s *stage) passwordRule(on bool) {
	s.t.Helper()
	p := s.started["postgres"].(*realparts.Server)
	change := "ALTER SYSTEM RESET session_preload_libraries"
	if on {
		change = "ALTER SYSTEM SET session_preload_libraries = 'passwordcheck'"
	}
	s.must(p.Exec(s.t.Context(), change))
	s.must(p.Exec(s.t.Context(), "SELECT pg_reload_conf()"))
	eventually(s.t, 10*time.Second, "the server to take its configuration", func() bool {
		set, err := p.Exec(s.t.Context(), "SHOW session_preload_libraries")
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
	s, pair := relate(t, "", related("postgres-alternate", line, nil), related("redis-dual", line, nil))
	if first, second := s.runs(pair[0], "rotation")[0], s.runs(pair[1], "rotation")[0]; max(first.Started.Sub(second.Ended), second.Started.Sub(first.Ended)) >= gap {
		t.Errorf("first issues from %s to %s and from %s to %s: the set held them up", first.Started, first.Ended, second.Started, second.Ended)
	}
	time.Sleep(gap) // since the first issues
	for _, name := range pair {
		s.asked(name)
	}
	done := func(row inventory.Row) bool { return number(row.Version) == 2 && row.Live == nil }
	eventually(t, time.Minute, "one to be rotated", func() bool { return done(s.row(pair[0])) || done(s.row(pair[1])) })
	first, second := pair[0], pair[1]
	if !done(s.row(first)) {
		first, second = second, first
	}
	waits := func(what string) func(row inventory.Row) bool {
		return func(row inventory.Row) bool {
			return row.Live == nil && number(row.Version) == 1 && row.ByDesign && containsAll(row.Waiting, []string{what, first, "of the same stagger set nightly"})
		}
	}
	s.until(second, "it to wait for the other", waits("")) // for its end, or for the gap since
	s.kill()
	s.serve()
	s.until(second, "it to wait for the gap after a kill", waits("was rotated"))
	s.until(second, "its rotation", done)
	for _, name := range pair {
		if n := len(s.runs(name, "rotation")); n != 2 {
			t.Errorf("%s: %d runs, want the first issue and one", name, n)
		}
	}
	began, ended := s.runs(second, "rotation")[0].Started, s.runs(first, "rotation")[0].Ended
	if between := began.Sub(ended); between < gap || between > gap+10*time.Second {
		t.Errorf("%s began %s after the end of %s, want %s and little more", second, between, first, gap)
	}
	s.unrelate(1)
}

// TestUseHoldsRevocation has a program beside the declared consumers, which goes on with the old credential. The run
// names it, and revokes only once it has left, or has been silent for the quiet window.
func TestUseHoldsRevocation(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	const quiet = 2 * time.Second
	s, names := relate(t, quiet.String(), related("postgres-alternate", "", func(s *stage, _ *part) {
		s.must(s.started["postgres"].(*realparts.Server).Exec(s.t.Context(), "GRANT pg_read_all_stats TO custody_admin"))
		s.replace("estate/upstream-postgres.yaml", "tls: disable", "tls: disable, usage: true")
	}))
	l, name := s.kinds[0], names[0]
	const who = "invoices from 127.0.0.1 in postgres"
	for i, leaves := range []bool{true, false} {
		old := s.fields(name)
		program := s.program(l.at, old)
		s.say(program, "BEGIN; SELECT id FROM orders")
		s.asked(name)
		row := s.until(name, "the use to be seen", func(row inventory.Row) bool { return row.Live != nil && strings.Contains(row.Waiting, who) })
		if !strings.Contains(row.Waiting, "to fall out of use") || row.ByDesign {
			t.Errorf("it waits for %q, by design: %v; want the old credential to fall out of use, and a person to look", row.Waiting, row.ByDesign)
		}
		s.finding(name, who)
		if i == 0 {
			s.kill()
			s.serve()
			s.until(name, "the use to be seen after a kill", func(row inventory.Row) bool { return row.Live != nil && strings.Contains(row.Waiting, who) })
		}
		time.Sleep(2 * quiet)
		if row := s.row(name); row.Live == nil || s.fields(name)["version"] == old["version"] {
			t.Fatalf("version %s is delivered, live %v: want the next one, and its run to wait", s.fields(name)["version"], row.Live)
		}
		for what, fields := range map[string]map[string]string{"old": old, "new": s.fields(name)} {
			if verdict, err := l.signIn(t.Context(), l.at, fields); verdict != upstream.Accepted {
				t.Errorf("while it is in use the %s credential is %s (%v)", what, verdict, err)
			}
		}
		s.say(program, "COMMIT")
		silent := time.Now()
		if leaves {
			s.must(nil, program.Close(t.Context()))
		}
		s.until(name, "the end of its run", func(row inventory.Row) bool { return row.Live == nil && number(row.Version) == i+2 })
		if verdict, err := l.signIn(t.Context(), l.at, old); verdict != upstream.Refused {
			t.Errorf("after it the old credential is %s (%v)", verdict, err)
		}
		events := s.runs(name, "rotation")[0].Events
		revoked := slices.IndexFunc(events, func(e audit.Event) bool { return e.Step == "revoked" })
		used := slices.IndexFunc(events, func(e audit.Event) bool { return e.Step == "old-used" && strings.Contains(e.Detail, who) })
		if used < 0 || revoked < used {
			t.Fatalf("the record does not say who used the old credential before it was revoked: %+v", events)
		}
		if left := events[revoked].At.Sub(silent); !leaves && left < quiet {
			t.Errorf("revoked %s after its last use, want the quiet window of %s", left, quiet)
		}
		if !leaves { // a password is asked for at sign-in
			s.say(program, "SELECT id FROM orders")
			s.must(nil, program.Close(t.Context()))
		}
	}
	s.unrelate(2)
}

// program is a session of a program that no document names.
func (s *stage) program(at string, fields map[string]string) *pgconn.PgConn {
	s.t.Helper()
	config, err := pgconn.ParseConfig(at + " application_name=invoices")
	s.must(nil, err)
	config.User, config.Password = fields["username"], fields["password"]
	conn, err := pgconn.ConnectConfig(s.t.Context(), config)
	s.must(nil, err)
	return conn
}

func (s *stage) say(conn *pgconn.PgConn, statements string) {
	s.t.Helper()
	s.must(conn.Exec(s.t.Context(), statements).ReadAll())
}
