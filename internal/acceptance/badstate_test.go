// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"custody.dev/custody/internal/durable/durabletest"
	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// content reads every file beneath a folder of the rig, for comparing.
func (r *rig) content(folder string) map[string][]byte {
	r.t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(r.file(folder), func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		files[name] = data
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}

// unchanged checks that nothing beneath the folder differs from before. The lock's note of who holds it may.
func (r *rig) unchanged(folder string, before map[string][]byte) {
	r.t.Helper()
	now := r.content(folder)
	for name, data := range before {
		if !bytes.Equal(now[name], data) && !strings.HasSuffix(name, ".lock") {
			r.t.Errorf("%s was changed", name)
		}
	}
	for name := range now {
		if _, there := before[name]; !there && !strings.HasSuffix(name, ".lock") {
			r.t.Errorf("%s was made", name)
		}
	}
}

// TestSecondServeIsRefused starts a second server on the same state folder.
func TestSecondServeIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	r.serve()
	r.steady()
	second := r.run("serve")
	r.fails(second, server.Unavailable, "in use", "process "+strconv.Itoa(r.serving.Process.Pid))
	r.rotate("session-token")
	r.sound()
}

// TestTornAuthority cuts the database short while nobody runs.
func TestTornAuthority(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone)
	r.serve()
	r.steady()
	version := r.row("session-token").Version
	r.stop()
	const database = "state/authority/authority.db"
	whole := r.read(database)
	for _, test := range []struct {
		name string
		torn string
	}{
		{"three pages", whole[:3*4096]}, // the file ends in pages that nothing uses, so half of it may be all there is
		{"first page only", whole[:4096]},
		{"emptied", ""},
		{"zeros behind its headers", whole[:8192] + strings.Repeat("\x00", len(whole)-8192)},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer r.within(t)()
			r.write(database, test.torn)
			before, app := r.content("state"), r.content("app")
			for _, command := range []string{"serve", "status", "doctor"} {
				r.fails(r.run(command), server.Failure, "authority")
			}
			r.unchanged("state", before)
			r.unchanged("app", app)
		})
	}
	r.write(database, whole)
	r.serve()
	r.steady()
	if got := r.row("session-token").Version; got != version {
		t.Errorf("version %s, want %s", got, version)
	}
	r.rotate("session-token")
	r.sound()
}

// TestLostAuthorityIsNotSeededAgain is H3: an authority that was initialised and is gone is not taken for one that
// never was, and nothing from Git takes the place of what it held.
func TestLostAuthorityIsNotSeededAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"state/authority", "state/authority/authority.db"} {
		t.Run(filepath.Base(lost), func(t *testing.T) {
			r := newRig(t, "100ms", alone)
			r.serve()
			r.steady()
			version := r.row("mail-password").Version
			r.stop()
			if err := os.Rename(r.file(lost), r.file("kept")); err != nil {
				t.Fatal(err)
			}
			app := r.content("app")
			for _, command := range []string{"serve", "status"} {
				r.fails(r.run(command), server.Refused, "initialised before", "gone")
			}
			if _, err := os.Stat(r.file("state/authority/authority.db")); err == nil {
				t.Error("another authority was made")
			}
			r.unchanged("app", app)
			if err := os.RemoveAll(r.file(lost)); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(r.file("kept"), r.file(lost)); err != nil {
				t.Fatal(err)
			}
			r.serve()
			r.handedOver("mail-password")
			if got := r.row("mail-password").Version; got != version {
				t.Errorf("version %s, want %s", got, version)
			}
		})
	}
}

