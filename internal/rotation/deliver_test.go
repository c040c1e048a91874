// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// reader is a process that reads its file when it is told to.
type reader struct {
	fails error
	takes time.Duration
	tried []time.Time
	runs  authority.VersionID
}

func (p *reader) Reload(ctx context.Context, e file.Event) error {
	p.tried = append(p.tried, time.Now())
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(p.takes):
	}
	if p.fails == nil {
		p.runs = e.Version
	}
	return p.fails
}

// read gives the rig's secret a file consumer without a check, whose process is p.
func (r *rig) read(t *testing.T, p *reader) *file.Consumer {
	t.Helper()
	c, err := file.New(file.Config{Name: "app", Folder: t.TempDir(), Path: "app.json", Format: "json", UID: -1, GID: -1, Reload: p, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.subject.Consumers = []rotation.Consumer{{Consumer: c, Needs: c.Highest()}}
	return c
}

// The file is right and its reader was not told: nothing is revoked, the run names consumer and fault at each look and
// tries again ever less often, and so does a process that knows nothing of the failure.
func TestFailedReloadHoldsRevocation(t *testing.T) {
	for name, restarts := range map[string]bool{"same process": false, "another process": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
				old := r.value(t).Value
				p := &reader{fails: errors.New("no such process")}
				r.read(t, p)
				r.plan(t)
				r.wait(t, reason.ProofMissing)
				for until := time.Now().Add(30 * time.Minute); time.Now().Before(until); {
					if restarts {
						r.restart()
					}
					outlook := r.advance(t)
					if outlook.Ended != "" || !has(outlook.Waiting, reason.ProofMissing, []string{"app ", "no such process"}) {
						t.Fatalf("the run ended %q or waits because of %+v, want the consumer and its fault", outlook.Ended, outlook.Waiting)
					}
					if restarts {
						time.Sleep(time.Minute)
					}
					time.Sleep(time.Until(outlook.Again))
				}
				if u.revoked > 0 || !r.account.Accepts(old) {
					t.Error("the old credential was revoked under a process that nobody reloaded")
				}
				if tried := len(p.tried); tried < 20 || tried > 60 {
					t.Errorf("%d reloads were tried in half an hour, want about one a minute", tried)
				}
				if waiting := r.entry(t).Live.Waiting; !restarts && waiting == nil || waiting != nil && !has(waiting.Reason, reason.ProofMissing, []string{"no such process"}) {
					t.Errorf("the journal says that the run waits for %+v", waiting)
				}
				p.fails = nil
				if got := r.finish(t, r.subject); got != "completed" || p.runs != r.value(t).ID {
					t.Errorf("the run is %s, and the process runs on %s", got, p.runs)
				}
			})
		})
	}
}

// cutOff ends its process between the file and the reload.
type cutOff struct {
	rotation.Consumer
	p *reader
}

func (c *cutOff) Deliver(ctx context.Context, v authority.Versioned) error {
	c.p.fails = errors.New("the process died")
	_ = c.Consumer.Deliver(ctx, v)
	return context.Canceled
}

func TestReloadCutOffIsDoneByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		p := &reader{}
		r.read(t, p)
		whole := r.subject.Consumers[0]
		r.subject.Consumers[0].Consumer = &cutOff{whole, p}
		r.plan(t)
		r.wait(t, reason.ProofMissing)
		r.restart()
		p.fails, r.subject.Consumers[0] = nil, whole
		u.revoke = func() error {
			if p.runs != r.value(t).ID {
				t.Error("the old credential was revoked under a process that nobody reloaded")
			}
			return nil
		}
		if got := r.finish(t, r.subject); got != "completed" || len(p.tried) != 2 {
			t.Errorf("the run is %s after %d reloads, want completed after one that was cut off and one", got, len(p.tried))
		}
	})
}

// untrue shows a delivery that failed as done.
type untrue struct {
	rotation.Consumer
	fails int
}

func (c *untrue) Deliver(ctx context.Context, v authority.Versioned) error {
	if err := c.Consumer.Deliver(ctx, v); err != nil || c.fails == 0 {
		return err
	}
	c.fails--
	return errors.New("not all was done")
}

// A fault is never dropped at the look that saw it, whatever the consumer shows.
func TestFaultIsNamedWhateverIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		double := memory.New(memory.Config{Name: "app", Clock: time.Now})
		r.subject.Consumers = []rotation.Consumer{{Consumer: &untrue{rotation.Consumer{Consumer: double}, 1}, Needs: materialize.Rolled}}
		r.plan(t)
		r.wait(t, reason.ProofMissing, "app not all was done")
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}

// What is declared for a consumer's command bounds it, not the patience of the run.
func TestSlowReloadIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		p := &reader{takes: 2 * time.Minute}
		r.read(t, p)
		r.plan(t)
		if got := r.finish(t, r.subject); got != "completed" || len(p.tried) != 1 {
			t.Errorf("the run is %s after %d reloads, want one", got, len(p.tried))
		}
	})
}

// counted counts deliveries.
type counted struct {
	*memory.Consumer
	deliveries int
}

func (c *counted) Deliver(ctx context.Context, v authority.Versioned) error {
	c.deliveries++
	return c.Consumer.Deliver(ctx, v)
}

// Past maxOverlap the strategy hold leaves alone who has the version and shows too little, and nobody else: where the old
// credential is gone, who has not got the new one is locked out.
func TestHoldWithholdsNoFirstDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Overwrite})
		r.subject.Policy.FailureStrategy, r.subject.Policy.MaxOverlap = "hold", time.Hour
		late := &counted{Consumer: memory.New(memory.Config{Name: "late", Clock: time.Now})}
		lazy := &counted{Consumer: memory.New(memory.Config{Name: "lazy", IgnoresReload: true, Clock: time.Now})}
		for _, c := range []*counted{late, lazy} {
			r.subject.Consumers = append(r.subject.Consumers, rotation.Consumer{Consumer: c, Needs: materialize.Rolled})
		}
		r.plan(t)
		stop := false
		r.Observe = func(_ string, _ authority.RunID, step journal.Step, _ bool) { stop = stop || step == journal.Promoted }
		r.Stopping = func() bool { return stop }
		r.restart()
		for !stop {
			time.Sleep(time.Until(r.advance(t).Again))
		}
		r.Observe, r.Stopping = nil, nil
		r.restart() // after a night without a process
		time.Sleep(12 * time.Hour)
		late.RefuseUntil(time.Now().Add(20 * time.Minute)) // and its disk is full
		r.wait(t, reason.OverlapExceeded, "late ")
		for until := time.Now().Add(time.Hour); time.Now().Before(until); {
			time.Sleep(time.Until(r.advance(t).Again))
		}
		now := r.value(t)
		for _, c := range []*counted{late, lazy} {
			if held, _ := c.Held(); held != now.ID {
				t.Errorf("%s holds %s, want %s", c.Name(), held, now.ID)
			}
		}
		if lazy.deliveries != 1 {
			t.Errorf("who has the version was handed it %d times, want once", lazy.deliveries)
		}
		other, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		lazy.Tamper(other) // it no longer has it
		for until := time.Now().Add(10 * time.Minute); time.Now().Before(until); {
			time.Sleep(time.Until(r.advance(t).Again))
		}
		if held, _ := lazy.Held(); held != now.ID {
			t.Errorf("lazy holds %s after it lost the version, want %s", held, now.ID)
		}
		lazy.Restart()
		if got := r.finish(t, r.subject); got != "completed" {
			t.Errorf("the run is %s", got)
		}
	})
}
