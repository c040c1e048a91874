// SPDX-License-Identifier: Apache-2.0

package outward_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/secret"
)

// stuckDisk takes changes only once it is released, whatever their context says.
type stuckDisk struct {
	*authoritymemory.Store
	release chan struct{}
}

func (s stuckDisk) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	<-s.release
	return s.Store.Write(context.WithoutCancel(ctx), path, base, run, v)
}

// A disk that hangs is an error within a bound, leaves questions answered, and what it takes late is what was to be written.
func TestStuckAuthorityIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		disk := stuckDisk{authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: time.Now}), make(chan struct{})}
		store := outward.NewStore(disk, calls)
		v, err := secret.Text(map[string]string{"key": "value"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := store.Write(t.Context(), "app/a", 0, "run", v); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if _, err := store.Write(t.Context(), "app/b", 0, "run", v); !errors.Is(err, outward.ErrNotBegun) {
			t.Errorf("a second change beside it: %v", err)
		}
		if _, err := store.Read(t.Context(), "app/a"); !errors.Is(err, authority.ErrNotFound) {
			t.Errorf("a question beside it: %v", err)
		}
		close(disk.release)
		synctest.Wait()
		if id, err := store.Write(t.Context(), "app/a", 0, "run", v); err != nil || id.Number != 1 {
			t.Errorf("the same change once more: %s, %v", id, err)
		}
	})
}
