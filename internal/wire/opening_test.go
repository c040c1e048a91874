// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// home is a host whose state folder was made, with an event on record.
func home(t *testing.T) v1alpha1.HostSpec {
	t.Helper()
	c := newCheckout(t)
	c.declare("token")
	host := c.parts.host
	host.Unseal.KeyFile = filepath.Join(t.TempDir(), "unseal.key")
	putFile(t, host.Unseal.KeyFile, []byte(strings.Repeat("ab", 32)))
	p := reopened(t, host)
	err := p.record.Append(t.Context(), audit.Event{Run: "run-1", Step: "clock-confirmed", Workflow: "operation", By: "test", Reason: "test", Result: "ok"})
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	return host
}

func reopened(t testing.TB, host v1alpha1.HostSpec) *parts {
	t.Helper()
	p, err := open(t.Context(), Options{HostFile: "custody.yaml"}, host, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func putFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever keeps a state from being opened names the very next command: some named none, and a torn anchor or seed of the record was
// among them.
func TestWhateverKeepsAStateClosedNamesTheNextCommand(t *testing.T) {
	whole := home(t)
	document := func(key, data string) func(*testing.T, v1alpha1.HostSpec) {
		return func(t *testing.T, host v1alpha1.HostSpec) {
			p := reopened(t, host)
			if err := p.record.Close(); err != nil { // which writes its anchor
				t.Fatal(err)
			}
			held, err := p.store.Get(t.Context(), key)
			if err != nil && key != "recovery" {
				t.Fatal(err)
			}
			_, err = p.store.Put(t.Context(), key, held.Revision, []byte(data))
			if err := errors.Join(err, p.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name, data string) func(*testing.T, v1alpha1.HostSpec) {
		return func(t *testing.T, host v1alpha1.HostSpec) { putFile(t, filepath.Join(host.State, name), []byte(data)) }
	}
	gone := func(name string) func(*testing.T, v1alpha1.HostSpec) {
		return func(t *testing.T, host v1alpha1.HostSpec) {
			if err := os.RemoveAll(filepath.Join(host.State, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := func(name string) func(*testing.T, v1alpha1.HostSpec) {
		return func(t *testing.T, host v1alpha1.HostSpec) {
			gone(name)(t, host)
			if err := os.MkdirAll(filepath.Join(host.State, name, "in"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	aside := "restore the newest copy of STATE/audit while no server runs. If there is none: mv STATE/audit STATE/audit.kept, then start custody"
	for name, test := range map[string]struct {
		damage func(*testing.T, v1alpha1.HostSpec)
		want   string
	}{
		"no unseal key":     {func(t *testing.T, host v1alpha1.HostSpec) { _ = os.Remove(host.Unseal.KeyFile) }, "put the unseal key back from its copy"},
		"a torn unseal key": {func(t *testing.T, host v1alpha1.HostSpec) { putFile(t, host.Unseal.KeyFile, []byte("ab")) }, "put the unseal key back from its copy"},
		"another unseal key": {func(t *testing.T, host v1alpha1.HostSpec) {
			putFile(t, host.Unseal.KeyFile, bytes.Repeat([]byte("c"), 64))
		}, "give the key that it was initialised with, or the root. If the host file names a new key, have the authority take it: " + next.RekeyAuthority()},
		"an open unseal key":    {func(t *testing.T, host v1alpha1.HostSpec) { _ = os.Chmod(host.Unseal.KeyFile, 0o644) }, "chmod 0600 "},
		"a torn database":       {file("authority/authority.db", "torn"), "restore the newest copy of the whole state folder in its place"},
		"no database":           {gone("authority/authority.db"), "put STATE/authority back from its newest copy"},
		"a folder for database": {folder("authority/authority.db"), "restore the newest copy of STATE while no server runs"},
		"a file for authority":  {func(t *testing.T, host v1alpha1.HostSpec) { gone("authority")(t, host); file("authority", "")(t, host) }, "restore the newest copy of STATE while no server runs"},
		"a file for record":     {func(t *testing.T, host v1alpha1.HostSpec) { gone("audit")(t, host); file("audit", "")(t, host) }, "restore the newest copy of STATE while no server runs"},
		"a torn anchor":         {document(anchorKey, "custody.dev/home/prod\n1"), "restore the newest copy of the whole state folder while no server runs"},
		"a torn seed":           {document(seedKey, "torn"), "restore the newest copy of the state folder while no server runs"},
		"a torn acceptance":     {document("recovery", "{"), "restore the newest copy of the state folder while no server runs"},
		"a torn checkpoint":     {file("audit/checkpoint", "custody.dev/home/prod\n1"), aside},
		"no checkpoint":         {gone("audit/checkpoint"), aside},
		"no segment":            {gone("audit/00000001.jsonl"), aside},
		"a torn segment":        {file("audit/00000001.jsonl", `{"schema":1,"ru`), aside},
		"an event of later":     {file("audit/00000001.jsonl", `{"schema":99,"run":"run-1","step":"a","workflow":"b","result":"ok","at":"2030-01-01T00:00:00Z"}`+"\n"), aside},
		"a folder for segment":  {folder("audit/00000001.jsonl"), "restore the newest copy of STATE while no server runs"},
		"a folder for public":   {folder("audit.pub"), "restore the newest copy of STATE while no server runs"},
		"another environment":   {nil, "check which folder and which environment this host is configured with"},
	} {
		t.Run(name, func(t *testing.T) {
			host := whole
			dir := t.TempDir()
			host.State, host.Unseal.KeyFile = filepath.Join(dir, "state"), filepath.Join(dir, "unseal.key")
			if err := os.CopyFS(host.State, os.DirFS(whole.State)); err != nil {
				t.Fatal(err)
			}
			putFile(t, host.Unseal.KeyFile, []byte(strings.Repeat("ab", 32)))
			if test.damage == nil {
				host.Environment = "test"
			} else {
				test.damage(t, host)
			}
			p, err := open(context.Background(), Options{HostFile: "custody.yaml"}, host, false)
			if err == nil {
				_ = p.Close()
				t.Fatal("it opened")
			}
			if got := strings.ReplaceAll(server.Problems(err).Hint, host.State, "STATE"); !strings.Contains(got, test.want) {
				t.Errorf("%v: got %q, want %q", err, got, test.want)
			}
		})
	}
}

// What no file can be made to say in a test.
func TestErrorsOfTheDiskNameTheNextCommand(t *testing.T) {
	p := &parts{host: v1alpha1.HostSpec{State: "/var/lib/custody/state"}}
	for want, is := range map[string]error{
		"chown -R ":           fs.ErrPermission,
		"mount -o remount,rw": syscall.EROFS,
		"dmesg":               syscall.EIO,
		"fuser ":              audit.ErrInUse,
		"newer custody":       audit.ErrNewer,
		"make room":           syscall.ENOSPC,
		"raise the quota":     syscall.EDQUOT,
	} {
		err := p.toOpen(fmt.Errorf("opening: %w", is))
		if got := server.Problems(err).Hint; !strings.Contains(got, want) {
			t.Errorf("%v: got %q, want it to say %q", is, got, want)
		}
	}
}
