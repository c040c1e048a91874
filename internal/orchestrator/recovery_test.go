// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
)

// After an older state was accepted, what is left to a person is not delivered and starts by no clock; their request ends
// it. What is to be replaced by itself is.
func TestWhatIsRecoveredWaitsForWhoItSays(t *testing.T) {
	for code, want := range map[reason.Code]string{reason.RecoveryRotates: "[1]", reason.RecoveryReplaces: "[2]"} {
		estate(t, 1, func(r *rig) {
			r.pass(r.start(), time.Hour)
			entries := journal.New(r.store)
			entry, err := entries.Load(r.t.Context(), r.secrets[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			held, err := r.store.Read(r.t.Context(), r.secrets[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			newer := held
			newer.ID = authority.VersionID{Incarnation: "lost", Run: "lost", Number: 9}
			if err := r.consumers[0].Deliver(r.t.Context(), newer); err != nil {
				t.Fatal(err)
			}
			entry.Recovery = &journal.Recovery{Run: "accepted", Version: entry.Current, Reason: reason.New(code, nil).Because("its upstream refuses it")}
			if err := entries.Save(r.t.Context(), entry); err != nil {
				t.Fatal(err)
			}
			process := r.start()
			r.pass(process, 5*time.Hour)
			if code != reason.RecoveryReplaces {
				r.pass(process, 10*day) // its lifetime is two
				if waiting := process.States()[r.secrets[0].Path].Waiting; !waiting.Is(code) {
					t.Errorf("it waits because of %+v", waiting)
				}
				if given, _, _ := r.consumers[0].Given(r.t.Context(), r.secrets[0].Path); given != newer.ID {
					t.Errorf("the consumer was given %s over what is newer", given)
				}
			}
			if got := r.versions(); got != want {
				t.Errorf("values are at versions %s, want %s", got, want)
			}
			if code == reason.RecoveryReplaces {
				return
			}
			r.askFirst("asked")
			r.pass(process, time.Hour)
			r.wantVersions(2)
			if given, _, _ := r.consumers[0].Given(r.t.Context(), r.secrets[0].Path); given.Number != 2 {
				t.Errorf("the consumer was given %s, want version 2", given)
			}
		})
	}
}

// A due secret that waited for its window said nothing of it.
func TestWaitForTheWindowIsSaid(t *testing.T) {
	estate(t, 1, func(r *rig) {
		r.secrets[0].Policy.Windows = []journal.Window{{Start: 3 * time.Hour, Duration: time.Hour, Zone: "UTC"}}
		process := r.start()
		r.pass(process, day+time.Hour) // it is due after a day, before the window
		state := process.States()[r.secrets[0].Path]
		opens := time.Now().UTC().Truncate(day).Add(3 * time.Hour).Format(time.RFC3339)
		if !state.Waiting.Is(reason.MaintenanceWindow) || state.Waiting.Until.UTC().Format(time.RFC3339) != opens {
			t.Errorf("it waits because of %+v, want the window that opens %s", state.Waiting, opens)
		}
		r.wantVersions(1)
		r.pass(process, day)
		r.wantVersions(2)
		if waiting := process.States()[r.secrets[0].Path].Waiting; !waiting.None() {
			t.Errorf("after its run it waits because of %+v", waiting)
		}
	})
}
