// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// withSchema fabricates a closed authority of another schema, holding one value.
func withSchema(t *testing.T, schema string) Config {
	t.Helper()
	config := initialised(t)
	s := mustOpen(t, config)
	mustWrite(t, s, "a", 0, text(t, "kept"))
	if err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, []byte(schema)) }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	return config
}

func TestSchemaIsRefused(t *testing.T) {
	for _, test := range []struct {
		schema string
		want   error
		parts  []string
	}{
		{"3", ErrSchema, []string{"schema 3", "up to 2"}},
		{"1", ErrSchema, []string{"schema 1", "at 2", "no migration"}},
		{"0", ErrSchema, []string{"schema 0", "at 2", "no migration"}},
		{"", ErrCorrupt, nil},
		{"-1", ErrCorrupt, nil},
		{"one", ErrCorrupt, nil},
	} {
		config := withSchema(t, test.schema)
		before, _ := os.ReadFile(filepath.Join(config.Folder, databaseFile))
		_, err := Open(t.Context(), config)
		wantErr(t, err, test.want, test.parts...)
		if hintOf(err) == "" {
			t.Errorf("schema %q: no hint", test.schema)
		}
		if after, _ := os.ReadFile(filepath.Join(config.Folder, databaseFile)); string(after) != string(before) {
			t.Errorf("schema %q: the refusal changed the file", test.schema)
		}
	}
}

func TestMigrationExportsFirst(t *testing.T) {
	config := withSchema(t, "1")
	failing := errors.New("half-way")
	copied := filepath.Join(config.Folder, "authority.schema-1.db")
	config.migrations = map[int]migration{1: func(tx *bolt.Tx) error {
		if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("no private copy before the migration: %v, %v", info, err)
		}
		if err := tx.Bucket(metaBucket).Put([]byte("trace"), []byte("x")); err != nil {
			return err
		}
		return failing
	}}
	_, err := Open(t.Context(), config)
	wantErr(t, err, failing, "from schema 1 to 2")

	ran := 0
	config.migrations = map[int]migration{1: func(tx *bolt.Tx) error {
		if ran++; tx.Bucket(metaBucket).Get([]byte("trace")) != nil {
			t.Error("the failed migration left a trace")
		}
		return nil
	}}
	s := mustOpen(t, config)
	got, err := s.Read(t.Context(), "a")
	if err != nil || !got.Value.Equal(text(t, "kept")) {
		t.Errorf("Read after the migration: %v", err)
	}
	mustClose(t, s)
	mustOpen(t, config)
	if ran != 1 {
		t.Errorf("the migration ran %d times, want 1", ran)
	}

	// The copy is the authority as it was: in a folder of its own, with an older program, it opens.
	elsewhere := configWithFile(t, config, copied)
	_, err = Open(t.Context(), elsewhere)
	wantErr(t, err, ErrSchema, "schema 1")
}

func configWithFile(t *testing.T, config Config, database string) Config {
	t.Helper()
	content, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	config.Folder, config.migrations = t.TempDir(), nil
	if err := os.WriteFile(filepath.Join(config.Folder, databaseFile), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}
