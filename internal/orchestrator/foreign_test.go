// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// overwrite has somebody else make a credential at the first account, unless it is to be refused there, and write it to the path.
func (r *rig) overwrite(key string, honoured bool) secret.Value {
	r.t.Helper()
	v, err := secret.Text(map[string]string{upstreammemory.Key: key})
	if err == nil && honoured {
		err = r.accounts[0].Seed(v)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.store.Write(r.t.Context(), "app/s0", r.held().ID.Number, "somebody", v); err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rig) held() authority.Versioned {
	r.t.Helper()
	held, err := r.store.Read(r.t.Context(), "app/s0")
	if err != nil {
		r.t.Fatal(err)
	}
	return held
}

// The finding of somebody else's write named no way out, and none was there.
func TestFindingOfSomebodyElsesWriteNamesBothExits(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Minute)
		r.overwrite("somebody", true)
		process.WakeAll()
		r.pass(process, time.Minute)
		waiting := process.States()["app/s0"].Waiting
		if !waiting.Is(reason.ValueForeign) {
			t.Fatalf("it waits because of %+v", waiting)
		}
		commands := strings.Join(waiting.Commands(), "\n")
		if want := "custody adopt-value s0 --reason TEXT\ncustody revert s0 --reason TEXT"; commands != want {
			t.Errorf("got commands\n%s\nwant\n%s", commands, want)
		}
		if !strings.Contains(waiting.Text(), "version "+r.held().ID.String()) {
			t.Errorf("%q does not say which version was found", waiting.Text())
		}
	})
}

// A policy that says so decides without a person, once an hour: somebody who writes on and on is shown to one.
func TestPolicyDecidesAboutSomebodyElsesWrite(t *testing.T) {
	for choice, honoured := range map[string]bool{rotation.Adopted: true, rotation.Reverted: false} {
		t.Run(choice, func(t *testing.T) {
			estate(t, 1, func(r *rig) {
				r.secrets[0].Policy.OnForeignWrite = choice
				process := r.start()
				r.pass(process, time.Minute)
				managed := r.held().Value
				first := r.overwrite("first", honoured)
				process.WakeAll()
				r.pass(process, 10*time.Minute)
				want := managed
				if choice == rotation.Adopted {
					want = first
				}
				if held := r.held(); held.ID.Number != 3 || !held.Value.Equal(want) {
					t.Fatalf("the value is version %s, want the third with the %s value", held.ID, choice)
				}
				if running, _ := r.consumers[0].Running(); running != r.held().ID {
					t.Errorf("the consumer runs on %s", running)
				}
				r.overwrite("second", honoured)
				process.WakeAll()
				r.pass(process, 10*time.Minute)
				waiting := process.States()["app/s0"].Waiting
				if held := r.held(); held.ID.Number != 4 || !waiting.Is(reason.ValueForeign) || !strings.Contains(waiting.Cause, "it decides once an hour") {
					t.Fatalf("the value is version %s, and it waits because of %+v", held.ID, waiting)
				}
				r.pass(process, time.Hour)
				if held := r.held(); held.ID.Number != 5 {
					t.Errorf("after an hour the value is version %s, want the fifth", held.ID)
				}
			})
		})
	}
}

// A policy that adopts takes nothing that its upstream refuses: a person is told why.
func TestPolicyAdoptsNothingThatIsRefused(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.OnForeignWrite = rotation.Adopted
		process := r.start()
		r.pass(process, time.Minute)
		r.overwrite("refused", false)
		process.WakeAll()
		r.pass(process, time.Minute)
		waiting := process.States()["app/s0"].Waiting
		if held := r.held(); held.ID.Number != 2 || !waiting.Is(reason.ValueForeign) || !strings.Contains(waiting.Cause, "the upstream refuses it") {
			t.Errorf("the value is version %s, and it waits because of %+v", held.ID, waiting)
		}
		if _, err := process.DecideForeign(r.t.Context(), "app/s0", rotation.Reverted, "me", "a mistake"); err != nil {
			t.Fatal(err)
		}
		r.pass(process, 10*time.Minute)
		if held, state := r.held(), process.States()["app/s0"]; held.ID.Number != 3 || !state.Waiting.None() {
			t.Errorf("the value is version %s, and it waits because of %+v", held.ID, state.Waiting)
		}
	})
}
