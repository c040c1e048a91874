// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire"
)

// overwrite SECRET FIELD FILE is somebody else who writes the first line of FILE over a secret's value, by the host file custody.yaml,
// while no server runs.
func overwrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: overwrite SECRET FIELD FILE")
	}
	host, err := wire.LoadHost(ts.MkAbs("custody.yaml"))
	ts.Check(err)
	key, err := embedded.LoadSealer(embedded.Source{KeyFile: host.Unseal.KeyFile, IdentityFile: host.Unseal.Identity, Getenv: os.Getenv})
	ts.Check(err)
	ctx := context.Background()
	store, err := embedded.Open(ctx, embedded.Config{
		Folder: filepath.Join(host.State, "authority"), Key: key, Clock: time.Now, Random: rand.Reader,
		Platform: host.Platform, Environment: host.Environment,
	})
	ts.Check(err)
	defer func() { ts.Check(store.Close()) }()
	text, _, _ := strings.Cut(ts.ReadFile(args[2]), "\n")
	v, err := secret.Text(map[string]string{args[1]: text})
	ts.Check(err)
	entries, err := journal.New(store).All(ctx)
	ts.Check(err)
	for _, entry := range entries {
		if entry.Secret == args[0] {
			held, err := store.Read(ctx, entry.Path)
			ts.Check(err)
			_, err = store.Write(ctx, entry.Path, held.ID.Number, "somebody", v)
			ts.Check(err)
			return
		}
	}
	ts.Fatalf("no secret is called %s", args[0])
}
