// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/model"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
	"custody.dev/custody/internal/wire"
)

// account is the upstream of a follower, with what may go wrong there.
type account struct {
	*upstreammemory.Upstream
	// lost replies to Apply, after it took effect.
	lost int
	// kind changes what it is able to.
	kind func(*upstream.Kind)
	// away: what is to be changed does not arrive.
	away bool
	// blind: it cannot tell who signs in.
	blind bool
	// forgets: what it takes is gone at once, as after a fail-over.
	forgets bool
}

func (a *account) Kind() upstream.Kind {
	kind := a.Upstream.Kind()
	if a.kind != nil {
		a.kind(&kind)
	}
	return kind
}

func (a *account) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if a.away {
		return secret.Value{}, fmt.Errorf("connecting: %w", upstream.ErrNotApplied)
	}
	made, err := a.Upstream.Apply(ctx, run, current, candidate)
	if err == nil && a.forgets {
		a.Lose(made)
	}
	if err == nil && a.lost > 0 {
		a.lost--
		return secret.Value{}, errors.New("the connection broke before the reply")
	}
	return made, err
}

func (a *account) Uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	if a.blind {
		return nil, errors.New("the sessions cannot be listed")
	}
	return a.Upstream.Uses(ctx, old, since)
}

// follower is a platform of one secret, in this process and under virtual time, and somebody who reads what it says and types
// what that names.
type follower struct {
	t         *testing.T
	account   *account
	consumer  *materializememory.Consumer
	secret    orchestrator.Secret
	declared  *intent.Secret
	store     *authoritymemory.Store
	entries   *journal.Journal
	record    found
	engine    *rotation.Engine
	conductor *orchestrator.Orchestrator
	platform  *platform.Platform
	// beside is another secret of the platform, where pair declared one.
	beside *besides
	// lead is how much the clock runs ahead.
	lead  time.Duration
	began time.Time
	// copied is a copy of the state.
	copied authoritymemory.Snapshot
	runs   int
}

// found is a record of which something is to be said.
type found struct {
	*auditmemory.Log
	findings []audit.Finding
}

func (f found) Findings() []audit.Finding { return f.findings }

// nothing is granted, and nothing has to be.
type nothing struct{ platform.Grants }

func (nothing) Known(*intent.Estate) []grant.Need { return nil }
func (nothing) Refresh(context.Context) bool      { return false }
func (nothing) Entries() ([]grant.Entry, error)   { return nil, nil }
func (nothing) Missing(context.Context, *intent.Estate) ([]grant.Need, error) {
	return nil, nil
}

func (f *follower) now() time.Time { return time.Now().Add(f.lead) }

// newFollower declares token, which nothing was done with yet.
func newFollower(t *testing.T, at upstreammemory.Config) *follower {
	t.Helper()
	at.Clock, at.Random = time.Now, rand.Reader
	made, err := upstreammemory.New(at)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{
		t: t, account: &account{Upstream: made}, began: time.Now(),
		consumer: materializememory.New(materializememory.Config{Name: "app", Clock: time.Now}),
		store:    authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}),
		record:   found{Log: auditmemory.New(time.Now)},
		declared: &intent.Secret{Name: "token", Path: "app/token", Spec: v1alpha1.ManagedSecretSpec{
			Class: "runtime", Origin: v1alpha1.Origin{Generated: &v1alpha1.GenerateRule{Type: "token"}},
			Rotation: &v1alpha1.RotationSpec{UpstreamRef: "forge", PolicyRef: "static"},
		}},
	}
	f.entries = journal.New(f.store)
	f.secret = orchestrator.Secret{First: true, SentTo: "forge", Subject: rotation.Subject{
		Secret: "token", Path: "app/token", Upstream: f.account, AllowInterruption: true,
		Consumers: []rotation.Consumer{{Consumer: f.consumer, Needs: materialize.Rolled}},
		Policy: journal.Policy{
			Name: "static", RotationType: "static", RevokeOld: true, FailureStrategy: "retry", MaxOverlap: 24 * time.Hour,
			Settle: time.Minute, QuietWindow: time.Hour,
		},
	}}
	return f
}

// besides is a secret beside the follower's own.
type besides struct {
	account  *account
	secret   orchestrator.Secret
	declared *intent.Secret
}

