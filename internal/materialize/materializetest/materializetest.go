// SPDX-License-Identifier: Apache-2.0

// Package materializetest is the conformance suite of materialize.Consumer. Every adapter passes it, and so does every
// double.
//
// Each case starts with a fresh fixture. The fixture gives the suite a view of the outside that does not go through the
// consumer, so that the suite can compare what the consumer says with what is true.
package materializetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
)

// Fixture is one consumer that holds nothing yet, with a view of what is outside it.
type Fixture struct {
	// Consumer under test.
	Consumer materialize.Consumer
	// Reopen returns a consumer over the same outside, as a restarted or a second engine makes it.
	Reopen func(t *testing.T) materialize.Consumer
	// Holds reports whether the place that the consumer reads holds exactly v's value.
	Holds func(t *testing.T, v authority.Versioned) bool
	// Crashing returns a consumer over the same outside that dies before its effect number n, from 0: that effect and
	// all later ones do not happen and the call returns an error. Nil when a delivery is one indivisible effect.
	Crashing func(t *testing.T, n int) materialize.Consumer
	// Runs reports whether the process runs on v's value; nil when there is no process to be seen.
	Runs func(t *testing.T, v authority.Versioned) bool
	// Reloads counts how often somebody was disturbed; nil when nobody ever is.
	Reloads func(t *testing.T) int
	// FailReloads lets every reload fail from now on, or work again, for each engine; nil when nobody ever reloads.
	FailReloads func(t *testing.T, fail bool)
	// Settle lets time pass until every reload had its effect and every proof is fresh; nil when both are at once.
	Settle func(t *testing.T)
	// Drift changes what is held from elsewhere; nil when that cannot be done.
	Drift func(t *testing.T)
	// Unfit is a value that can never be delivered; its texts begin with what Version's do. Empty when each can.
	Unfit secret.Value
	// Outside returns whatever the consumer keeps beside the place itself: names, stamps, annotations.
	Outside func(t *testing.T) []string
}

const (
	// canary begins every secret field's content in this suite.
	canary = "canary-3b1f"
	path   = authority.Path("mail/relay")
	// callLimit ends a call that hangs; calls take milliseconds, and those of one test wait for each other.
	callLimit = 2 * time.Minute
)

// Version makes the version that the suite delivers under a number. The value has the fields "username" and "value".
func Version(t testing.TB, incarnation authority.Incarnation, run authority.RunID, number authority.Version) authority.Versioned {
	t.Helper()
	text := fmt.Sprintf("%s-%s-%s-%d's $HOME \\ \"ü", canary, incarnation, run, number)
	v, err := secret.Text(map[string]string{secret.SingleField: text + "|", "username": text + "."})
	if err != nil {
		t.Fatalf("making value: %v", err)
	}
	return authority.Versioned{
		Path: path, Value: v, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		ID: authority.VersionID{Incarnation: incarnation, Run: run, Number: number},
	}
}

// Unfit is a value that most formats of files have no form for: its text is not UTF-8, and it lacks the field that is asked for by name.
func Unfit(t testing.TB) secret.Value {
	t.Helper()
	v, err := secret.New(map[string][]byte{"username": []byte(canary + "\xff")})
	if err != nil {
		t.Fatalf("making value: %v", err)
	}
	return v
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, *probe){
		"EmptyAtFirst":         testEmptyAtFirst,
		"Deliver":              testDeliver,
		"DeliverTwice":         testDeliverTwice,
		"NewerReplaces":        testNewerReplaces,
		"OlderIsStale":         testOlderIsStale,
		"OtherIncarnation":     testOtherIncarnation,
		"OtherRun":             testOtherRun,
		"ProofOfAnother":       testProofOfAnother,
		"Drift":                testDrift,
		"FailedReload":         testFailedReload,
		"Withdraw":             testWithdraw,
		"Fits":                 testFits,
		"EndedContext":         testEndedContext,
		"ConcurrentDeliveries": testConcurrentDeliveries,
	} {
		t.Run(name, func(t *testing.T) { test(t, start(t, open)) })
	}
	t.Run("CrashBetweenEffects", func(t *testing.T) { testCrash(t, open) })
}

