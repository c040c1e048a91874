// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/materialize/materializetest"
)

var errCrash = errors.New("the process died")

// process stands for the program that reads the file: at its start, and when it is told to.
type process struct {
	mu      sync.Mutex
	path    string
	running []byte
	reloads int
	// reports: a check learns the version from the process. crude: a check passes whatever the process runs on.
	reports, crude bool
	layout         format.Layout
	fail           error
}

func (p *process) Reload(context.Context, Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reloads++
	if p.fail != nil {
		return p.fail
	}
	data, err := os.ReadFile(p.path)
	p.running = data
	return err
}

func (p *process) Check(_ context.Context, e Event) (Report, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crude {
		return Report{}, nil
	}
	var version string
	if held, err := p.layout.Read(p.running); err == nil {
		version = held.ExposeText(p.layout.VersionKey)
	}
	if version != e.Version.String() {
		return Report{}, errors.New("another version")
	}
	if p.reports {
		return Report{Version: version}, nil
	}
	return Report{}, nil
}

func (p *process) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reloads
}

func (p *process) failing(fail bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail = nil; fail {
		p.fail = errors.New("no such process")
	}
}

func (p *process) runs(content []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Equal(p.running, content)
}

// clock only moves on.
func clock() func() time.Time {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time { return start }
}

func config(t *testing.T) Config {
	return Config{
		Name: "app", Folder: t.TempDir(), Path: "app.env", Format: format.Env, Reader: format.Systemd, VersionKey: "APP_VERSION",
		UID: durable.Keep, GID: durable.Keep, Clock: clock(),
	}
}

