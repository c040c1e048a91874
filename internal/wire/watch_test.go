// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/folderwatch"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
)

// glanced is a consumer that counts how often it is glanced at.
type glanced struct {
	*file.Consumer
	glances *int
}

func (g glanced) Glance() string {
	*g.glances++
	return g.Consumer.Glance()
}

var _ materialize.Glancer = glanced{}

// glancing are secrets app/0 to app/n with a file each in folder, which are there.
func glancing(t *testing.T, folder string, n int) (secrets []orchestrator.Secret, glances *int) {
	t.Helper()
	glances = new(int)
	for i := range n {
		name := fmt.Sprintf("%d.env", i)
		do(t, os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, name), []byte("A=1\n"), 0o600))
		consumer, err := file.New(file.Config{Name: "app", Folder: folder, Path: name, Format: "env", UID: -1, GID: -1, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var s orchestrator.Secret
		s.Path, s.Consumers = authority.Path(fmt.Sprintf("app/%d", i)), []rotation.Consumer{{Consumer: glanced{consumer, glances}}}
		secrets = append(secrets, s)
	}
	return secrets, glances
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

var began = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func TestGlanceSeesWhatHappensToFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, _ := glancing(t, folder, 1)
	name := filepath.Join(folder, "0.env")
	seen, now := newWatch(), began
	seen.learn(secrets, 1)
	want := func(what string, want bool) {
		t.Helper()
		now = now.Add(glanceEvery)
		if got := seen.changed("app/0", now); got != want {
			t.Errorf("%s: changed is %v, want %v", what, got, want)
		}
	}
	want("the first glance", false)
	want("nothing happened", false)
	do(t, os.Remove(name))
	want("the file was removed", true)
	want("nothing more happened", false)
	do(t, os.RemoveAll(folder), os.Mkdir(folder, 0o700))
	want("the folder was made anew just after", false)
	now = now.Add(doubtGap)
	want("the folder was made anew a while ago", true)
	do(t, os.WriteFile(name, []byte("A=2\n"), 0o600))
	now = now.Add(doubtGap)
	want("the file was written", true)
	do(t, os.Chmod(name, 0o640))
	now = now.Add(doubtGap)
	want("its mode was changed", true)
	want("nothing happened after all that", false)
}

// watched is a watch on the secrets' folder, of which each was glanced at.
func watched(t *testing.T, secrets []orchestrator.Secret) *watch {
	t.Helper()
	w := newWatch()
	watcher, err := folderwatch.New(w.tell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watcher.Close() })
	w.watcher = watcher
	w.learn(secrets, 1)
	w.follow()
	if got := w.round(began, true, true); len(got) > 0 || len(w.unwatched) > 0 {
		t.Fatalf("at first %q changed, and %q is not watched", got, w.unwatched)
	}
	return w
}

// rounds waits for what the kernel tells, until a round says that path changed.
func rounds(t *testing.T, w *watch, path authority.Path) {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; { // the kernel tells at once, but for a machine that is very busy
		select {
		case <-w.wake:
			if slices.Contains(w.round(began.Add(time.Second), false, false), path) {
				return
			}
		case <-deadline:
			t.Fatalf("nobody says that %s changed", path)
		}
	}
}

// What others did to a file was seen at the next round of glances, which with very many files came once in a minute.
func TestRemovedFileIsSeenAtOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, glances := glancing(t, folder, 50)
	w := watched(t, secrets)
	*glances = 0
	do(t, os.Remove(filepath.Join(folder, "7.env")))
	rounds(t, w, "app/7")
	if *glances > 1 {
		t.Errorf("%d consumers were glanced at, want that one", *glances)
	}
}

func TestReplacedFolderIsSeenAtOnceAndWatchedAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, _ := glancing(t, folder, 3)
	w := watched(t, secrets)
	do(t, os.Rename(folder, folder+".old"), os.Mkdir(folder, 0o700))
	rounds(t, w, "app/1")
	w.doubted = map[authority.Path]time.Time{}
	if len(w.unwatched) > 0 { // it was looked for before it was made again
		w.round(began, true, false)
	}
	do(t, os.WriteFile(filepath.Join(folder, "2.env"), nil, 0o600))
	rounds(t, w, "app/2")
}

// The kernel drops what is more than its queue holds, and says so: then each file may be the one that changed.
func TestOverflowHasAllGlancedAt(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, glances := glancing(t, folder, 20)
	w := watched(t, secrets)
	*glances = 0
	w.tell("", "")
	if got := w.round(began, false, false); len(got) > 0 || *glances != 20 {
		t.Errorf("%q changed, and %d consumers were glanced at, want none and 20", got, *glances)
	}
}

func TestFoldersThatCannotBeWatchedAreGlancedAt(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, _ := glancing(t, folder, 3)
	w := newWatch() // without a watcher, as for folders on a file system that tells nothing
	w.learn(secrets, 1)
	w.follow()
	w.round(began, true, true)
	do(t, os.Remove(filepath.Join(folder, "1.env")))
	if got := w.round(began, true, false); !slices.Equal(got, []authority.Path{"app/1"}) {
		t.Errorf("%q changed, want app/1", got)
	}
}

