// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/root"
)

// Updating recipients is not rotating the data key (sops #901): who was removed opens nothing that was sealed anew, not even with the data
// key of before, and what was sealed is as it was.
func TestRemovedRootOpensNoDocument(t *testing.T) {
	dir := estate(t, "one", "two")
	folder := filepath.Join(dir, "estate")
	for _, name := range []string{"one", "two"} {
		if _, err := Seal(t.Context(), config(), Sealing{Estate: folder, Secret: name, Value: sealedField(t, "value", "canary-"+name)}); err != nil {
			t.Fatal(err)
		}
	}
	old := keys(t, dir, "root")
	present, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	content := func() map[string][]byte {
		found := map[string][]byte{}
		for _, name := range []string{"one", "two"} {
			data, err := os.ReadFile(filepath.Join(folder, "bootstrap", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			found[name] = data
		}
		return found
	}
	before := content()
	r := Rekeying{Estate: folder, Identities: old, Removed: old}
	if _, err := Rekey(t.Context(), config(), r); err == nil || !strings.Contains(err.Error(), "still a recipient") {
		t.Errorf("a root that the estate still names is removed: %v", err)
	}
	file := filepath.Join(folder, "platform.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(text, []byte(old[0].Public()), []byte(present.Public()))
	if bytes.Equal(text, changed) {
		t.Fatal("the Platform document does not name the root")
	}
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	stranger, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rekey(t.Context(), config(), Rekeying{Estate: folder, Identities: []root.Identity{stranger}}); !errors.Is(err, root.ErrWrongKey) {
		t.Errorf("with an identity that opens nothing: %v", err)
	}
	r.Dry = true
	if done, err := Rekey(t.Context(), config(), r); err != nil || len(done) != 2 {
		t.Fatalf("dry: %v, %v", done, err)
	}
	for name, data := range content() {
		if !bytes.Equal(data, before[name]) {
			t.Errorf("%s was changed before all were made", name)
		}
	}
	r.Dry = false
	done, err := Rekey(t.Context(), config(), r)
	if err != nil || len(done) != 2 {
		t.Fatalf("%v, %v", done, err)
	}
	if len(done[0].Gone) != 1 || done[0].Gone[0] != old[0].Public() {
		t.Errorf("no longer for %v", done[0].Gone)
	}
	for name, data := range content() {
		if _, err := config().Codec.Open(t.Context(), data, old); !errors.Is(err, root.ErrWrongKey) {
			t.Errorf("%s: the removed root opens it: %v", name, err)
		}
		for _, id := range []root.Identity{present, keys(t, dir, "bootstrap")[0]} {
			doc, err := config().Codec.Open(t.Context(), data, []root.Identity{id})
			if err != nil || doc.Value.ExposeText("value") != "canary-"+name {
				t.Errorf("%s: it is not what was sealed: %v", name, err)
			}
		}
		if bytes.Contains(data, []byte("canary")) {
			t.Errorf("%s holds the value in clear", name)
		}
	}
	r.Identities = []root.Identity{present}
	if _, err := Rekey(t.Context(), config(), r); err != nil {
		t.Errorf("again, with the present root: %v", err)
	}
}