func open(t *testing.T, config Config) *Consumer {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConformance(t *testing.T) {
	for name, change := range map[string]func(*Config, *process){
		"Plain": func(*Config, *process) {},
		"JSONBelow": func(c *Config, _ *process) {
			c.Format, c.Reader, c.Path, c.VersionKey = format.JSON, "", "below/app.json", ""
			c.Keys = map[string]string{"value": "smtp.password"}
		},
		"Properties": func(c *Config, _ *process) { c.Format, c.Reader, c.Path = format.Properties, "", "app.properties" },
		"Raw":        func(c *Config, _ *process) { c.Format, c.Reader, c.Path, c.VersionKey = format.Raw, "", "password", "" },
		"Reload":     func(c *Config, p *process) { c.Reload = p },
		"CheckOnly": func(c *Config, p *process) {
			c.Check, c.Path = alwaysFresh{p}, "hot.env"
		},
		"ReloadAndCheck":      func(c *Config, p *process) { c.Reload, c.Check = p, p },
		"ReloadAndReport":     func(c *Config, p *process) { c.Reload, c.Check, p.reports = p, p, true },
		"ReloadAndCrudeCheck": func(c *Config, p *process) { c.Reload, c.Check, p.crude = p, p, true },
	} {
		t.Run(name, func(t *testing.T) {
			materializetest.Run(t, func(t *testing.T) materializetest.Fixture {
				config := config(t)
				proc := &process{}
				change(&config, proc)
				return fixture(t, config, proc)
			})
		})
	}
}

// alwaysFresh is a process that reads the file whenever it needs it.
type alwaysFresh struct{ *process }

func (p alwaysFresh) Check(ctx context.Context, e Event) (Report, error) {
	if err := p.Reload(ctx, e); err != nil {
		return Report{}, err
	}
	return p.process.Check(ctx, e)
}

func fixture(t *testing.T, config Config, proc *process) materializetest.Fixture {
	t.Helper()
	file := filepath.Join(config.Folder, config.Path)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	proc.path = file
	proc.layout = format.Layout{Format: config.Format, Field: config.Field, Keys: config.Keys, VersionKey: config.VersionKey, Reader: config.Reader}
	render := func(t *testing.T, v authority.Versioned) []byte {
		t.Helper()
		want, err := proc.layout.Render(v.Value, v.ID.String())
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	f := materializetest.Fixture{
		Consumer: open(t, config),
		Reopen:   func(t *testing.T) materialize.Consumer { return open(t, config) },
		Crashing: func(t *testing.T, n int) materialize.Consumer { return crashing(t, config, n) },
		Holds: func(t *testing.T, v authority.Versioned) bool {
			held, err := os.ReadFile(file)
			return err == nil && bytes.Equal(held, render(t, v))
		},
		Drift: func(t *testing.T) {
			if err := os.WriteFile(file, []byte("from elsewhere\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		Unfit:   materializetest.Unfit(t),
		Outside: func(t *testing.T) []string { return beside(t, config) },
	}
	if config.Reload != nil {
		f.Reloads = func(*testing.T) int { return proc.count() }
		f.FailReloads = func(_ *testing.T, fail bool) { proc.failing(fail) }
	}
	if config.Reload != nil || config.Check != nil {
		f.Runs = func(t *testing.T, v authority.Versioned) bool { return proc.runs(render(t, v)) }
	}
	return f
}

func crashing(t *testing.T, config Config, n int) *Consumer {
	c := open(t, config)
	effects := 0
	c.effect = func(string) error {
		if effects++; effects > n {
			return errCrash
		}
		return nil
	}
	return c
}

// beside returns the names of everything in the folder and the contents of everything but the file.
func beside(t *testing.T, config Config) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(config.Folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found = append(found, path)
		if entry.IsDir() || path == filepath.Join(config.Folder, config.Path) {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode() != 0o600 {
			t.Errorf("got mode %s of %s, want 0600", info.Mode(), path)
		}
		data, err := os.ReadFile(path)
		found = append(found, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEffects pins what a delivery writes, in which order, for each reason there is to write.
func TestEffects(t *testing.T) {
	v := materializetest.Version(t, "a", "r", 1)
	next := materializetest.Version(t, "a", "s", 2)
	full := "stamp begun, replace the file, reload, stamp reloaded"
	for name, test := range map[string]struct {
		before func(t *testing.T, c Config) // after v was delivered
		change func(c *Config, p *process)
		v      authority.Versioned
		want   string
	}{
		"Nothing":       {v: v, want: ""},
		"NewVersion":    {v: next, want: full},
		"FileRemoved":   {v: v, before: remove("app.env"), want: full},
		"StampLost":     {v: v, before: remove(".app.env.custody"), want: "stamp begun, reload, stamp reloaded"},
		"StampGarbled":  {v: v, before: write(".app.env.custody", "{"), want: "stamp begun, reload, stamp reloaded"},
		"StampEmptied":  {v: v, before: write(".app.env.custody", ""), want: "stamp begun, reload, stamp reloaded"},
		"OtherContent":  {v: v, before: write("app.env", "x"), want: full},
		"WiderMode":     {v: v, before: chmod("app.env", 0o644), want: "replace the file"},
		"OtherModeWant": {v: v, change: func(c *Config, _ *process) { c.Mode = 0o640 }, want: "stamp reloaded, replace the file"},
		"OtherFormat":   {v: v, change: func(c *Config, _ *process) { c.Format, c.Reader = format.JSON, "" }, want: full},
		"StampLostButReported": {
			v: v, before: remove(".app.env.custody"),
			change: func(c *Config, p *process) { c.Check, p.reports = p, true },
			want:   "stamp begun, stamp reloaded",
		},
		"StampLostAndCheckPasses": {
			v: v, before: remove(".app.env.custody"), change: func(c *Config, p *process) { c.Check = p },
			want: "stamp begun, reload, stamp reloaded",
		},
		"ReloadNoLongerWanted": {v: v, change: func(c *Config, _ *process) { c.Reload = nil }, want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			config, proc := config(t), &process{}
			config.Reload = proc
			fixture := fixture(t, config, proc)
			if err := fixture.Consumer.Deliver(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				test.before(t, config)
			}
			if test.change != nil {
				test.change(&config, proc)
			}
			c := open(t, config)
			var got []string
			c.effect = func(what string) error { got = append(got, what); return nil }
			if err := c.Deliver(t.Context(), test.v); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("got effects %q, want %q", got, test.want)
			}
			got = nil
			if err := c.Deliver(t.Context(), test.v); err != nil || got != nil {
				t.Errorf("got effects %q, error %v by delivering again, want none", got, err)
			}
		})
	}
}

func remove(name string) func(*testing.T, Config) {
	return func(t *testing.T, c Config) {
		if err := os.Remove(filepath.Join(c.Folder, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, content string) func(*testing.T, Config) {
	return func(t *testing.T, c Config) {
		if err := os.WriteFile(filepath.Join(c.Folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, Config) {
	return func(t *testing.T, c Config) {
		if err := os.Chmod(filepath.Join(c.Folder, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}
