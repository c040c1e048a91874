// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// declare adds a secret with the consumers to the estate.
func declare(estate *intent.Estate, name string, origin v1alpha1.Origin, consumers ...string) {
	s := &intent.Secret{Name: name, Path: authority.Path("app/" + name), Spec: v1alpha1.ManagedSecretSpec{Class: "runtime", Origin: origin}}
	if origin.Derived != nil {
		s.Spec.Class = "derived"
	}
	for _, consumer := range consumers {
		s.Consumers = append(s.Consumers, intent.Consumer{ConsumerSpec: v1alpha1.ConsumerSpec{Name: consumer}})
	}
	estate.Secrets[name] = s
}

func from(inputs ...string) v1alpha1.Origin {
	named := map[string]string{}
	for _, input := range inputs {
		named["of"+input] = input
	}
	return v1alpha1.Origin{Derived: &v1alpha1.DerivedOrigin{Inputs: named}}
}

// A database's password is in a connection string, that in a file of settings: whoever reads those breaks with it.
func derivedEstate() *intent.Estate {
	estate := &intent.Estate{Secrets: map[string]*intent.Secret{}, Upstreams: map[string]v1alpha1.Upstream{}}
	declare(estate, "password", v1alpha1.Origin{Issued: &v1alpha1.IssuedOrigin{}}, "backup")
	declare(estate, "salt", v1alpha1.Origin{Generated: &v1alpha1.GenerateRule{Type: "token"}})
	declare(estate, "url", from("password", "salt"), "web", "worker")
	declare(estate, "settings", from("url", "password"), "cron")
	estate.Upstreams["pool"] = v1alpha1.Upstream{Spec: v1alpha1.UpstreamSpec{AdminRef: "settings"}}
	return estate
}

func rows(sources inventory.Sources) map[string]inventory.Row {
	byName := map[string]inventory.Row{}
	for _, row := range inventory.Build(sources) {
		byName[row.Secret] = row
	}
	return byName
}

func TestWhatIsComputedFromASecretDependsOnIt(t *testing.T) {
	built := rows(inventory.Sources{Estate: derivedEstate(), Now: epoch})
	settings := inventory.Dependent{Secret: "settings", Consumers: []string{"cron"}, Opens: []string{"pool"}}
	url := inventory.Dependent{Secret: "url", Consumers: []string{"web", "worker"}}
	for name, want := range map[string][]inventory.Dependent{
		"password": {settings, url}, "salt": {url, settings}, "url": {settings}, "settings": nil,
	} {
		if diff := cmp.Diff(want, built[name].Dependents); diff != "" {
			t.Errorf("what depends on %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOriginIsTheDeclaredOne(t *testing.T) {
	built := rows(inventory.Sources{Estate: derivedEstate(), Now: epoch})
	for name, want := range map[string]string{
		"password": "issued", "salt": "generated", "url": "derived from password, salt", "settings": "derived from password, url",
	} {
		if got := built[name].Origin; got != want {
			t.Errorf("the origin of %s is %q, want %q", name, got, want)
		}
	}
}

// A derived secret is not one that somebody has to ask for.
func TestDerivedSecretSaysWhenItChanges(t *testing.T) {
	estate := derivedEstate()
	entry := &journal.Entry{Path: "app/url", Secret: "url", Current: &authority.VersionID{Number: 1}, Rotated: epoch}
	sources := inventory.Sources{Estate: estate, Entries: []*journal.Entry{entry}, Now: epoch}
	row := rows(sources)["url"]
	if next := inventory.Next(row, epoch); row.State != "steady" || !strings.Contains(next, "computed again when") {
		t.Errorf("it is %s, and next comes %q", row.State, next)
	}
	entry.Live = &journal.Run{ID: "run-1", Workflow: journal.Derivation, Step: journal.Planned}
	if row := rows(sources)["url"]; row.State != "rebuilding" || row.Authority != "authority" {
		t.Errorf("while it is computed it is %s, held by %s", row.State, row.Authority)
	}
}

func TestWaitKeepsWhetherItIsByDesign(t *testing.T) {
	entry := &journal.Entry{
		Path: "app/salt", Secret: "salt", Current: &authority.VersionID{Number: 1},
		Live: &journal.Run{ID: "run-1", Workflow: journal.Rotation, Waiting: &journal.Waiting{Reason: reason.New(reason.SettleTime, nil)}},
	}
	sources := inventory.Sources{Estate: derivedEstate(), Entries: []*journal.Entry{entry}, Now: epoch}
	if row := rows(sources)["salt"]; !row.Waiting.Is(reason.SettleTime) || row.Held() {
		t.Errorf("by the journal it waits because of %+v", row.Waiting)
	}
	sources.States = map[authority.Path]orchestrator.State{"app/salt": {Waiting: reason.New(reason.ForeignWrite, nil)}}
	if row := rows(sources)["salt"]; !row.Waiting.Is(reason.ForeignWrite) || !row.Held() {
		t.Errorf("by the last look it waits because of %+v", row.Waiting)
	}
}

// An entry that only says that a sign-in was tried is of no secret that anybody forgot to declare.
func TestEntryOfNothingIsNoUndeclaredSecret(t *testing.T) {
	entries := []*journal.Entry{
		{Path: "app/tried", Secret: "tried", Tried: true},
		{Path: "app/gone", Secret: "gone", Current: &authority.VersionID{Number: 1}},
	}
	built := rows(inventory.Sources{Entries: entries, Now: epoch})
	if len(built) != 1 || built["gone"].State != "undeclared" {
		t.Errorf("got %+v", built)
	}
}

// A secret whose journal cannot be read is shown as that, not as one that was never issued.
func TestUnreadableEntryIsSaid(t *testing.T) {
	fault := errors.New("schema 2, this custody knows 1")
	entries := []*journal.Entry{{Path: "app/salt", Fault: fault}, {Path: "app/gone", Fault: fault}, {Path: "app/password", Secret: "password", Current: &authority.VersionID{Number: 1}}}
	built := inventory.Build(inventory.Sources{Estate: derivedEstate(), Entries: entries, Now: epoch})
	states := map[string]inventory.Row{}
	for _, row := range built {
		states[row.Path] = row
	}
	for _, path := range []string{"app/salt", "app/gone"} {
		if row := states[path]; row.State != "unreadable" || !row.Held() || row.Waiting.Cause != fault.Error() {
			t.Errorf("%s: %+v", path, row)
		}
	}
	if got := states["app/password"].State; got != "steady" {
		t.Errorf("the other is %s", got)
	}
}

// What a handover waits for is said; a bootstrap document that can be read is not.
func TestHandoverSaysWhatItWaitsFor(t *testing.T) {
	row := inventory.Row{State: "waiting-handover", Waiting: reason.New(reason.BootstrapUndecided, nil).Show()}
	if got, want := inventory.Next(row, epoch), "handover; it waits: "+row.Waiting.Text; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	row.Waiting = nil
	if got, want := inventory.Next(row, epoch), "handover, at the next look of a server"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
