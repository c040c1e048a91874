// SPDX-License-Identifier: Apache-2.0

package handover_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// rig is an engine over doubles and a document in Git.
type rig struct {
	t        *testing.T
	store    *flaky
	account  *upstreammemory.Upstream
	log      *auditmemory.Log
	journal  *journal.Journal
	engine   *handover.Engine
	document secret.Value
	reads    int // of the document
	runs     int
	subject  handover.Subject
}

// flaky fails one write of a value, before or after it takes effect, or lets it land when the test says.
type flaky struct {
	*authoritymemory.Store
	fail, lose, late bool
	land             func()
}

var errFlaky = errors.New("flaky")

func (f *flaky) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	if f.fail {
		f.fail = false
		return authority.VersionID{}, errFlaky
	}
	if f.late {
		f.late = false
		f.land = func() { _, _ = f.Store.Write(context.Background(), path, base, run, v) }
		return authority.VersionID{}, errFlaky
	}
	id, err := f.Store.Write(ctx, path, base, run, v)
	if f.lose {
		f.lose = false
		return authority.VersionID{}, errFlaky
	}
	return id, err
}

func (r *rig) Value(context.Context, string) (secret.Value, error) {
	r.reads++
	return r.document, nil
}

func credential(t *testing.T, password string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{upstreammemory.Username: "account", upstreammemory.Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func within(t *testing.T, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, document: credential(t, "right"), log: auditmemory.New(time.Now)}
		r.store = &flaky{Store: authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now})}
		var err error
		if r.account, err = upstreammemory.New(upstreammemory.Config{Shape: upstreammemory.Overwrite, Clock: time.Now, Random: rand.Reader}); err != nil {
			t.Fatal(err)
		}
		if err := r.account.Seed(r.document); err != nil {
			t.Fatal(err)
		}
		r.journal = journal.New(r.store)
		r.engine = handover.New(handover.Config{
			Authority: r.store, Journal: r.journal, Record: r.log, Source: r, Now: time.Now,
			NewRun: func() authority.RunID { r.runs++; return authority.RunID(fmt.Sprintf("run-%d", r.runs)) },
		})
		r.subject = handover.Subject{Secret: "db", Path: "app/db", Document: "db.yaml", Upstream: r.account}
		test(r)
	})
}

func (r *rig) run(want error) {
	r.t.Helper()
	if err := r.engine.Run(r.t.Context(), r.subject); !errors.Is(err, want) {
		r.t.Errorf("got %v, want %v", err, want)
	}
}

// wantUntouched: Git is still authoritative and nothing was written.
func (r *rig) wantUntouched() {
	r.t.Helper()
	if held, err := r.store.Read(r.t.Context(), r.subject.Path); !errors.Is(err, authority.ErrNotFound) {
		r.t.Errorf("the authority holds %s: %v", held.ID, err)
	}
	entry, err := r.journal.Load(r.t.Context(), r.subject.Path)
	if err != nil || entry.Tombstone != nil || entry.Current != nil {
		r.t.Errorf("got entry %+v, %v, want no tombstone", entry, err)
	}
}

func (r *rig) wantHandedOver(password string) {
	r.t.Helper()
	held, err := r.store.Read(r.t.Context(), r.subject.Path)
	if err != nil || !held.Value.Equal(credential(r.t, password)) {
		r.t.Errorf("the authority holds another value: %v", err)
	}
	entry, err := r.journal.Load(r.t.Context(), r.subject.Path)
	if err != nil || entry.Tombstone == nil || entry.Live != nil || entry.Current == nil || *entry.Current != held.ID {
		r.t.Errorf("got entry %+v, %v, want the tombstone and the version of record", entry, err)
		return
	}
	want := []string{"planned", "verified", "written", "read-back", "tombstoned", "consumed"}
	if diff := cmp.Diff(want, r.log.Steps(entry.Tombstone.Run)); diff != "" {
		r.t.Errorf("steps on record differ:\n%s", diff)
	}
}

func TestHandoverIsOnce(t *testing.T) {
	within(t, func(r *rig) {
		r.run(nil)
		r.wantHandedOver("right")
		before := r.reads
		r.document = credential(t, "edited later")
		for range 3 {
			r.run(nil)
		}
		r.wantHandedOver("right")
		if r.reads != before {
			t.Errorf("the document was decrypted %d times after the handover", r.reads-before)
		}
	})
}