// TestAlteredRecord is named after mobula #59, where a hash chain alone does not show a cut tail.
func TestAlteredRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, "100ms", alone, func(s *setup) { s.checkpoint = "elsewhere/checkpoint" })
	r.write("elsewhere/keep", "")
	r.serve()
	r.steady()
	r.stop()
	early := r.content("state/audit")
	r.serve()
	r.rotate("session-token")
	r.stop()
	whole := r.content("state/audit")
	put := func(files map[string][]byte) {
		t.Helper()
		if err := os.RemoveAll(r.file("state/audit")); err != nil {
			t.Fatal(err)
		}
		for name, data := range files {
			r.write(name, string(data))
		}
	}
	segment := ""
	for name, data := range whole {
		if bytes.Contains(data, []byte("session-token")) {
			segment = name
		}
	}
	if segment == "" {
		t.Fatal("no file of the record names session-token")
	}
	edited := func(edit func([]byte) []byte) map[string][]byte {
		files := map[string][]byte{}
		for name, data := range whole {
			files[name] = data
		}
		files[segment] = edit(bytes.Clone(whole[segment]))
		return files
	}
	lines := func(data []byte) [][]byte { return bytes.SplitAfter(bytes.TrimRight(data, "\n"), []byte("\n")) }
	for _, test := range []struct {
		name  string
		files map[string][]byte
		cut   bool // what is there was signed so
	}{
		{"a word changed", edited(func(data []byte) []byte {
			return bytes.Replace(data, []byte("acceptance test"), []byte("acceptance tesd"), 1)
		}), false},
		{"an event taken out", edited(func(data []byte) []byte {
			all := lines(data)
			return bytes.Join(append(all[:2:2], all[3:]...), nil)
		}), false},
		{"the last event cut off", edited(func(data []byte) []byte {
			all := lines(data)
			return bytes.Join(all[:len(all)-1], nil)
		}), false},
		{"tail and checkpoint of an earlier day", early, true},
		{"gone", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer r.within(t)()
			put(test.files)
			before := r.content("elsewhere")
			if test.files != nil {
				r.fails(r.run("audit", "verify"), server.Found, "finding")
			} else if got := r.run("audit", "verify"); got.code == 0 {
				t.Error("a record that is gone verifies")
			}
			if test.cut {
				r.serve()
				r.finding("", reason.Recovering, "it was cut", "are missing", "custody recover accept --reason TEXT")
				r.fails(r.run("rotate", "session-token", "--reason", "acceptance test"), server.Refused, "recovering")
				r.stop()
			} else {
				r.fails(r.run("serve"), server.Found, "altered", "state/audit.kept")
			}
			r.unchanged("elsewhere", before)
		})
	}
	put(whole)
	r.serve()
	r.rotate("session-token")
	r.sound()
}

// TestFullDisk fills the disk under the state folder: what cannot be written is not acknowledged, a run in hand waits,
// nothing is lost, and it goes on once there is room: in the same process, and in one that was started while there was none.
func TestFullDisk(t *testing.T) {
	t.Setenv(binaryVariable, custody(t))
	durabletest.OnSmallDisk(t, "2m", func(t *testing.T, dir string) {
		r := newRig(t, "100ms", gated, func(s *setup) { s.state = filepath.Join(dir, "state") })
		r.serve()
		r.letPass()
		r.steady()
		ballast := filepath.Join(dir, "ballast")
		r.fill(ballast, "goes-on", nil)
		r.fill(ballast, "killed", func() {
			r.kill()
			r.serve()
			if row := r.row("session-token"); row.Authority != "authority" || row.Live == nil {
				t.Errorf("started on a full disk: authority %q, run %+v", row.Authority, row.Live)
			}
		})
		for _, run := range r.runs("session-token", "rotation") {
			if run.Result != "completed" {
				t.Errorf("run %s is %s", run.ID, run.Result)
			}
		}
		r.sound()
	})
}

// letPass has the token's consumer run on what was delivered.
func (r *rig) letPass() {
	r.t.Helper()
	eventually(r.t, "the token to be delivered", func() bool {
		c, err := readCredential(r.file("app/session.json"))
		return err == nil && client.Replace(r.file("client/running"), c.Version+"\n") == nil
	})
}

// fill fills the disk in a run of the token, does what happens meanwhile, makes room again, and waits for the run to end.
func (r *rig) fill(ballast, id string, meanwhile func()) {
	t := r.t
	t.Helper()
	before := r.row("session-token").Version
	r.request("session-token")
	eventually(t, "the run to wait for its proof", func() bool { return r.row("session-token").Waiting.Is(reason.ProofMissing) })
	durabletest.Fill(t, ballast)
	refused := r.run("rotate", "mail-password", "--reason", "full")
	if refused.code != 5 {
		t.Errorf("mail-password has no upstream: exit code %d\n%s", refused.code, refused.err)
	}
	r.fails(r.run("rotate", "session-token", "--reason", "full", "--id", id), server.Unavailable, "no space left on device")
	r.letPass()
	eventually(t, "the run to say that the disk is full", func() bool {
		return strings.Contains(fmt.Sprint(r.status().Findings), "no space left on device")
	})
	if code, _ := r.get("/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
	if row := r.row("session-token"); row.Live == nil {
		t.Error("the run ended though it could not be recorded")
	}
	if meanwhile != nil {
		meanwhile()
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run to end", func() bool {
		r.letPass() // the request that was refused may be on disk all the same: then it is served too
		row := r.row("session-token")
		return row.Version != before && row.State == "steady"
	})
	if repeated := r.run("rotate", "session-token", "--reason", "full", "--id", id); repeated.code != 0 {
		t.Errorf("the request cannot be repeated: %s", repeated.err)
	}
	eventually(t, "the repeated request to be served", func() bool {
		r.letPass()
		row := r.row("session-token")
		return row.State == "steady" && slices.Contains(row.Last.Trigger.Requests, id)
	})
}
