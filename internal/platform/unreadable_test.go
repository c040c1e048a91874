// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"slices"
	"testing"
	"testing/synctest"

	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// One journal entry that could not be decoded, be it torn or of a newer schema, stopped every secret.
func TestUndecodableRecordHoldsItsSecretAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := questioned(t)
		p.Serving()
		p.tick(t)
		damage(t, store, "app/token")
		value, err := store.Read(t.Context(), "app/token")
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"key", "token"} { // the damaged one's waits
			if _, err := p.Rotate(t.Context(), "me", server.RotateRequest{ID: "again-" + secret, Secret: secret, Reason: "test"}); err != nil && secret == "key" {
				t.Fatal(err)
			}
		}
		p.tick(t)
		rotated, err := store.Read(t.Context(), "app/key")
		if err != nil || rotated.ID.Number != 2 {
			t.Errorf("the other secret is at %s, %v; want it rotated", rotated.ID, err)
		}
		if now, err := store.Read(t.Context(), "app/token"); err != nil || now.ID != value.ID {
			t.Errorf("the secret whose entry cannot be read is at %s, %v; want it left at %s", now.ID, err, value.ID)
		}
		status, err := p.Status(t.Context(), server.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(status.Findings, func(f server.Finding) bool { return f.Secret == "token" && f.Is(reason.JournalUnreadable) }) {
			t.Errorf("no finding about it: %+v", status.Findings)
		}
		if got := p.states(t, server.Filter{}); got["key"] != "steady" {
			t.Errorf("states are %v", got)
		}
	})
}
