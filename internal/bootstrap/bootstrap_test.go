// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/bootstrap"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/root/sops"
	"custody.dev/custody/internal/secret"
)

const platform = "example"

var codec = sops.Codec{Now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }, Random: rand.Reader}

func newIdentity(t testing.TB) root.Identity {
	t.Helper()
	id, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func binding(secretName string) v1alpha1.Binding {
	return v1alpha1.Binding{Platform: platform, Secret: secretName, Path: "shop/" + secretName, Namespace: "shop"}
}

func value(t testing.TB, of string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{"username": of, "password": "canary-" + of})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func seal(t testing.TB, id root.Identity, bound v1alpha1.Binding) []byte {
	t.Helper()
	raw, err := codec.Seal(t.Context(), root.Document{
		Name: bound.Secret + "-bootstrap", Seeds: bound.Secret, Binding: bound, Value: value(t, bound.Secret),
	}, []string{id.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decryptor(ids ...root.Identity) *bootstrap.Decryptor {
	return bootstrap.New(bootstrap.Config{Open: codec, Identities: ids, Platform: platform})
}

// refused wants an error of the class, with a hint, without a value in it or beside it.
func refused(t *testing.T, v secret.Value, err, class error, says ...string) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Fatalf("got %v, want %v", err, class)
	}
	hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok || hinted.Hint() == "" {
		t.Errorf("%v does not say what to do", err)
	}
	if !v.Empty() {
		t.Error("a value came with the error")
	}
	if strings.Contains(fmt.Sprintf("%v %+v", err, hinted), "canary") {
		t.Error("the error holds a value")
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func part(t testing.TB, raw []byte, pattern string) []byte {
	t.Helper()
	found := regexp.MustCompile(pattern).Find(raw)
	if found == nil {
		t.Fatalf("%s does not occur in\n%s", pattern, raw)
	}
	return found
}

func TestRead(t *testing.T) {
	id := newIdentity(t)
	orders, billing := seal(t, id, binding("orders-db")), seal(t, id, binding("billing-db"))
	const data, metadata = `(?s)data:\n.*?\nkind:`, `(?s)sops:\n.*?\nspec:`
	copied := bytes.Replace(billing, part(t, billing, data), part(t, orders, data), 1)
	whole := bytes.Replace(copied, part(t, copied, metadata), part(t, orders, metadata), 1)
	elsewhere := binding("orders-db")
	elsewhere.Namespace = "staging"
	moved, nowhere := binding("orders-db"), binding("orders-db")
	moved.Path, nowhere.Path = "shop/orders", ""
	for name, c := range map[string]struct {
		raw   []byte
		want  v1alpha1.Binding
		class error
		says  []string
	}{
		"at home":                       {raw: orders, want: binding("orders-db")},
		"platform left to the process":  {raw: orders, want: v1alpha1.Binding{Secret: "orders-db", Path: "shop/orders-db", Namespace: "shop"}},
		"renamed file":                  {orders, binding("billing-db"), bootstrap.ErrBinding, []string{"orders-db", "billing-db"}},
		"data copied":                   {copied, binding("billing-db"), root.ErrTampered, nil},
		"data and its key copied":       {whole, binding("billing-db"), bootstrap.ErrBinding, []string{"sealed for secret orders-db", "stands in secret billing-db"}},
		"copied, asked for as before":   {whole, binding("orders-db"), bootstrap.ErrBinding, []string{"seeds billing-db", "sealed for orders-db"}},
		"another namespace":             {orders, elsewhere, bootstrap.ErrBinding, []string{"namespace shop", "namespace staging"}},
		"no namespace":                  {orders, v1alpha1.Binding{Platform: platform, Secret: "orders-db", Path: "shop/orders-db"}, bootstrap.ErrBinding, []string{"namespace shop"}},
		"another platform's document":   {seal(t, id, v1alpha1.Binding{Platform: "other", Secret: "orders-db", Path: "shop/orders-db", Namespace: "shop"}), binding("orders-db"), bootstrap.ErrBinding, []string{"platform other", "platform example"}},
		"asked for as another platform": {orders, v1alpha1.Binding{Platform: "other", Secret: "orders-db", Path: "shop/orders-db", Namespace: "shop"}, bootstrap.ErrBinding, []string{"platform other", "platform example"}},
		"another path":                  {orders, moved, bootstrap.ErrBinding, []string{"path shop/orders-db", "path shop/orders, namespace"}},
		"asked for without a path":      {orders, nowhere, bootstrap.ErrBinding, nil},
		"asked for nothing":             {orders, v1alpha1.Binding{Platform: platform}, bootstrap.ErrBinding, nil},
		"another's key":                 {seal(t, newIdentity(t), binding("orders-db")), binding("orders-db"), root.ErrWrongKey, []string{id.Public()}},
		"empty":                         {nil, binding("orders-db"), root.ErrMalformed, []string{"empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decryptor(id).Read(t.Context(), c.raw, c.want)
			if c.class != nil {
				refused(t, got, err, c.class, c.says...)
				return
			}
			if err != nil || !got.Equal(value(t, "orders-db")) {
				t.Errorf("got %v, %v", got.Names(), err)
			}
		})
	}
}

func TestReadAfterTheIdentityIsRetired(t *testing.T) {
	id := newIdentity(t)
	got, err := decryptor().Read(t.Context(), seal(t, id, binding("orders-db")), binding("orders-db"))
	refused(t, got, err, bootstrap.ErrNoIdentity, "orders-db")
}

// opened stands in for documents that sops.Codec would not have sealed.
type opened struct{ doc root.Document }

func (o opened) Open(context.Context, []byte, []root.Identity) (root.Document, error) {
	return o.doc, nil
}

func TestReadRefusesWhatNoSecretMayHold(t *testing.T) {
	huge, err := secret.New(map[string][]byte{"value": bytes.Repeat([]byte("x"), secret.MaxBytes)})
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]secret.Value{"too large": huge, "empty": {}} {
		d := bootstrap.New(bootstrap.Config{
			Open:       opened{root.Document{Name: "x", Seeds: "orders-db", Binding: binding("orders-db"), Value: v}},
			Identities: []root.Identity{newIdentity(t)}, Platform: platform,
		})
		if got, err := d.Read(t.Context(), nil, binding("orders-db")); err == nil || !got.Empty() {
			t.Errorf("%s: read", name)
		}
	}
}

func TestReadOfACancelledContext(t *testing.T) {
	id := newIdentity(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := decryptor(id).Read(ctx, seal(t, id, binding("orders-db")), binding("orders-db")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// folder looks documents up as files, the way an estate on a host does.
func folder(dir string) bootstrap.Lookup {
	return func(_ context.Context, name string) (bootstrap.Found, error) {
		raw, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
		return bootstrap.Found{Raw: raw, Namespace: "shop", Path: "shop/" + name}, err
	}
}

func TestValueOfAFileThatChangesUnderUs(t *testing.T) {
	id, dir := newIdentity(t), t.TempDir()
	path := filepath.Join(dir, "orders-db.yaml")
	raw := seal(t, id, binding("orders-db"))
	source := decryptor(id).Source(folder(dir))
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(raw)
	if got, err := source.Value(t.Context(), "orders-db"); err != nil || !got.Equal(value(t, "orders-db")) {
		t.Fatalf("got %v, %v", got.Names(), err)
	}
	for at := 0; at < len(raw)-1; at++ {
		if at%64 != 0 && at < len(raw)-64 {
			continue
		}
		write(raw[:at])
		if got, err := source.Value(t.Context(), "orders-db"); err == nil || !got.Empty() {
			t.Errorf("cut at %d of %d: read", at, len(raw))
		}
	}
	write(seal(t, id, binding("billing-db")))
	got, err := source.Value(t.Context(), "orders-db")
	refused(t, got, err, bootstrap.ErrBinding)
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Value(t.Context(), "orders-db"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "orders-db") {
		t.Errorf("moved away: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("reading left %d files (%v)", len(entries), err)
	}
}

// Whatever stands at this place, put together from the documents of the estate: the value that was sealed for it, or none.
func TestReadOfShuffledDocuments(t *testing.T) {
	id := newIdentity(t)
	want := value(t, "orders-db")
	lines := bytes.SplitAfter(seal(t, id, binding("orders-db")), []byte("\n"))
	others := bytes.SplitAfter(seal(t, id, binding("billing-db")), []byte("\n"))
	rapid.Check(t, func(r *rapid.T) {
		mixed := slices.Clone(others)
		if len(lines) != len(others) {
			r.Fatalf("documents of %d and %d lines cannot be mixed line by line", len(lines), len(others))
		}
		begin := rapid.IntRange(0, len(lines)).Draw(r, "begin")
		copy(mixed[begin:], lines[begin:rapid.IntRange(begin, len(lines)).Draw(r, "end")])
		got, err := decryptor(id).Read(context.Background(), bytes.Join(mixed, nil), binding("orders-db"))
		if err == nil && !got.Equal(want) || err != nil && !got.Empty() {
			r.Fatal("another value")
		}
	})
}
