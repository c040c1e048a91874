// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
)

// deaf is a process whose reloads fail until it hears, and whose check says no until it was reloaded.
type deaf struct {
	hears bool
	tried int
	runs  authority.VersionID
}

func (d *deaf) Reload(_ context.Context, e file.Event) error {
	if d.tried++; !d.hears {
		return errors.New("no such process")
	}
	d.runs = e.Version
	return nil
}

func (d *deaf) Check(_ context.Context, e file.Event) (file.Report, error) {
	if d.runs != e.Version {
		return file.Report{}, errors.New("still the old one")
	}
	return file.Report{}, nil
}

// A consumer that was not told to read its file is told later, whether or not a check would notice: by the same process,
// and by one that knows nothing of the delivery that failed.
func TestReloadThatFailedIsDoneLater(t *testing.T) {
	for name, checked := range map[string]bool{"with a check": true, "without a check": false} {
		for _, restarts := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				estate(t, 1, func(r *rig) {
					process := r.start()
					r.pass(process, time.Minute)
					reader := &deaf{}
					config := file.Config{Name: "late", Folder: t.TempDir(), Path: "late.json", Format: "json", UID: -1, GID: -1, Reload: reader, Clock: time.Now}
					if checked {
						config.Check = reader
					}
					added, err := file.New(config)
					if err != nil {
						t.Fatal(err)
					}
					r.secrets[0].Consumers = append(r.secrets[0].Consumers, rotation.Consumer{Consumer: added, Needs: added.Highest()})
					process.Use(r.secrets)
					r.pass(process, 10*time.Minute)
					if got := process.States()[r.secrets[0].Path]; !got.Waiting.Is(reason.DeliveryFailed) || !strings.Contains(got.Waiting.Cause, "late: ") || !strings.Contains(got.Waiting.Cause, "no such process") {
						t.Errorf("the secret waits because of %+v, want the consumer and its fault", got.Waiting)
					}
					if reader.tried < 5 || reader.tried > 12 {
						t.Errorf("%d reloads were tried in ten minutes, want a few, ever further apart", reader.tried)
					}
					if reader.hears = true; restarts {
						process = r.start()
					}
					r.pass(process, 5*time.Minute)
					held, _ := r.store.Read(t.Context(), r.secrets[0].Path)
					if reader.runs != held.ID || !process.States()[r.secrets[0].Path].Waiting.None() {
						t.Errorf("the process runs on %q, the secret waits because of %+v", reader.runs, process.States()[r.secrets[0].Path].Waiting)
					}
					tried := reader.tried
					if r.pass(process, time.Hour); reader.tried != tried {
						t.Errorf("a process that took the version was reloaded %d times more", reader.tried-tried)
					}
				})
			})
		}
	}
}

// What was found changed from elsewhere is told until the look after it was put right, also where that needs several.
func TestDriftIsToldWhileItIsPutRight(t *testing.T) {
	estate(t, 1, func(r *rig) {
		process := r.start()
		r.pass(process, time.Minute)
		other, err := secret.Text(map[string]string{"key": "changed from elsewhere"})
		if err != nil {
			t.Fatal(err)
		}
		state := func() (drift, waiting string) {
			s := process.States()[r.secrets[0].Path]
			return s.Drift.Text(), s.Waiting.Text()
		}
		r.consumers[0].Tamper(other)
		r.consumers[0].FailReloads(true)
		r.pass(process, 12*time.Minute)
		if drift, waiting := state(); !strings.Contains(drift, "changed from elsewhere") || !strings.Contains(waiting, "app: ") {
			t.Errorf("told %q, waiting for %q, while the reload fails", drift, waiting)
		}
		r.consumers[0].FailReloads(false)
		r.pass(process, 6*time.Minute)
		if drift, waiting := state(); !strings.Contains(drift, "changed from elsewhere") || waiting != "" {
			t.Errorf("told %q, waiting for %q, once the reload worked", drift, waiting)
		}
		r.pass(process, 11*time.Minute)
		if drift, waiting := state(); drift != "" || waiting != "" {
			t.Errorf("told %q, waiting for %q, a look later", drift, waiting)
		}
	})
}

// A folder that a service manager made anew had no file for ten minutes: consumers that were found right lately were not
// looked at, whoever asked.
func TestDoubtedConsumersAreLookedAtAtOnce(t *testing.T) {
	estate(t, 1, func(r *rig) {
		folder := filepath.Join(t.TempDir(), "run")
		remake := func() {
			if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		remake()
		added, err := file.New(file.Config{Name: "made anew", Folder: folder, Path: "app.json", Format: "json", UID: -1, GID: -1, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		r.secrets[0].Consumers = append(r.secrets[0].Consumers, rotation.Consumer{Consumer: added, Needs: added.Highest()})
		process := r.start()
		r.pass(process, time.Minute)
		before := added.Glance()
		remake()
		if added.Glance() == before {
			t.Error("a glance does not tell that the folder was made anew")
		}
		there := func() bool {
			_, err := os.Stat(filepath.Join(folder, "app.json"))
			return err == nil
		}
		process.Wake(r.secrets[0].Path)
		if r.pass(process, time.Second); there() {
			t.Error("a consumer that was found right a minute ago is looked at for every wake: the test shows nothing")
		}
		process.Doubt(r.secrets[0].Path)
		if r.pass(process, time.Second); !there() {
			t.Error("the file is not back a second after its folder was seen to have changed")
		}
	})
}