func testEmptyAtFirst(t *testing.T, p *probe) {
	if p.fixture.Consumer.Name() == "" || p.fixture.Consumer.Name() != p.fixture.Reopen(t).Name() {
		t.Error("want a name, the same for each engine")
	}
	if got := p.prove(Version(t, "a", "r", 1)); got.Level != materialize.None || got.Drift != "" || got.Missing == "" {
		t.Errorf("got %+v before any delivery, want level none, no drift and what is missing", got)
	}
}

func testDeliver(t *testing.T, p *probe) {
	v := Version(t, "a", "r", 1)
	p.deliver(v)
	p.wantHeld(v)
	p.prove(v) // whatever it claims before settling must be true
	p.settle()
	p.wantProven(v)
}

// What never fits is said before it is delivered, by the value alone, and delivering it changes nothing.
func testFits(t *testing.T, p *probe) {
	v := Version(t, "a", "r", 1)
	if err := p.fixture.Consumer.Fits(v.Value); err != nil {
		t.Errorf("a value that can be delivered does not fit: %v", err)
	}
	p.deliver(v)
	if p.fixture.Unfit.Empty() {
		return
	}
	err := p.fixture.Consumer.Fits(p.fixture.Unfit)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a value that cannot be delivered: %v, want an error that does not repeat it", err)
	}
	unfit := Version(t, "a", "s", 2)
	unfit.Value = p.fixture.Unfit
	if err := p.fixture.Consumer.Deliver(t.Context(), unfit); err == nil {
		t.Error("a value that does not fit was delivered")
	}
	p.wantHeld(v)
}

func testDeliverTwice(t *testing.T, p *probe) {
	v := Version(t, "a", "r", 1)
	p.deliver(v)
	p.settle()
	before := p.reloads()
	for range 3 {
		p.deliver(v)
		p.reopen()
		p.settle()
	}
	if got := p.reloads(); got != before {
		t.Errorf("got %d reloads by delivering again what was taken, want none", got-before)
	}
	p.wantProven(v)
}

func testNewerReplaces(t *testing.T, p *probe) {
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(first)
	p.settle()
	before := p.reloads()
	p.deliver(second)
	p.wantHeld(second)
	p.prove(second)
	p.settle()
	p.wantProven(second)
	if p.fixture.Reloads != nil && p.reloads() == before {
		t.Error("got no reload after the content changed")
	}
}

func testOlderIsStale(t *testing.T, p *probe) {
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(first)
	p.deliver(second)
	p.settle()
	before := p.reloads()
	for range 2 {
		if err := p.tryDeliver(first); !errors.Is(err, materialize.ErrStale) {
			t.Errorf("got %v for an older version, want ErrStale", err)
		}
		p.reopen()
	}
	p.wantProven(second)
	if got := p.reloads(); got != before {
		t.Errorf("got %d reloads by a stale delivery, want none", got-before)
	}
}

func testOtherIncarnation(t *testing.T, p *probe) {
	old, restored := Version(t, "a", "r", 7), Version(t, "b", "s", 2)
	p.deliver(old)
	p.deliver(restored)
	p.settle()
	p.wantProven(restored)
	if err := p.tryDeliver(Version(t, "b", "t", 1)); !errors.Is(err, materialize.ErrStale) {
		t.Errorf("got %v for an older version of the new incarnation, want ErrStale", err)
	}
}

func testOtherRun(t *testing.T, p *probe) {
	// A number repeats when an authority forgot a path: the run tells the versions apart.
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 1)
	p.deliver(first)
	if got := p.prove(second); got.Version == second.ID {
		t.Errorf("got a proof of run %s while run %s is held", second.ID.Run, first.ID.Run)
	}
	p.deliver(second)
	p.settle()
	p.wantProven(second)
}

