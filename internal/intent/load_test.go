// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/wire/kinds"
)

// good loads the good estate for an environment, with its host.
func good(t *testing.T, dir string, options Options) *Estate {
	t.Helper()
	options.Types = kinds.Upstreams()
	estate, faults, err := Load(filepath.Join(dir, "estate"), options)
	if err != nil || len(faults) > 0 {
		t.Fatalf("loading the good estate: %v %v", err, faults)
	}
	return estate
}

func TestGoodEstate(t *testing.T) {
	dir := newStage(t).set(t, "testdata/good")
	host, faults, err := LoadHost(filepath.Join(dir, "host.yaml"))
	if err != nil || len(faults) > 0 {
		t.Fatalf("loading the good host: %v %v", err, faults)
	}
	e := good(t, dir, Options{Environment: "prod", Host: &host.Spec})
	if diff := cmp.Diff([]string{"app-db", "app-signing", "db-admin"}, e.SecretNames()); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"db-admin", "app-db", "app-signing"}, e.Order()); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	app := e.Secrets["app-db"]
	if want := time.Date(2031, 1, 30, 23, 0, 0, 0, time.UTC); !app.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, want %v", app.ExpiresAt, want)
	}
	if diff := cmp.Diff([]string{"app_a", "app_b"}, v1alpha1.Of[postgres.AccountSpec](app.Spec.Rotation.Account, "postgres").Users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if got := app.Spec.Origin.Generated; got.Length != 32 || got.Field != "value" {
		t.Errorf("generated %+v, want the defaults", got)
	}
	if got := []materialize.Level{app.Consumers[0].Needs, app.Consumers[1].Needs}; !slices.Equal(got, []materialize.Level{materialize.Observed, materialize.None}) {
		t.Errorf("needs %v", got)
	}
	if got := app.Consumers[0].File.Mode; got != "0600" {
		t.Errorf("mode %q", got)
	}
	if app.Source.File != "apps/app.yaml" || app.Source.Line != 1 || app.Spec.Environments != nil {
		t.Errorf("source %+v, environments %v", app.Source, app.Spec.Environments)
	}
	upstream, ok := e.UpstreamOf(app)
	if !ok || v1alpha1.Of[postgres.ServerSpec](upstream.Spec.Server, "postgres").Port != 5432 || v1alpha1.Of[postgres.ServerSpec](upstream.Spec.Server, "postgres").Database != "postgres" {
		t.Errorf("upstream %+v", upstream)
	}
	admin, ok := e.AdminOf(upstream)
	if !ok || admin.Name != "db-admin" || !slices.Equal(e.Opens("db-admin"), []string{"db"}) {
		t.Errorf("admin %+v", admin)
	}
	bootstrap, ok := e.BootstrapOf(admin)
	if !ok || bootstrap.Name != "admin-seed" {
		t.Fatalf("bootstrap %+v", bootstrap)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "estate", bootstrap.Source.File))
	if err != nil || !bytes.Equal(raw, bootstrap.Raw) {
		t.Errorf("the raw document differs from its file (%v)", err)
	}
	if s, ok := e.ByName("application-db"); !ok || s != app {
		t.Error("the former name does not lead to the secret")
	}
	if !e.RotatedHere(app) || e.RotatedHere(e.Secrets["app-signing"]) || !e.RotatedHere(admin) {
		t.Error("RotatedHere is wrong in prod")
	}
	if got := e.PolicyOf(e.Secrets["app-signing"]); got.Type != Static || !got.RevokeOld {
		t.Errorf("policy of a secret without rotation %+v", got)
	}
	if got := e.Platform.Spec.Rotation.MaxTimedRunsPerHour; got != 20 {
		t.Errorf("limit %d", got)
	}
}

func TestOverrideIsMerged(t *testing.T) {
	dir := newStage(t).set(t, "testdata/good")
	prod := good(t, dir, Options{Environment: "prod"})
	dev := good(t, dir, Options{Environment: "dev"})
	app := dev.Secrets["app-db"]
	if !app.ExpiresAt.IsZero() || len(app.Consumers) != 1 || app.Consumers[0].File.Path != "dev.env" {
		t.Errorf("the override for dev does not hold: %+v", app)
	}
	if app.Spec.Rotation.PolicyRef != "never" || v1alpha1.Of[postgres.AccountSpec](app.Spec.Rotation.Account, "postgres").Owner != "app" {
		t.Errorf("the rotation is not merged: %+v", app.Spec.Rotation)
	}
	if dev.RotatedHere(app) {
		t.Error("dev rotates what prod rotates")
	}
	if got := prod.Secrets["app-db"].Consumers; len(got) != 2 {
		t.Errorf("the override for dev holds in prod: %+v", got)
	}
	if prod.Digest != dev.Digest {
		t.Error("the digest depends on the environment")
	}
}

