// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"strings"
	"testing"
	"time"
)

// That the state was put back from a backup is known until a person accepts it, and to nobody afterwards.
func TestAcceptanceEndsThatTheStateWasRestored(t *testing.T) {
	w := newWorld(t)
	restored := Restored{Backup: "custody.shop.production.age", Made: time.Unix(1, 0), Events: 4, At: time.Unix(2, 0)}
	note, err := restored.Document()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Put(t.Context(), note.Key, 0, note.Data); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		found, err := RestoredFrom(t.Context(), w.store)
		if err != nil || found.Backup != restored.Backup || !strings.Contains(found.String(), "1970-01-01T00:00:01Z") {
			t.Errorf("before: %+v, %v", found, err)
		}
		if _, err := w.accept(&crash{}, accepts{}, dry); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := RestoredFrom(t.Context(), w.store); err != nil || found.String() != "" {
		t.Errorf("after: %+v, %v", found, err)
	}
	if _, err := w.store.Put(t.Context(), note.Key, 0, []byte(`{"schema":9}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoredFrom(t.Context(), w.store); err == nil {
		t.Error("a note of a newer custody is taken for none")
	}
}
