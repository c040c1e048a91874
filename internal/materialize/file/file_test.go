// SPDX-License-Identifier: Apache-2.0

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/materialize/materializetest"
)

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"NoName":         func(c *Config) { c.Name = "" },
		"NoClock":        func(c *Config) { c.Clock = nil },
		"RelativeFolder": func(c *Config) { c.Folder = "secrets" },
		"Absolute":       func(c *Config) { c.Path = "/etc/passwd" },
		"Parent":         func(c *Config) { c.Path = "../app.env" },
		"ParentBelow":    func(c *Config) { c.Path = "a/../../app.env" },
		"NotClean":       func(c *Config) { c.Path = "a//app.env" },
		"Folder":         func(c *Config) { c.Path = "." },
		"NoPath":         func(c *Config) { c.Path = "" },
		"OthersStamp":    func(c *Config) { c.Path = ".app.env.custody" },
		"OthersLock":     func(c *Config) { c.Path = ".app.env.custody.lock" },
		"Temporary":      func(c *Config) { c.Path = ".app.env.0123456789abcdef.tmp" },
		"GroupWritable":  func(c *Config) { c.Mode = 0o660 },
		"Executable":     func(c *Config) { c.Mode = 0o700 },
		"Setuid":         func(c *Config) { c.Mode = 0o600 | fs.ModeSetuid },
		"Owner":          func(c *Config) { c.UID = -2 },
		"Format":         func(c *Config) { c.Format = "toml" },
		"Key":            func(c *Config) { c.VersionKey = "LD_PRELOAD" },
	} {
		t.Run(name, func(t *testing.T) {
			config := config(t)
			change(&config)
			if _, err := New(config); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// TestInTheWay: what is not a regular file is neither followed, read nor replaced.
func TestInTheWay(t *testing.T) {
	v := materializetest.Version(t, "a", "r", 1)
	for name, test := range map[string]struct {
		path string
		make func(dir, target string) error
		want error
	}{
		"Link":         {"app.env", func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, "app.env")) }, durable.ErrSymlink},
		"LinkInside":   {"app.env", func(dir, _ string) error { return os.Symlink("other.env", filepath.Join(dir, "app.env")) }, durable.ErrSymlink},
		"ParentLink":   {"sub/app.env", func(dir, target string) error { return os.Symlink(filepath.Dir(target), filepath.Join(dir, "sub")) }, durable.ErrSymlink},
		"ParentInside": {"sub/app.env", func(dir, _ string) error { return os.Symlink(".", filepath.Join(dir, "sub")) }, durable.ErrSymlink},
		"Folder":       {"app.env", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, "app.env"), 0o700) }, ErrInTheWay},
		"Pipe":         {"app.env", func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, "app.env"), 0o600) }, ErrInTheWay},
		"StampLink":    {"app.env", func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, ".app.env.custody")) }, durable.ErrSymlink},
		"StampFolder":  {"app.env", func(dir, _ string) error { return os.Mkdir(filepath.Join(dir, ".app.env.custody"), 0o700) }, ErrInTheWay},
		"StampPipe":    {"app.env", func(dir, _ string) error { return unix.Mkfifo(filepath.Join(dir, ".app.env.custody"), 0o600) }, ErrInTheWay},
		"LockLink":     {"app.env", func(dir, target string) error { return os.Symlink(target, filepath.Join(dir, ".app.env.custody.lock")) }, ErrInTheWay},
		"ParentFile":   {"sub/app.env", func(dir, _ string) error { return os.WriteFile(filepath.Join(dir, "sub"), nil, 0o600) }, syscall.ENOTDIR},
	} {
		t.Run(name, func(t *testing.T) {
			config := config(t)
			config.Path = test.path
			target := filepath.Join(t.TempDir(), "target")
			if err := os.WriteFile(target, []byte("not ours"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := test.make(config.Folder, target); err != nil {
				t.Fatal(err)
			}
			before := tree(t, config.Folder)
			c := open(t, config)
			if err := c.Deliver(t.Context(), v); !errors.Is(err, test.want) {
				t.Errorf("got %v from delivering, want %v", err, test.want)
			}
			if name != "LockLink" { // a proof takes no lock
				if _, err := c.Prove(t.Context(), v); !errors.Is(err, test.want) {
					t.Errorf("got %v from proving, want %v", err, test.want)
				}
			}
			if err := c.Withdraw(t.Context(), v); !errors.Is(err, test.want) {
				t.Errorf("got %v from withdrawing, want %v", err, test.want)
			}
			if after := tree(t, config.Folder); !slices.Equal(after, before) {
				t.Errorf("got the folder changed from %q to %q", before, after)
			}
			if data, err := os.ReadFile(target); err != nil || string(data) != "not ours" {
				t.Error("got the link's target changed")
			}
		})
	}
}

func tree(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		found = append(found, fmt.Sprint(path, entry.Type()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFolderMissing(t *testing.T) {
	config := config(t)
	config.Folder = filepath.Join(config.Folder, "absent")
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	if err := c.Deliver(t.Context(), v); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v from delivering, want fs.ErrNotExist", err)
	}
	if _, err := c.Prove(t.Context(), v); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v from proving, want fs.ErrNotExist", err)
	}
	if err := c.Withdraw(t.Context(), v); err != nil {
		t.Errorf("got %v from withdrawing what cannot be there", err)
	}
	// A service manager makes such folders again while Custody runs.
	for range 2 {
		if err := os.Mkdir(config.Folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Errorf("got %v after the folder was made", err)
		}
		if err := os.RemoveAll(config.Folder); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModeAndOwner(t *testing.T) {
	config := config(t)
	config.Mode = 0o640
	config.UID, config.GID = os.Geteuid(), os.Getegid()
	if os.Geteuid() == 0 {
		config.UID, config.GID = 65534, 65533 // only root can give files away
	}
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	file := filepath.Join(config.Folder, "app.env")
	want := func(why string) {
		t.Helper()
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		uid, gid := ownerOf(info)
		if info.Mode() != 0o640 || uid != config.UID || gid != config.GID {
			t.Errorf("%s: got mode %s, owner %d:%d", why, info.Mode(), uid, gid)
		}
	}
	want("first")
	changes := map[string]func() error{"mode": func() error { return os.Chmod(file, 0o604) }}
	if os.Geteuid() == 0 {
		changes["owner"] = func() error { return os.Chown(file, 0, 65533) }
		changes["group"] = func() error { return os.Chown(file, 65534, 0) }
	}
	for name, change := range changes {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		proof, err := c.Prove(t.Context(), v)
		if err != nil || proof.Level != materialize.None || !strings.Contains(proof.Drift, "mode or owner") {
			t.Errorf("%s: got proof %+v, %v, want the drift named", name, proof, err)
		}
		want(name)
	}
}

// TestOwnerWithoutPrivilege runs as another user when the test is root's.
func TestOwnerWithoutPrivilege(t *testing.T) {
	asNobody(t, func(t *testing.T, config Config) {
		config.UID = 0
		c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
		if err := c.Deliver(t.Context(), v); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want fs.ErrPermission", err)
		}
		if _, err := os.Stat(filepath.Join(config.Folder, "app.env")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got a file that its owner was not given: %v", err)
		}
	})
}

func TestReadOnlyFolder(t *testing.T) {
	asNobody(t, func(t *testing.T, config Config) {
		c := open(t, config)
		v, next := materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(config.Folder, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Errorf("got %v from delivering what is there", err)
		}
		if err := c.Deliver(t.Context(), next); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v from delivering, want fs.ErrPermission", err)
		}
		if proof, err := c.Prove(t.Context(), v); err != nil || proof.Level != materialize.Delivered {
			t.Errorf("got %+v, %v, want the old version still proven", proof, err)
		}
		if err := os.Chmod(config.Folder, 0o700); err != nil {
			t.Fatal(err)
		}
	})
}

// asNobody runs body without privilege: in a process of its own when this one is root's.
func asNobody(t *testing.T, body func(*testing.T, Config)) {
	t.Helper()
	const again = "CUSTODY_TEST_FOLDER"
	if os.Geteuid() != 0 {
		config := config(t)
		if folder := os.Getenv(again); folder != "" {
			config.Folder = folder
		}
		body(t, config)
		return
	}
	self, err := os.ReadFile("/proc/self/exe") // the folder of the test's program may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "custody-nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, folder := filepath.Join(dir, "test"), filepath.Join(dir, "folder")
	err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, self, 0o755), os.Mkdir(folder, 0o700), os.Chown(folder, 65534, 65534))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{again + "=" + folder, "TMPDIR=" + folder}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()) {
		t.Errorf("as another user: %v\n%s", err, output)
	}
}