// pair declares work, which rotates together with token; token leads.
func (f *follower) pair() {
	f.t.Helper()
	made, err := upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Dual, Clock: time.Now, Random: rand.Reader})
	if err != nil {
		f.t.Fatal(err)
	}
	b := &besides{account: &account{Upstream: made}, secret: f.secret, declared: &intent.Secret{Name: "work", Path: "app/work", Spec: f.declared.Spec}}
	b.secret.Subject.Secret, b.secret.Subject.Path, b.secret.Subject.Upstream = "work", "app/work", b.account
	b.secret.Subject.Consumers = []rotation.Consumer{{
		Consumer: materializememory.New(materializememory.Config{Name: "worker", Clock: time.Now}), Needs: materialize.Rolled,
	}}
	group := &rotation.Group{Name: "pair", Leader: "app/token", Members: []rotation.Member{
		{Secret: "token", Path: "app/token", Upstream: f.account}, {Secret: "work", Path: "app/work", Upstream: b.account},
	}}
	f.secret.Group, b.secret.Group, f.beside = group, group, b
}

// estate is what is declared.
func (f *follower) estate() (*intent.Estate, []orchestrator.Secret) {
	estate := &intent.Estate{
		Digest: "1", Secrets: map[string]*intent.Secret{"token": f.declared}, Policies: map[string]intent.Policy{"static": intent.StaticPolicy()},
	}
	bound := []orchestrator.Secret{f.secret}
	if f.beside != nil {
		estate.Secrets["work"] = f.beside.declared
		bound = append(bound, f.beside.secret)
	}
	return estate, bound
}

// start begins the process anew.
func (f *follower) start() {
	f.t.Helper()
	newRun := func() authority.RunID { f.runs++; return authority.RunID(fmt.Sprintf("run-%d", f.runs)) }
	clock := trigger.NewClock(f.store, f.now, func() time.Duration { return time.Since(f.began) })
	queue := trigger.New(f.store, f.record, f.now)
	known := model.New()
	entries := f.entries.Watch(known.Saw)
	f.engine = rotation.New(rotation.Config{Authority: f.store, Journal: entries, Record: f.record, Now: f.now, NewRun: newRun, Clock: clock})
	f.conductor = orchestrator.New(orchestrator.Config{
		Journal: entries, Values: f.store, Record: f.record, Now: f.now, NewRun: newRun, Queue: queue, Clock: clock, Rotation: f.engine,
	})
	f.platform = platform.New(platform.Config{
		Authority: f.store, Journal: entries, Queue: queue, Clock: clock, Record: f.record, Orchestrator: f.conductor, Model: known,
		Now: f.now, NewRun: newRun, Grants: nothing{}, Identity: func() bool { return false }, Initialised: true,
		Broken: func() string { return "" },
		Load: func(*intent.Estate) (*intent.Estate, error) {
			estate, _ := f.estate()
			return estate, nil
		},
		Bind: func(*intent.Estate) ([]orchestrator.Secret, error) {
			_, bound := f.estate()
			return bound, nil
		},
		SaveEstate: func(*intent.Estate) error { return nil },
	})
	f.platform.Serving()
	if !f.platform.Reload() {
		f.t.Fatal(f.platform.Fault())
	}
}

// pass lets time go by while the platform runs.
func (f *follower) pass(d time.Duration) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		next, err := f.conductor.Tick(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		time.Sleep(max(time.Millisecond, min(next.Sub(f.now()), time.Until(end))))
	}
}

// value is the one on record.
func (f *follower) value() secret.Value {
	f.t.Helper()
	held, err := f.store.Read(f.t.Context(), "app/token")
	if err != nil {
		f.t.Fatal(err)
	}
	return held.Value
}

// live is the run that is under way.
func (f *follower) live() authority.RunID {
	f.t.Helper()
	entry, err := f.entries.Load(f.t.Context(), "app/token")
	if err != nil || entry.Live == nil {
		f.t.Fatalf("no run is live: %v", err)
	}
	return entry.Live.ID
}

