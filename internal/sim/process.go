// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Declaration is what a simulated secret is made from.
type Declaration struct {
	Name      string
	Shape     upstreammemory.Shape
	Bootstrap bool // handed over from Git, else generated
	Policy    journal.Policy
	// Consumers' reload delays; one consumer each.
	Reloads []time.Duration
	Needs   materialize.Level
	// Upstream's behaviour; Shape, Clock and Random are filled in.
	Account upstreammemory.Config
	// DerivedFrom names the secrets that the value is computed from; nothing else of the declaration but Reloads and Needs
	// is then looked at. The value's key is the first one's.
	DerivedFrom []string
	// Wrong: the document holds a value that the upstream does not honour, see correct.
	Wrong bool
	// Admin: its candidates are kept as emergency copies before they are applied.
	Admin bool
	// RefuseFirst candidates break the upstream's rule.
	RefuseFirst int
}

// Declare adds a secret to the world. A bootstrap value is honoured upstream from the start.
func (w *World) Declare(d Declaration) (*Secret, error) {
	if len(d.DerivedFrom) > 0 {
		return w.derive(d)
	}
	d.Account.Shape, d.Account.Clock, d.Account.Random, d.Account.CallDeadline = d.Shape, time.Now, w.random, callDeadline
	if d.RefuseFirst > 0 {
		left := d.RefuseFirst
		d.Account.Refuses = func(secret.Value) bool { left--; return left >= 0 }
	}
	account0, err := upstreammemory.New(d.Account)
	if err != nil {
		return nil, err
	}
	path := authority.Path("sim/" + d.Name)
	s := &Secret{Upstream: account0}
	wrapped := account{w, path, account0}
	consumers := w.consumers(s, path, d)
	s.Secret = orchestrator.Secret{
		Subject: rotation.Subject{
			Secret: d.Name, Path: path, Upstream: wrapped, Consumers: consumers, Policy: d.Policy, AllowInterruption: true,
		},
		First: !d.Bootstrap,
	}
	if d.Admin {
		s.Escrow = escrow{w}
	}
	if d.Bootstrap {
		fields := map[string]string{upstreammemory.Username: "account-a", upstreammemory.Password: "bootstrap-" + d.Name}
		switch d.Shape {
		case upstreammemory.Dual, upstreammemory.Issued, upstreammemory.Listed, upstreammemory.Rotated:
			fields = map[string]string{upstreammemory.Key: "bootstrap-" + d.Name}
		case upstreammemory.Overwrite:
			fields[upstreammemory.Username] = "account"
		}
		if s.Bootstrap, err = secret.Text(fields); err != nil {
			return nil, err
		}
		honoured := s.Bootstrap
		if d.Wrong {
			if honoured, err = s.Bootstrap.With(account0.Field(), []byte("right-"+d.Name)); err != nil {
				return nil, err
			}
			s.right = honoured
		}
		if err := account0.Seed(honoured); err != nil {
			return nil, err
		}
		s.Handover = &handover.Subject{Secret: d.Name, Path: path, Document: d.Name + ".yaml", Upstream: wrapped, Policy: d.Policy}
	}
	w.secrets[path] = s
	return s, nil
}

func (w *World) consumers(s *Secret, path authority.Path, d Declaration) []rotation.Consumer {
	var consumers []rotation.Consumer
	for i, delay := range d.Reloads {
		double, declared := w.consumer(path, i+1, delay)
		s.Consumers = append(s.Consumers, double)
		consumers = append(consumers, rotation.Consumer{Consumer: declared, Needs: d.Needs})
	}
	return consumers
}

func (w *World) consumer(path authority.Path, number int, reload time.Duration) (*materializememory.Consumer, consumer) {
	double := materializememory.New(materializememory.Config{Name: fmt.Sprintf("consumer-%d", number), ReloadDelay: reload, Clock: time.Now})
	return double, consumer{w, path, double}
}

// derive declares a secret that is computed from others, and stands for it among their consumers.
func (w *World) derive(d Declaration) (*Secret, error) {
	path := authority.Path("sim/" + d.Name)
	s := &Secret{}
	own := w.consumers(s, path, d)
	fields := map[string]string{upstreammemory.Key: "{{ .input0.key }}"}
	subject := derivation.Subject{Secret: d.Name, Path: path}
	var theirs []derivation.Consumer
	for _, consumer := range own {
		theirs = append(theirs, derivation.Consumer(consumer))
	}
	var names []string
	for i, name := range d.DerivedFrom {
		input := w.secrets[authority.Path("sim/"+name)]
		as := fmt.Sprintf("input%d", i)
		if i == 0 {
			s.Upstream = input.Upstream
		} else {
			fields[as] = "{{ ." + as + ".key }}"
		}
		names = append(names, as)
		subject.Inputs = append(subject.Inputs, derivation.Input{Name: as, Secret: name, Path: input.Path})
		dependent := &derivation.Dependent{
			Secret: d.Name, Path: path, Input: as, Consumers: theirs, Authority: store{w}, Journal: journals{journal.New(store{w}), w},
			Wake: func(path authority.Path) {
				for _, r := range w.running {
					r.Wake(path)
				}
			},
		}
		input.Secret.Subject.Consumers = append(input.Secret.Subject.Consumers, rotation.Consumer{Consumer: dependent, Needs: dependent.Highest()})
	}
	var err error
	if subject.Formula, err = formula.Compile(fields, names); err != nil {
		return nil, err
	}
	s.Secret = orchestrator.Secret{Subject: rotation.Subject{Secret: d.Name, Path: path, Consumers: own}, Derived: &subject}
	w.secrets[path] = s
	return s, nil
}