func testProofOfAnother(t *testing.T, p *probe) {
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(first)
	p.settle()
	if got := p.prove(second); got.Version == second.ID || got.Missing == "" {
		t.Errorf("got %+v for a version that was never delivered", got)
	}
	p.wantHeld(first)
}

func testDrift(t *testing.T, p *probe) {
	if p.fixture.Drift == nil {
		return
	}
	v := Version(t, "a", "r", 1)
	p.deliver(v)
	p.settle()
	before := p.reloads()
	p.fixture.Drift(t)
	p.settle()
	if got := p.prove(v); got.Level != materialize.None || got.Drift == "" || got.Version != (authority.VersionID{}) {
		t.Errorf("got %+v after a change from elsewhere, want no version, no level and the drift named", got)
	}
	if p.reloads() != before {
		t.Error("got a reload by proving")
	}
	p.deliver(v)
	p.settle()
	p.wantProven(v)
}

// testFailedReload: a delivery that failed is not proven, however right the place looks, until a later one got through.
func testFailedReload(t *testing.T, p *probe) {
	if p.fixture.FailReloads == nil {
		return
	}
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(first)
	p.settle()
	before := p.reloads()
	p.fixture.FailReloads(t, true)
	for tries := 1; tries <= 2; tries++ {
		if p.tryDeliver(second) == nil {
			t.Error("got no error from a delivery whose reload failed")
		}
		if got := p.reloads() - before; got != tries {
			t.Errorf("got %d reloads tried by %d deliveries that failed", got, tries)
		}
		for range 2 {
			p.settle()
			p.wantUnproven(second)
			p.reopen()
		}
	}
	if err := p.tryDeliver(first); !errors.Is(err, materialize.ErrStale) {
		t.Errorf("got %v for the version before one whose reload failed, want ErrStale", err)
	}
	p.fixture.FailReloads(t, false)
	p.deliver(second)
	p.settle()
	p.wantProven(second)
	if got := p.reloads() - before; got != 3 {
		t.Errorf("got %d reloads, want two that failed and one", got)
	}
}

func testWithdraw(t *testing.T, p *probe) {
	v := Version(t, "a", "r", 1)
	p.withdraw(v) // nothing there
	p.deliver(v)
	p.settle()
	p.withdraw(authority.Versioned{Path: "app/other", ID: v.ID, Value: v.Value})
	if !p.fixture.Holds(t, v) {
		t.Error("got the value withdrawn as that of another secret")
	}
	p.withdraw(v)
	p.settle()
	if p.fixture.Holds(t, v) {
		t.Error("got the value still held after withdrawing")
	}
	if got := p.prove(v); got.Level != materialize.None || got.Drift != "" {
		t.Errorf("got %+v after withdrawing, want level none and no drift", got)
	}
	p.withdraw(v)
	p.deliver(v)
	p.settle()
	p.wantProven(v)
	p.withdraw(authority.Versioned{Path: v.Path}) // its value is lost
	if p.fixture.Holds(t, v) {
		t.Error("got the value still held after withdrawing it by its path")
	}
}

func testEndedContext(t *testing.T, p *probe) {
	first, second := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(first)
	p.settle()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.consumer.Deliver(ended, second); err == nil {
		t.Error("got no error from delivering under an ended context")
	}
	if _, err := p.consumer.Prove(ended, first); err == nil {
		t.Error("got no error from proving under an ended context")
	}
	p.wantProven(first)
}

