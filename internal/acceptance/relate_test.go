// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/upstream"
)

// What tests of relations between kinds need. They import packages of kinds, which import this one, so they are outside it.

// PlayClient is the client process of the whole product's tests.
var PlayClient = playClient

// RunSteps are those that every run takes.
var RunSteps = runSteps

// Number is a version's own, Standing tells how a secret stands, ContainsAll whether a text has all of the words.
var (
	Number      = number
	Standing    = standing
	ContainsAll = containsAll
	Eventually  = eventually
)

// Relate starts the kinds with one secret each, under clients half of which hold what they read. It returns the secrets, in
// the order of the kinds.
func Relate(t *testing.T, quiet string, kinds ...Kind) (s *Stage, names []string) {
	t.Helper()
	one := plan{settle: "300ms", quiet: quiet, accounts: func(Kind) int { return 1 }}
	s = newStage(t, complete(t, kinds), one, func(l *live) crew { return crew{l.secrets, 4, 0} })
	for _, l := range s.kinds {
		names = append(names, l.secrets...)
	}
	return s, names
}

// Started is a server of the stage.
func Started[T any](s *Stage, server string) T { return s.started[server].(T) }

// Rig is the platform.
func (s *Stage) Replace(name, old, with string) { s.t.Helper(); s.replace(name, old, with) }

func (s *Stage) Row(name string) inventory.Row { s.t.Helper(); return s.row(name) }

func (s *Stage) Rotations(name string) []server.Run { s.t.Helper(); return s.runs(name, "rotation") }

func (s *Stage) Finding(about string, code reason.Code, words ...string) {
	s.t.Helper()
	s.finding(about, code, words...)
}

func (s *Stage) Restart() { s.t.Helper(); s.kill(); s.serve() }

// Rotate has a secret rotated by one run that completes.
func (s *Stage) Rotate(name string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), hang)
	defer cancel()
	if undone, err := s.drive.rotate(ctx, name); err != nil || undone > 0 {
		s.t.Fatalf("rotating by %s: %d runs undone, %v\n%s", name, undone, err, tail(s.log()))
	}
}

// of is the kind of a secret.
func (s *Stage) of(name string) *live {
	return s.kinds[slices.IndexFunc(s.kinds, func(l *live) bool { return slices.Contains(l.secrets, name) })]
}

// At tells where clients of a secret sign in.
func (s *Stage) At(name string) string { return s.of(name).At }

// SignIn signs in to a secret's account.
func (s *Stage) SignIn(name string, fields map[string]string) (upstream.Verdict, error) {
	l := s.of(name)
	return l.SignIn(s.t.Context(), l.At, fields)
}

// Sound checks that each secret has one credential, the one delivered.
func (s *Stage) Sound(replaced int) {
	s.t.Helper()
	for _, l := range s.kinds {
		l.sound(s.t, l.secrets, func(string) int { return replaced })
	}
}

// Watch tells once when a secret's run is logged to have taken a step.
func (s *Stage) Watch(secret, step string) <-chan struct{} {
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

// KillOn kills the serving process on the signal, and starts it again.
func (s *Stage) KillOn(signal <-chan struct{}, what string) {
	s.t.Helper()
	select {
	case <-signal:
	case <-time.After(hang):
		s.t.Fatalf("%s never came\n%s", what, tail(s.log()))
	}
	s.kill()
	s.serve()
}

// Asked requests one rotation of a secret.
func (s *Stage) Asked(name string) {
	s.t.Helper()
	if _, err := s.drive.ask(s.t.Context(), name); err != nil {
		s.t.Fatal(err)
	}
}

// Until waits for a secret's row to be as done says.
func (s *Stage) Until(name, what string, done func(inventory.Row) bool) inventory.Row {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), hang)
	defer cancel()
	row, err := s.drive.await(ctx, name, done)
	if err != nil {
		s.t.Fatalf("waiting for %s: %v\n%s", what, err, tail(s.log()))
	}
	return row
}

// Unrelate ends the clients and checks what they saw, and that each secret has one credential in the end.
func (s *Stage) Unrelate(replaced int) {
	s.t.Helper()
	time.Sleep(300 * time.Millisecond) // clients see the last credential
	for _, l := range s.kinds {
		l.quiet(s.t, l.client.stop(s.t), false)
	}
	s.Sound(replaced)
	s.sound()
}

// OneFate checks that the last runs of a group's members were of one run of the group, ended alike, and made as many
// versions of each; it returns how they ended and the version.
func (s *Stage) OneFate(names []string) (result string, version int) {
	s.t.Helper()
	var rows []inventory.Row
	for _, name := range names {
		row := s.Until(name, "the end of its run", func(row inventory.Row) bool { return row.Live == nil })
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
	return string(rows[0].Last.Result), number(rows[0].Version)
}