// TestFullDisk needs the right to mount; without it it fails and says so.
func TestFullDisk(t *testing.T) {
	config := config(t)
	if err := unix.Mount("tmpfs", config.Folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a small disk: %v: run the tests as root, or within 'unshare --map-root-user --mount'", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(config.Folder, unix.MNT_DETACH) })
	c := open(t, config)
	v, next := materializetest.Version(t, "a", "r", 1), materializetest.Version(t, "a", "s", 2)
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(config.Folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v from filling the disk, want ENOSPC", err)
	}
	if err := c.Deliver(t.Context(), next); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Errorf("got %v from delivering what is there to a full disk", err)
	}
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Level != materialize.Delivered {
		t.Errorf("got %+v, %v, want the old version still proven", proof, err)
	}
	// Room for the stamp and not for the file: the old content stays, and the old version does not come back over it.
	if err := os.Truncate(filler, (1<<20)-3*4096-4096); err != nil {
		t.Fatal(err)
	}
	big := next
	var err error
	if big.Value, err = next.Value.With("big", []byte(strings.Repeat("x", 60<<10))); err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), big); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if err := c.Deliver(t.Context(), v); !errors.Is(err, materialize.ErrStale) {
		t.Errorf("got %v for the older version after the newer was begun, want ErrStale", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), big); err != nil {
		t.Errorf("got %v once there was room", err)
	}
	if got := len(tree(t, config.Folder)); got != 3 {
		t.Errorf("got %d entries, want folder, file and stamp: %q", got, tree(t, config.Folder))
	}
}