// H2: a wrong value in the document is refused upstream; Git stays authoritative, the authority unchanged.
func TestWrongValueLeavesGitAuthoritative(t *testing.T) {
	within(t, func(r *rig) {
		right := r.document
		r.document = credential(t, "wrong")
		for range 3 {
			r.run(handover.ErrRefused)
			r.wantUntouched()
		}
		r.document = right
		r.run(nil)
		r.wantHandedOver("right")
	})
}

// An admin credential that was sealed field by field was handed over half: what was sealed later had no effect.
func TestHalfOfAValueIsNotHandedOver(t *testing.T) {
	within(t, func(r *rig) {
		whole := r.document
		half, err := secret.Text(map[string]string{upstreammemory.Username: "account"})
		if err != nil {
			t.Fatal(err)
		}
		r.document, r.subject.Upstream = half, nil
		r.subject.Demands = []upstream.Demand{
			{Field: upstream.OneOf{upstreammemory.Password, "key"}, By: "consumer web"}, {Field: upstream.OneOf{upstreammemory.Username}, By: "upstream db"},
			{Field: upstream.OneOf{upstreammemory.Password, "key"}, By: "upstream db"},
		}
		r.run(handover.ErrIncomplete)
		r.wantUntouched()
		want := reason.New(reason.BootstrapIncomplete, reason.Args{"fields": "password or key (needed by consumer web; upstream db)", "seal": "db", "field": "password"})
		err = r.engine.Run(t.Context(), r.subject)
		if held, is := errors.AsType[*reason.Error](err); !is || !held.Reason.Same(want) {
			t.Errorf("got %v, want %+v", err, want)
		}
		r.document = whole
		r.run(nil)
		r.wantHandedOver("right")
		r.document = half
		r.run(nil) // what the document says counts no more
	})
}

func TestSilentUpstreamDecidesNothing(t *testing.T) {
	within(t, func(r *rig) {
		r.account.SetDown(true)
		r.run(handover.ErrUndecided)
		r.wantUntouched()
		r.account.SetDown(false)
		r.run(nil)
		r.wantHandedOver("right")
	})
}

// vault-config-operator PR 315: a value was written over because the path was taken to be the operator's own.
func TestOccupiedPathIsLeftAlone(t *testing.T) {
	within(t, func(r *rig) {
		other := credential(t, "made by hand")
		if _, err := r.store.Write(t.Context(), r.subject.Path, 0, "somebody", other); err != nil {
			t.Fatal(err)
		}
		r.run(handover.ErrOccupied)
		if held, err := r.store.Read(t.Context(), r.subject.Path); err != nil || held.ID.Number != 1 || !held.Value.Equal(other) {
			t.Errorf("the authority holds %s: %v", held.ID, err)
		}
	})
}

// vault-config-operator #131, #339: reconciling wrote the bootstrap password over the rotated one.
func TestRotatedValueIsNeverWrittenOver(t *testing.T) {
	within(t, func(r *rig) {
		r.run(nil)
		rotated := credential(t, "rotated")
		if _, err := r.store.Write(t.Context(), r.subject.Path, 1, "rotation", rotated); err != nil {
			t.Fatal(err)
		}
		for _, lose := range []bool{false, true} {
			if lose { // not even when the value is gone
				if err := r.store.Remove(t.Context(), r.subject.Path); err != nil {
					t.Fatal(err)
				}
			}
			r.run(nil)
			held, err := r.store.Read(t.Context(), r.subject.Path)
			if !lose && (err != nil || !held.Value.Equal(rotated)) || lose && err == nil {
				t.Errorf("value gone: %t: the authority holds %s, %v", lose, held.ID, err)
			}
		}
	})
}

func TestHandoverResumesAfterAFailedWrite(t *testing.T) {
	for name, fail := range map[string]func(*flaky){
		"no effect":  func(f *flaky) { f.fail = true },
		"lost reply": func(f *flaky) { f.lose = true },
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(r *rig) {
				fail(r.store)
				r.run(errFlaky)
				r.run(nil)
				r.wantHandedOver("right")
				if r.runs != 1 {
					t.Errorf("%d runs, want the first to be resumed", r.runs)
				}
			})
		})
	}
}