func TestDigestFollowsDocumentsAlone(t *testing.T) {
	dir := newStage(t).set(t, "testdata/good")
	before := good(t, dir, Options{}).Digest
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(dir, "estate", from), filepath.Join(dir, "estate", to)); err != nil {
			t.Fatal(err)
		}
	}
	move("apps/app.yaml", "zz.yml")
	if got := good(t, dir, Options{}).Digest; got != before {
		t.Error("the digest changed with a file's name")
	}
	file := filepath.Join(dir, "estate", "zz.yml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		name, from, to string
		same           bool
	}{
		{"comment", "apiVersion", "# a comment\napiVersion", true},
		{"purpose", "sign in", "log in", false},
		{"override", "dev.env", "env.dev", false},
	} {
		if err := os.WriteFile(file, bytes.Replace(text, []byte(change.from), []byte(change.to), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := good(t, dir, Options{}).Digest; (got == before) != change.same {
			t.Errorf("%s: same digest %v, want %v", change.name, got == before, change.same)
		}
	}
}

func TestPrivilegedHostMaySetOwners(t *testing.T) {
	dir := newStage(t).set(t, "testdata/broken/file-owner")
	host, _, err := LoadHost(filepath.Join(dir, "host.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, faults, err := Load(filepath.Join(dir, "estate"), Options{Types: kinds.Upstreams(), Environment: "prod", Host: &host.Spec, Privileged: true})
	if err != nil || len(faults) > 0 {
		t.Errorf("got %v %v, want no fault", err, faults)
	}
}

func TestUnreadableFolders(t *testing.T) {
	if _, _, err := Load(filepath.Join(t.TempDir(), "none"), Options{Types: kinds.Upstreams()}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	file := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(file, []byte("kind: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(file, Options{Types: kinds.Upstreams()}); err == nil {
		t.Error("a file was loaded as a folder")
	}
	_, faults, err := loadFS(unlistable{fstest.MapFS{"shut/a.yaml": {Data: []byte("x")}}}, Options{})
	if err != nil || len(faults) != 1 || faults[0].Rule != "file-unreadable" || faults[0].File != "shut" {
		t.Errorf("a folder that cannot be listed: %v %v", err, faults)
	}
}

// unlistable cannot list the folder "shut".
type unlistable struct{ fstest.MapFS }

func (u unlistable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "shut" {
		return nil, fs.ErrPermission
	}
	return u.MapFS.ReadDir(name)
}

func TestHostDefaultsAndPaths(t *testing.T) {
	dir := newStage(t).set(t, "testdata/good")
	host, faults, err := LoadHost(filepath.Join(dir, "host.yaml"))
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v", err, faults)
	}
	want := v1alpha1.HostSpec{
		Platform: "home", Environment: "prod",
		Estate: filepath.Join(dir, "estate"), State: filepath.Join(dir, "state"),
		BootstrapIdentity: filepath.Join(dir, "keys/bootstrap"),
		Unseal:            v1alpha1.Unseal{KeyFile: filepath.Join(dir, "keys/unseal")},
		Listen:            "[::1]:9000",
		Folders:           map[string]string{"app": filepath.Join(dir, "out/app")},
		Reloads: map[string]v1alpha1.Reload{
			"app":   {Signal: "HUP", PIDFile: filepath.Join(dir, "run/app.pid")},
			"proxy": {Argv: []string{"/usr/bin/true", "reload"}, Timeout: "30s"},
		},
		Checks:      map[string]v1alpha1.Command{"app": {Argv: []string{"/usr/bin/true"}, Timeout: "5s"}},
		Checkpoints: []string{"/mnt/other/checkpoint"},
	}
	if diff := cmp.Diff(want, host.Spec); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	if _, _, err := LoadHost(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestWithheldText(t *testing.T) {
	s := newStage(t)
	for _, fake := range s.fakes {
		if got := plaintext.Show(fake); got != "[withheld]" {
			t.Errorf("show repeats %q", fake)
		}
	}
	for _, name := range []string{"app-db", "platform-data/db1/app", "DB_PASSWORD_PRIMARY", "rotate_before", "verify-full", "sha256", "home/prod"} {
		if got := plaintext.Show(name); got != `"`+name+`"` {
			t.Errorf("show withholds the name %q", name)
		}
	}
	if got := plaintext.Show(strings.Repeat("a", 200)); got != "[withheld]" {
		t.Errorf("show repeats a long text: %s", got)
	}
}

func TestFaultForms(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Rule: "r", Reason: "x"}, "estate: x [r]"},
		{Fault{File: "a.yaml", Rule: "r", Reason: "x"}, "a.yaml: x [r]"},
		{Fault{File: "a.yaml", Line: 3, Column: 5, Rule: "r", Subject: "K/n", Reason: "x"}, "a.yaml:3:5: K/n: x [r]"},
	} {
		if got := c.fault.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// loadFS is Load on any file system, with all types of upstream.
func loadFS(fsys fs.FS, options Options) (*Estate, []Fault, error) {
	options.Types = kinds.Upstreams()
	files, err := readFS(fsys)
	if err != nil {
		return nil, nil, err
	}
	estate, faults := files.Load(options)
	return estate, faults, nil
}