// boot starts a process: fresh engines over the same outside.
func (w *World) boot() *running {
	outside, log := w.outside()
	entries := journals{journal.New(outside), w}
	r := &running{finished: make(chan struct{}, 1)}
	r.process, r.ctx = w.start()
	clock, engine := w.clock(), w.engine()
	engine.Clock = clock
	r.Orchestrator = orchestrator.New(orchestrator.Config{
		Journal: entries, Values: outside, Record: log, Now: w.Now, NewRun: w.newRun,
		Queue: w.queue(), Clock: clock, Rotation: engine,
		Derivation: derivation.New(derivation.Config{Authority: outside, Journal: entries, Record: log, Now: w.Now, NewRun: w.newRun}),
		Handover: handover.New(handover.Config{
			Authority: outside, Journal: entries, Record: log, Source: source{w}, Now: w.Now, NewRun: w.newRun, Calls: w.bounds(),
		}),
		MaxTimedPerHour: w.maxTimed, Reconcile: w.reconcile, Workers: w.workers,
		Finished: func() {
			select {
			case r.finished <- struct{}{}:
			default:
			}
		},
	})
	w.tell(r)
	return r
}

// tell has a process use the estate as it is declared now.
func (w *World) tell(r *running) {
	r.estate = w.estate
	var declared []orchestrator.Secret
	for _, path := range slices.Sorted(maps.Keys(w.secrets)) {
		if s := w.secrets[path]; !s.Undeclared {
			declared = append(declared, s.Secret)
		}
	}
	r.Use(declared)
}

// changed has the process that runs now told of a changed estate, and every other before it looks again.
func (w *World) changed() {
	w.estate++
	for _, r := range w.running {
		w.tell(r)
	}
}

func (w *World) engine() *rotation.Engine {
	outside, log := w.outside()
	return rotation.New(rotation.Config{
		Authority: outside, Journal: journals{journal.New(outside), w}, Record: log, Now: w.Now, NewRun: w.newRun, Calls: w.bounds(),
	})
}

func (w *World) clock() *trigger.Clock {
	outside, _ := w.outside()
	return trigger.NewClock(outside, w.Now, func() time.Duration { return time.Since(w.began) })
}

func (w *World) queue() *trigger.Queue {
	outside, log := w.outside()
	return trigger.New(outside, log, w.Now)
}

// Request submits a manual request, again and again as a client does until it is acknowledged.
func (w *World) Request(s *Secret) error {
	w.requests++
	id := fmt.Sprintf("request-%d", w.requests)
	for range 20 {
		err := w.submit(s, id)
		if err == nil {
			w.acknowledged[id] = s.Path
			return nil
		}
		if errors.Is(err, trigger.ErrMalformed) {
			return err
		}
		w.Sleep(time.Second)
	}
	return fmt.Errorf("request %s was never acknowledged", id)
}

func (w *World) submit(s *Secret, id string) error {
	return w.once(func(ctx context.Context) error {
		_, err := w.queue().Submit(ctx, trigger.Request{
			ID: id, Path: s.Path, Secret: s.Subject.Secret, Kind: trigger.Manual, By: "sim", Reason: "asked for",
		})
		return err
	})
}

// once runs a process that does one thing and may die over it.
func (w *World) once(do func(context.Context) error) error {
	w.enter()
	_, ctx := w.start()
	w.leave()
	err := errInjected // what somebody sees whose process died
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = do(ctx)
	}()
	<-ended
	return err
}

// Settled reports whether nothing is going on: every acknowledged request closed, no live run, no late effect on its
// way, every secret issued.
func (w *World) Settled() bool {
	if len(w.late) > 0 {
		return false
	}
	if len(w.openRequests()) > 0 {
		return false
	}
	for path, s := range w.secrets {
		document := w.held(path)
		entry := &document.Entry
		if document.Pending != nil && entry.Live == nil || document.Kept != nil || w.owes(entry) {
			return false
		}
		if s.Undeclared || entry.Live != nil || entry.Current == nil {
			return false
		}
		for _, c := range s.Consumers {
			if running, _ := c.Running(); running != *entry.Current {
				return false
			}
		}
	}
	return true
}

// owes reports whether a value that the last run replaced is still to be destroyed.
func (w *World) owes(entry *journal.Entry) bool {
	if entry.Last == nil {
		return false
	}
	return slices.ContainsFunc(entry.Last.Spent, func(number authority.Version) bool {
		_, err := w.store.ReadVersion(context.Background(), entry.Path, number)
		return err == nil
	})
}

func (w *World) openRequests() []authority.Document {
	all, err := w.store.List(context.Background(), trigger.Prefix)
	if err != nil {
		panic("sim: listing the double's requests: " + err.Error())
	}
	return slices.DeleteFunc(all, func(record authority.Document) bool { return !trigger.Open(record) })
}