// A document that is edited while the write of its earlier value may still land waits until it cannot.
func TestEditedDocumentWaitsForTheEarlierWrite(t *testing.T) {
	within(t, func(r *rig) {
		r.subject.Upstream = nil
		r.store.fail = true
		r.run(errFlaky)
		r.document = credential(t, "edited")
		r.run(handover.ErrInFlight)
		r.wantUntouched()
		time.Sleep(31 * time.Second)
		r.run(nil)
		r.wantHandedOver("edited")
	})
}

// A write that is repeated may land late too, whenever the run was planned.
func TestEditedDocumentWaitsForARepeatedWrite(t *testing.T) {
	within(t, func(r *rig) {
		r.store.fail = true
		r.run(errFlaky)
		time.Sleep(time.Hour)
		r.store.late = true
		r.run(errFlaky)
		r.document = credential(t, "edited")
		r.subject.Upstream = nil
		r.run(handover.ErrInFlight)
		time.Sleep(29 * time.Second)
		r.run(handover.ErrInFlight)
		r.store.land()
		r.run(nil)
		r.wantHandedOver("right")
	})
}

// signIns counts the sign-ins that were refused.
type signIns struct {
	*upstreammemory.Upstream
	refused []time.Time
}

func (s *signIns) Verify(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
	verdict, err := s.Upstream.Verify(ctx, v)
	if verdict == upstream.Refused {
		s.refused = append(s.refused, time.Now())
	}
	return verdict, err
}

// A wrong value is tried again and again, by one process after the other, and the account is never locked.
func TestWrongValueLocksNobodyOut(t *testing.T) {
	within(t, func(r *rig) {
		r.lockOut(4, 12*time.Minute) // so one wrong sign-in in four minutes
		counted := r.subject.Upstream.(*signIns)
		right := r.document
		r.document = credential(t, "wrong")
		for i := range 50 {
			if i == 25 {
				r.engine = handover.New(r.engine.Config)
			}
			err := r.engine.Run(r.t.Context(), r.subject)
			if !errors.Is(err, handover.ErrRefused) && (i < 25 || !errors.Is(err, handover.ErrTooSoon)) {
				t.Fatalf("got %v", err)
			}
			if later, says := errors.AsType[*upstream.Later](err); says && (later.After <= 0 || later.After > 4*time.Minute) {
				t.Errorf("the next look is put off by %s", later.After)
			}
			time.Sleep(13 * time.Second)
			r.wantUntouched()
		}
		if len(counted.refused) != 3 { // 0:00, 4:07; the second process at 9:25
			t.Errorf("%d sign-ins were refused: %v", len(counted.refused), counted.refused)
		}
		for i := 1; i < len(counted.refused); i++ {
			if apart := counted.refused[i].Sub(counted.refused[i-1]); apart < 4*time.Minute {
				t.Errorf("two wrong sign-ins are %s apart", apart)
			}
		}
		r.document = right
		time.Sleep(4 * time.Minute)
		r.run(nil)
		r.wantHandedOver("right")
	})
}

// What was accepted counts as no wrong sign-in: a hand-over that is cut off goes on at once, in whichever process.
func TestAcceptedValueIsNotPutOff(t *testing.T) {
	within(t, func(r *rig) {
		r.lockOut(4, 12*time.Minute)
		r.store.fail = true
		r.run(errFlaky)
		r.engine = handover.New(r.engine.Config)
		r.run(nil)
		r.wantHandedOver("right")
	})
}

// lockOut gives the account a limit on wrong sign-ins.
func (r *rig) lockOut(after int, lasts time.Duration) {
	r.t.Helper()
	account, err := upstreammemory.New(upstreammemory.Config{
		Shape: upstreammemory.Overwrite, Clock: time.Now, Random: rand.Reader, LockoutAfter: after, LockoutFor: lasts,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := account.Seed(r.document); err != nil {
		r.t.Fatal(err)
	}
	r.subject.Upstream = &signIns{Upstream: account}
}