func testConcurrentDeliveries(t *testing.T, p *probe) {
	const count = 6
	versions := make([]authority.Versioned, count)
	results := make(chan error, 2*count)
	for i := range versions {
		versions[i] = Version(t, "a", "r", authority.Version(i+1))
	}
	for i := range versions {
		for _, v := range []authority.Versioned{versions[i], versions[count-1-i]} {
			engine := p.fixture.Reopen(t)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), callLimit)
				defer cancel()
				results <- engine.Deliver(ctx, v)
			}()
		}
	}
	for range 2 * count {
		if err := <-results; err != nil && !errors.Is(err, materialize.ErrStale) {
			t.Errorf("got %v from one of several engines, want nil or ErrStale", err)
		}
	}
	p.settle()
	p.wantProven(versions[count-1])
}

// testCrash dies before each effect of a delivery, then before each effect of the delivery that resumes it.
func testCrash(t *testing.T, open func(t *testing.T) Fixture) {
	if start(t, open).fixture.Crashing == nil {
		return
	}
	for first := 0; ; first++ {
		if first == 50 {
			t.Fatal("got no delivery without a crash after 50 effects")
		}
		survived := false
		for second := 0; !survived; second++ {
			t.Run(fmt.Sprintf("%d-%d", first, second), func(t *testing.T) {
				survived = crashTwice(t, start(t, open), first, second)
			})
			if t.Failed() || second == 50 {
				t.Fatal("stopping after a failed crash point, or after 50 effects")
			}
		}
		p := start(t, open)
		p.deliver(Version(t, "a", "r", 1))
		p.consumer = p.fixture.Crashing(t, first)
		if p.tryDeliver(Version(t, "a", "s", 2)) == nil {
			if first == 0 {
				t.Fatal("got a delivery without any effect: the fixture's Crashing does not crash")
			}
			return
		}
	}
}

// crashTwice reports that the second delivery got through.
func crashTwice(t *testing.T, p *probe, first, second int) bool {
	old, next := Version(t, "a", "r", 1), Version(t, "a", "s", 2)
	p.deliver(old)
	p.settle()
	before := p.reloads()
	survived := false
	for _, at := range []int{first, second} {
		p.consumer = p.fixture.Crashing(t, at)
		survived = p.tryDeliver(next) == nil
		p.reopen()
		p.prove(old)
		for range 2 {
			if p.fixture.Reloads != nil && p.reloads() == before {
				p.wantUnproven(next) // the crash cut the reload off, however right the place looks
			}
			p.prove(next)
			p.lateDelivery(old, next)
			p.settle()
		}
	}
	p.deliver(next)
	p.settle()
	p.wantProven(next)
	after := p.reloads()
	if p.fixture.Reloads != nil && after == before {
		t.Error("got no reload after the content changed")
	}
	p.deliver(next)
	if p.reloads() != after {
		t.Error("got a reload by delivering again what was taken")
	}
	if err := p.tryDeliver(old); !errors.Is(err, materialize.ErrStale) {
		t.Errorf("got %v for an older version after recovery, want ErrStale", err)
	}
	return survived
}

// probe makes calls on a fixture's consumer and checks what holds for each of them.
type probe struct {
	t        *testing.T
	fixture  Fixture
	consumer materialize.Consumer
}

func start(t *testing.T, open func(t *testing.T) Fixture) *probe {
	t.Helper()
	fixture := open(t)
	return &probe{t, fixture, fixture.Consumer}
}

func (p *probe) reopen() { p.consumer = p.fixture.Reopen(p.t) }

func (p *probe) settle() {
	if p.fixture.Settle != nil {
		p.fixture.Settle(p.t)
	}
}

func (p *probe) reloads() int {
	if p.fixture.Reloads == nil {
		return 0
	}
	return p.fixture.Reloads(p.t)
}

func (p *probe) tryDeliver(v authority.Versioned) error {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), callLimit)
	defer cancel()
	err := p.consumer.Deliver(ctx, v)
	if err != nil {
		p.noCanary("an error", err.Error())
	}
	p.outside()
	return err
}

func (p *probe) deliver(v authority.Versioned) {
	p.t.Helper()
	if err := p.tryDeliver(v); err != nil {
		p.t.Fatalf("delivering version %s: %v", v.ID, err)
	}
}

