// SPDX-License-Identifier: Apache-2.0

package authoritytest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// RunDurable shows that what a store acknowledged is there when it is opened again. openAt opens the store kept in
// dir, making it there the first time, and returns how to close it.
func RunDurable(t *testing.T, openAt func(t *testing.T, dir string) (s authority.Store, closeStore func())) {
	dir := t.TempDir()
	s, closeStore := openAt(t, dir)
	incarnation := s.Incarnation()
	digest := bytes.Clone(digestKey(t, s, path))
	kept := map[authority.Path]authority.VersionID{}
	values := map[authority.Path]secret.Value{}
	reopen := func() {
		t.Helper()
		closeStore()
		s, closeStore = openAt(t, dir)
		if got := s.Incarnation(); got != incarnation {
			t.Fatalf("Incarnation after reopening = %s, want %s", got, incarnation)
		}
	}
	for round := range 5 {
		for n := range 10 {
			p := authority.Path(fmt.Sprintf("round/%d", n))
			v := value(t, fmt.Sprintf("round %d value %d", round, n))
			kept[p], values[p] = write(t, s, p, authority.Version(round), authority.RunID(fmt.Sprintf("run-%d", round)), v), v
		}
		put(t, s, "journal/a", authority.Revision(round), fmt.Sprintf("round %d", round))
		reopen()
		for p, id := range kept {
			wantVersion(t, s, p, id, values[p], true)
			if again := write(t, s, p, authority.Version(round), id.Run, values[p]); again != id {
				t.Errorf("repeated Write after reopening = %s, want %s", again, id)
			}
		}
		wantDocument(t, s, "journal/a", authority.Revision(round+1), fmt.Sprintf("round %d", round))
		if !bytes.Equal(digestKey(t, s, path), digest) {
			t.Fatal("the digest key changed with reopening")
		}
	}

	if err := errors.Join(s.Destroy(t.Context(), "round/0", 5), s.Delete(t.Context(), "journal/a", 5)); err != nil {
		t.Fatal(err)
	}
	reopen()
	_, err := s.Read(t.Context(), "round/0")
	wantErr(t, "Read of what was destroyed", err, authority.ErrNotFound)
	_, err = s.Write(t.Context(), "round/0", 4, "run-9", value(t, "nine"))
	wantErr(t, "Write below what was destroyed", err, authority.ErrConflict)
	write(t, s, "round/0", 5, "run-9", value(t, "nine"))
	_, err = s.Get(t.Context(), "journal/a")
	wantErr(t, "Get of what was deleted", err, authority.ErrNotFound)
	wantVersion(t, s, "round/2", kept["round/2"], values["round/2"], true)
	closeStore()
}