// byHand is a credential that somebody makes at the upstream.
func (f *follower) byHand() secret.Value {
	f.t.Helper()
	v, err := secret.Text(map[string]string{upstreammemory.Key: "made-by-hand"})
	if err == nil {
		err = f.account.Seed(v)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// types has the command line run what a text names. Whoever types it says why, where the text leaves that open, and gives the
// value that is asked for.
func (f *follower) types(text string, value secret.Value) (string, int) {
	f.t.Helper()
	words := strings.Fields(strings.Trim(text, "`"))
	for i, word := range words {
		if word == "TEXT" {
			words[i] = "because"
		}
	}
	var in, out bytes.Buffer
	if words[1] == "supply" {
		words = slices.Insert(words, 3, "-")
		in.Write(value.Encode())
	}
	if words[1] == "adopt-value" || words[1] == "revert" { // nobody answers at a terminal
		words = append(words, "--yes")
	}
	a := &app{in: &in, out: &out, err: &out, env: func(string) string { return "" }}
	a.connect = func(context.Context, wire.Options) (*wire.Connection, error) {
		return &wire.Connection{Client: server.Local(server.Handler(f.platform), "user me")}, nil
	}
	root := a.root()
	root.SetArgs(words[1:])
	root.SetOut(&out)
	root.SetErr(&out)
	command, err := root.ExecuteContextC(f.t.Context())
	if err == nil {
		return out.String(), 0
	}
	problem := a.problem(err, command)
	return out.String() + "error: " + problem.Text + "\nhint: " + problem.Hint, server.Exit(problem)
}

// must is types of what succeeds.
func (f *follower) must(text string) string {
	f.t.Helper()
	said, code := f.types(text, secret.Value{})
	if code != 0 {
		f.t.Fatalf("%s: exit code %d\n%s", text, code, said)
	}
	return said
}

// findings are what status shows.
func (f *follower) findings() []server.Finding {
	f.t.Helper()
	var status struct{ Findings []server.Finding }
	if err := json.Unmarshal([]byte(f.must("custody status -o json")), &status); err != nil {
		f.t.Fatal(err)
	}
	return status.Findings
}

// rotates has the secret have its first value, and asks for another.
func (f *follower) rotates() {
	f.t.Helper()
	f.start()
	f.pass(time.Hour)
	f.must("custody rotate token --reason TEXT")
}

// follow takes the finding of that code, and types the command that it names, the one that begins with the first of the row's
// words where it names several; then that of the finding that is left. Within three commands nothing is left, and none is
// named twice.
func (f *follower) follow(row finding) {
	f.t.Helper()
	typed := map[string]bool{}
	for hop := 0; ; hop++ {
		findings := f.findings()
		if len(findings) == 0 && hop > 0 {
			return
		}
		if hop == 0 {
			findings = slices.DeleteFunc(findings, func(f server.Finding) bool { return !f.Is(row.code) })
		}
		if len(findings) == 0 {
			f.t.Fatalf("no finding is %s, but %q", row.code, f.findings())
		}
		if hop >= 3 {
			f.t.Fatalf("after three commands there still is %q", findings)
		}
		var named []string
		for _, one := range findings {
			if named = one.Commands; hop < len(row.choose) {
				named = slices.DeleteFunc(named, func(text string) bool { return !strings.HasPrefix(text, "custody "+row.choose[hop]) })
			}
			if len(named) > 0 {
				break
			}
		}
		if len(named) == 0 {
			f.t.Fatalf("no command that is to be typed is named by %q", findings)
		}
		if typed[named[0]] {
			f.t.Fatalf("%s again, by %q: a circle", named[0], findings[0])
		}
		typed[named[0]] = true
		var value secret.Value
		if row.mends != nil {
			value = row.mends(f, hop)
		}
		if said, code := f.types(named[0], value); code != 0 {
			f.t.Fatalf("%q names %s: exit code %d\n%s", findings[0], named[0], code, said)
		}
		f.pass(2 * time.Hour)
	}
}

// finding is one that names a command.
type finding struct {
	name string
	// at is what the upstream is like, and arrange brings the finding about.
	at      upstreammemory.Config
	arrange func(*follower)
	code    reason.Code
	// choose are the words of the commands to take where a finding names several: the first command's, the second's.
	choose []string
	// mends is what the person does besides before each command, as the text says, and the value that they hand in.
	mends func(f *follower, hop int) secret.Value
}

func handsIn(f *follower, _ int) secret.Value { return f.byHand() }

// TestFindingsLeadToTheirEnd: operators were sent from one command to the next and back to the first.
func TestFindingsLeadToTheirEnd(t *testing.T) {
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt) // what listens for signals begins outside of virtual time
	signal.Stop(stopped)
	for _, row := range followed {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFollower(t, row.at)
				row.arrange(f)
				f.follow(row)
			})
		})
	}
}