// lateDelivery is an older engine's call that lands after a crash.
func (p *probe) lateDelivery(old, next authority.Versioned) {
	p.t.Helper()
	heldNext, heldOld := p.fixture.Holds(p.t, next), p.fixture.Holds(p.t, old)
	err := p.tryDeliver(old)
	switch {
	case heldNext && !errors.Is(err, materialize.ErrStale):
		p.t.Errorf("got %v for a late older delivery while the newer is held, want ErrStale", err)
	case heldNext && !p.fixture.Holds(p.t, next), heldOld && !p.fixture.Holds(p.t, old):
		p.t.Error("got what is held changed by a late older delivery")
	case err != nil && !errors.Is(err, materialize.ErrStale):
		p.t.Errorf("got %v for a late older delivery, want nil or ErrStale", err)
	}
}

// prove checks that the proof claims no more than there is. It proves nothing about a level above what Runs can see.
func (p *probe) prove(v authority.Versioned) materialize.Proof {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), callLimit)
	defer cancel()
	proof, err := p.consumer.Prove(ctx, v)
	if err != nil {
		p.noCanary("an error", err.Error())
		p.t.Fatalf("proving: %v", err)
	}
	p.noCanary("a proof", fmt.Sprintf("%+v", proof))
	if proof.At.IsZero() {
		p.t.Errorf("got a proof without a time: %+v", proof)
	}
	if proof.Level > materialize.None && proof.Version == (authority.VersionID{}) {
		p.t.Errorf("got a level without a version: %+v", proof)
	}
	if proof.Drift != "" && proof.Level > materialize.None {
		p.t.Errorf("got a level in spite of drift: %+v", proof)
	}
	if proof.Version != v.ID {
		return proof
	}
	if proof.Level >= materialize.Delivered && !p.fixture.Holds(p.t, v) {
		p.t.Errorf("got %s of %s, which is not held", proof.Level, v.ID)
	}
	if proof.Level >= materialize.Rolled && p.fixture.Runs != nil && !p.fixture.Runs(p.t, v) {
		p.t.Errorf("got %s of %s, which the process does not run on", proof.Level, v.ID)
	}
	return proof
}

func (p *probe) withdraw(v authority.Versioned) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), callLimit)
	defer cancel()
	if err := p.consumer.Withdraw(ctx, v); err != nil {
		p.noCanary("an error", err.Error())
		p.t.Fatalf("withdrawing: %v", err)
	}
	p.outside()
}

func (p *probe) wantHeld(v authority.Versioned) {
	p.t.Helper()
	if !p.fixture.Holds(p.t, v) {
		p.t.Errorf("got version %s not held after its delivery", v.ID)
	}
}

// wantProven wants v held and proven as high as the consumer says it can.
func (p *probe) wantProven(v authority.Versioned) {
	p.t.Helper()
	p.wantHeld(v)
	got := p.prove(v)
	if got.Version != v.ID || got.Level < p.consumer.Highest() || got.Drift != "" {
		p.t.Errorf("got proof %+v, want version %s at level %s", got, v.ID, p.consumer.Highest())
	}
}

// wantUnproven wants nothing shown of v, whatever is held.
func (p *probe) wantUnproven(v authority.Versioned) {
	p.t.Helper()
	if got := p.prove(v); got.Version == v.ID || got.Missing == "" {
		p.t.Errorf("got proof %+v of a delivery that did not get through, want no version and what is missing", got)
	}
}

func (p *probe) outside() {
	p.t.Helper()
	if p.fixture.Outside == nil {
		return
	}
	for _, text := range p.fixture.Outside(p.t) {
		p.noCanary("what is kept beside the place", text)
	}
}

func (p *probe) noCanary(where, text string) {
	p.t.Helper()
	if strings.Contains(text, canary) {
		p.t.Errorf("got a value in %s", where)
	}
}
