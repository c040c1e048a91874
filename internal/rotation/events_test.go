// SPDX-License-Identifier: Apache-2.0

package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/materialize"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/rotation"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// Events of a rotation carried neither the version that they are about nor the consumers that have it.
func TestEventsOfARunNameVersionAndConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := spied(t, upstreammemory.Config{Shape: upstreammemory.Dual})
		for _, name := range []string{"web", "worker"} {
			consumer := materializememory.New(materializememory.Config{Name: name, Clock: time.Now})
			r.subject.Consumers = append(r.subject.Consumers, rotation.Consumer{Consumer: consumer, Needs: materialize.Rolled})
		}
		id := r.plan(t)
		r.finish(t, r.subject)
		promoted := r.value(t).ID
		var steps []string
		for event, err := range r.Record.(*auditmemory.Log).Events(t.Context(), audit.Filter{Run: id}) {
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, event.Step)
			after := slices.Contains([]string{"promoted", "delivered", "revoked", "completed"}, event.Step)
			if (event.Version != nil) != after || after && *event.Version != promoted {
				t.Errorf("%s is of version %v, want %s from promoted on", event.Step, event.Version, promoted)
			}
			for _, proof := range []string{"web: rolled", "worker: rolled"} {
				if event.Step == "delivered" && !strings.Contains(event.Detail, proof) {
					t.Errorf("delivered says %q, want %q in it", event.Detail, proof)
				}
			}
		}
		if want := []string{"planned", "staged", "applied", "verified", "promoted", "delivered", "revoked", "completed"}; !slices.Equal(steps, want) {
			t.Errorf("on record are %v, want %v", steps, want)
		}
	})
}