func TestNewerStampIsRefused(t *testing.T) {
	config := config(t)
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	write(".app.env.custody", `{"schema":2}`)(t, config)
	if err := c.Deliver(t.Context(), v); !errors.Is(err, ErrNewerStamp) {
		t.Errorf("got %v from delivering, want ErrNewerStamp", err)
	}
	if _, err := c.Prove(t.Context(), v); !errors.Is(err, ErrNewerStamp) {
		t.Errorf("got %v from proving, want ErrNewerStamp", err)
	}
}

// TestStamp pins the stamp's form: it is read by later programs.
func TestStamp(t *testing.T) {
	config := config(t)
	c, v := open(t, config), materializetest.Version(t, "a", "r", 1)
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(config.Folder, ".app.env.custody"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"secret":"mail/relay","version":{"incarnation":"a","run":"r","number":1},"stage":"written",` +
		`"as":{"format":"env","versionKey":"APP_VERSION","reader":"systemd","mode":384,"uid":-1,"gid":-1}}`
	if got := strings.TrimSpace(string(data)); got != want {
		t.Errorf("got stamp %s, want %s", got, want)
	}
	if !json.Valid(data) {
		t.Error("got a stamp that is not JSON")
	}
}

// TestOtherSecret: a file that now belongs to another secret is not compared by number.
func TestOtherSecret(t *testing.T) {
	config := config(t)
	c, v, other := open(t, config), materializetest.Version(t, "a", "r", 9), materializetest.Version(t, "a", "s", 1)
	other.Path = authority.Path("mail/other")
	for _, v := range []authority.Versioned{v, other} {
		if err := c.Deliver(t.Context(), v); err != nil {
			t.Errorf("delivering %s of %s: %v", v.ID, v.Path, err)
		}
	}
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Level != materialize.None || proof.Drift != "" {
		t.Errorf("got %+v, %v for the secret that was there before, want nothing", proof, err)
	}
}

// TestReloadFails: the file stays, the reload is tried again, and nothing is claimed in between.
func TestReloadFails(t *testing.T) {
	config, proc := config(t), &process{}
	config.Reload = proc
	fixture := fixture(t, config, proc)
	v := materializetest.Version(t, "a", "r", 1)
	proc.fail = errors.New("refused")
	for want := 1; want <= 2; want++ {
		if err := fixture.Consumer.Deliver(t.Context(), v); !errors.Is(err, proc.fail) || proc.count() != want {
			t.Errorf("got %v after %d reloads, want the reload's error after %d", err, proc.count(), want)
		}
	}
	proof, err := fixture.Consumer.Prove(t.Context(), v)
	if err != nil || proof.Version != (authority.VersionID{}) || proof.Level != materialize.None || proof.Missing != "the reload" {
		t.Errorf("got %+v, %v, want nothing shown and the reload missing", proof, err)
	}
	proc.fail = nil
	if err := fixture.Consumer.Deliver(t.Context(), v); err != nil || proc.count() != 3 {
		t.Errorf("got %v after %d reloads, want none after 3", err, proc.count())
	}
}

// TestReloadUndone: a file that is right proves nothing while the stamp does not say that the reload was done, and a check
// that does not name the version changes that as little. The next delivery reloads and writes nothing else.
func TestReloadUndone(t *testing.T) {
	v := materializetest.Version(t, "a", "r", 1)
	for name, test := range map[string]struct {
		undo  func(t *testing.T, config Config)
		crude bool
	}{
		"StampLost":         {undo: remove(".app.env.custody")},
		"StampLostAndCheck": {undo: remove(".app.env.custody"), crude: true},
		"ReloadNowWanted": {undo: func(t *testing.T, config Config) {
			config.Reload = nil
			err := os.Remove(filepath.Join(config.Folder, ".app.env.custody"))
			if err = errors.Join(err, open(t, config).Deliver(t.Context(), v)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			config, proc := config(t), &process{crude: test.crude}
			if config.Reload = proc; test.crude {
				config.Check = proc
			}
			c := fixture(t, config, proc).Consumer
			if err := c.Deliver(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			test.undo(t, config)
			proof, err := c.Prove(t.Context(), v)
			if err != nil || proof.Version != (authority.VersionID{}) || proof.Level != materialize.None || proof.Missing != "the reload" {
				t.Errorf("got %+v, %v, want nothing shown and the reload missing", proof, err)
			}
			if err := c.Deliver(t.Context(), v); err != nil || proc.count() != 2 {
				t.Errorf("got %v after %d reloads, want none after 2", err, proc.count())
			}
			if proof, err = c.Prove(t.Context(), v); err != nil || proof.Version != v.ID || proof.Level != c.Highest() {
				t.Errorf("got %+v, %v after the reload, want %s", proof, err, c.Highest())
			}
		})
	}
}

func TestProofLevels(t *testing.T) {
	v := materializetest.Version(t, "a", "r", 1)
	for name, test := range map[string]struct {
		change func(*Config, *process)
		level  materialize.Level
	}{
		"Plain":         {func(*Config, *process) {}, materialize.Delivered},
		"Reload":        {func(c *Config, p *process) { c.Reload = p }, materialize.Delivered},
		"Check":         {func(c *Config, p *process) { c.Reload, c.Check = p, p }, materialize.Rolled},
		"Report":        {func(c *Config, p *process) { c.Reload, c.Check, p.reports = p, p, true }, materialize.Observed},
		"CheckSaysNo":   {func(c *Config, p *process) { c.Check = p }, materialize.Delivered},
		"CheckTooCrude": {func(c *Config, p *process) { c.Reload, c.Check, p.crude = p, p, true }, materialize.Rolled},
	} {
		t.Run(name, func(t *testing.T) {
			config, proc := config(t), &process{}
			test.change(&config, proc)
			consumer := fixture(t, config, proc).Consumer
			if err := consumer.Deliver(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			proof, err := consumer.Prove(t.Context(), v)
			if err != nil || proof.Level != test.level || (proof.Missing == "") != (name != "CheckSaysNo") {
				t.Errorf("got %+v, %v, want level %s", proof, err, test.level)
			}
		})
	}
}

// TestEmptyContent: an empty field is a content like any other.
func TestEmptyContent(t *testing.T) {
	config := config(t)
	config.Format, config.Reader, config.VersionKey = format.Raw, "", ""
	v := materializetest.Version(t, "a", "r", 1)
	var err error
	if v.Value, err = v.Value.With("value", nil); err != nil {
		t.Fatal(err)
	}
	c := open(t, config)
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if proof, err := c.Prove(t.Context(), v); err != nil || proof.Level != materialize.Delivered {
		t.Errorf("got %+v, %v, want delivered", proof, err)
	}
	c.effect = func(what string) error { return errors.New(what) }
	if err := c.Deliver(t.Context(), v); err != nil {
		t.Errorf("got effect %v by delivering again, want none", err)
	}
}

// The lock is held until the call has ended, so that any limit ends the wait.
func TestLockIsBoundedByContext(t *testing.T) {
	config := config(t)
	unlock, err := open(t, config).lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	v := materializetest.Version(t, "a", "r", 1)
	if err := open(t, config).Deliver(ctx, v); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while another engine delivers, want the deadline", err)
	}
	unlock()
	if err := open(t, config).Deliver(t.Context(), v); err != nil {
		t.Errorf("got %v after the other engine was done", err)
	}
}

func TestLookupOwner(t *testing.T) {
	for _, test := range []struct {
		user, group string
		uid, gid    int
		fails       bool
	}{
		{user: "", group: "", uid: durable.Keep, gid: durable.Keep},
		{user: "root", group: "root", uid: 0, gid: 0},
		{user: "4294967294", group: "12345", uid: 4294967294, gid: 12345},
		{user: "4294967295", fails: true}, // the kernel's "leave it"
		{user: "-1", fails: true},
		{group: "no-such-group", fails: true},
	} {
		uid, gid, err := LookupOwner(test.user, test.group)
		if (err != nil) != test.fails || (err == nil && (uid != test.uid || gid != test.gid)) {
			t.Errorf("%q, %q: got %d, %d, %v", test.user, test.group, uid, gid, err)
		}
	}
}