// A file that changes again too soon is looked at once the time has passed, though the kernel tells of it no more.
func TestFileThatChangedTooSoonIsSeenLater(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, _ := glancing(t, folder, 3)
	w := watched(t, secrets)
	do(t, os.Remove(filepath.Join(folder, "1.env")))
	rounds(t, w, "app/1")
	do(t, os.WriteFile(filepath.Join(folder, "1.env"), nil, 0o600))
	if got := w.round(began.Add(2*time.Second), false, true); len(got) > 0 {
		t.Fatalf("%q changed, want none yet", got)
	}
	if got := w.round(began.Add(2*doubtGap), true, false); !slices.Equal(got, []authority.Path{"app/1"}) {
		t.Errorf("%q changed, want app/1", got)
	}
}

// Ten thousand files were glanced at every two seconds, whether or not anything happened.
func TestNothingIsGlancedAtWhileNothingHappens(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	secrets, glances := glancing(t, folder, 100)
	w := watched(t, secrets)
	*glances = 0
	for i := range 30 {
		if got := w.round(began.Add(time.Duration(i)*glanceEvery), true, false); len(got) > 0 {
			t.Errorf("%q changed", got)
		}
	}
	if *glances > 0 {
		t.Errorf("%d glances in a minute, want none", *glances)
	}
}

// Glances at ten thousand files every two seconds were most of what an idle server used.
func TestGlancesTakeAHundredthOfTheTime(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		time.Millisecond:       glanceEvery,
		50 * time.Millisecond:  5 * time.Second,
		500 * time.Millisecond: 50 * time.Second,
		time.Hour:              glanceAtLeast, // a folder hung; it answers again
	} {
		if got := glanceAfter(took); got != want {
			t.Errorf("after glances that took %s, the next come after %s, want %s", took, got, want)
		}
	}
}

// All documents of an estate were read every five seconds.
func TestEstateIsReadWhenItChanged(t *testing.T) {
	c := newCheckout(t)
	c.declare("a")
	reads := 0
	c.folder.read = func(name string) (*intent.Files, error) {
		reads++
		return intent.Read(name)
	}
	stop, err := c.folder.watch.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	estate, err := c.load(nil)
	if err != nil {
		t.Fatal(err)
	}
	reads = 0
	for range 10 {
		if again, err := c.load(estate); err != nil || again != estate {
			t.Fatalf("another estate: %v", err)
		}
	}
	if reads > 0 {
		t.Errorf("it was read %d times, and nothing had changed", reads)
	}
	mark := c.folder.mark()
	c.declare("b")
	for deadline := time.Now().Add(30 * time.Second); c.folder.quiet(mark); runtime.Gosched() { // the kernel tells at once
		if time.Now().After(deadline) {
			t.Fatal("the change is not told")
		}
	}
	if estate, err = c.load(estate); names(t, estate, err) != "a b" {
		t.Errorf("in force are %s", names(t, estate, err))
	}
	reads = 0
	c.forget() // a person asks for it
	if _, err := c.load(estate); err != nil || reads == 0 {
		t.Errorf("asked for, it was read %d times: %v", reads, err)
	}
	for deadline := time.Now().Add(30 * time.Second); reads > 0; { // the kernel may tell more of the change
		if time.Now().After(deadline) {
			t.Fatal("it is read again and again")
		}
		reads = 0
		if _, err := c.load(estate); err != nil {
			t.Fatal(err)
		}
	}
	later := func(what string, wait time.Duration, read bool) {
		t.Helper()
		reads, c.compared, c.read = 0, c.compared.Add(-wait), c.read.Add(-wait)
		if estate, err = c.load(estate); err != nil || read != (reads > 0) {
			t.Errorf("%s it was read %d times: %v", what, reads, err)
		}
	}
	later("a minute later", estateSweep, false)
	stop() // the kernel tells nothing from now on
	c.declare("c")
	later("just after a change that nobody told", 0, false)
	later("a minute after a change that nobody told", estateSweep, true)
	if got := names(t, estate, err); got != "a b c" {
		t.Errorf("in force are %s", got)
	}
	later("an hour later", estateReread, true)
}

// A secret whose files are watched is looked at once an hour; one of which a glance tells less than a look does, every ten minutes.
func TestWhatIsWatched(t *testing.T) {
	watched, _ := glancing(t, t.TempDir(), 1)
	plain := watched[0].Consumers[0].Consumer.(glanced).Consumer
	checked, err := file.New(file.Config{Name: "app", Folder: t.TempDir(), Path: "a", Format: "env", UID: -1, GID: -1, Clock: time.Now, Check: &file.Command{}})
	if err != nil {
		t.Fatal(err)
	}
	of := func(consumers ...materialize.Consumer) (s orchestrator.Secret) {
		for _, consumer := range consumers {
			s.Consumers = append(s.Consumers, rotation.Consumer{Consumer: consumer})
		}
		return s
	}
	derived := of(plain)
	derived.Derived = &derivation.Subject{}
	for name, test := range map[string]struct {
		secret orchestrator.Secret
		want   bool
	}{
		"files": {of(plain, plain), true}, "nothing": {of(), true}, "a check": {of(plain, checked), false},
		"what this machine cannot serve": {of(heldConsumer{}), false}, "another secret": {of(&derivation.Dependent{}), false}, "derived": {derived, false},
	} {
		if got := watchable(test.secret); got != test.want {
			t.Errorf("%s: watched is %v, want %v", name, got, test.want)
		}
	}
}
