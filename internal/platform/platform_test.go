// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
)

// inForce returns a platform with the estate and its secrets.
func inForce(t *testing.T, estate *intent.Estate, secrets ...orchestrator.Secret) *Platform {
	t.Helper()
	p := New(Config{
		Now: func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }, Orchestrator: orchestrator.New(orchestrator.Config{}),
		Load:       func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return secrets, nil },
		SaveEstate: func(*intent.Estate) error { return nil },
		Grants:     ungrantedAll{},
	})
	if !p.Reload() {
		t.Fatal(p.Fault())
	}
	return p
}

// ungrantedAll is a platform whose operator has granted nothing.
type ungrantedAll struct{ Grants }

func (ungrantedAll) Refresh(context.Context) bool      { return false }
func (ungrantedAll) Entries() ([]grant.Entry, error)   { return nil, nil }
func (ungrantedAll) Known(*intent.Estate) []grant.Need { return nil }
func (ungrantedAll) Missing(context.Context, *intent.Estate) ([]grant.Need, error) {
	return nil, nil
}

func TestEstateCapsTimedRuns(t *testing.T) {
	estate := &intent.Estate{Digest: "1"}
	estate.Platform.Spec.Rotation.MaxTimedRunsPerHour = 7
	if got := inForce(t, estate).Orchestrator.MaxTimedPerHour; got != 7 {
		t.Errorf("%d timed runs may begin in an hour, want 7", got)
	}
}

// A derived secret has no upstream and may have none: what can be rotated are its inputs.
func TestRotatingADerivedSecretNamesItsInputs(t *testing.T) {
	declared := &intent.Secret{Name: "url", Path: "app/url", Spec: v1alpha1.ManagedSecretSpec{
		Class: "derived", Origin: v1alpha1.Origin{Derived: &v1alpha1.DerivedOrigin{Inputs: map[string]string{"db": "password"}}},
	}}
	p := inForce(t, &intent.Estate{Digest: "1", Secrets: map[string]*intent.Secret{"url": declared}},
		orchestrator.Secret{Subject: rotation.Subject{Secret: "url", Path: "app/url"}, Derived: &derivation.Subject{}})
	_, err := p.Rotate(t.Context(), "me", server.RotateRequest{ID: "a", Secret: "url", Reason: "leaked"})
	problem, is := errors.AsType[*server.Problem](err)
	if !is || problem.Class != server.Refused || !strings.Contains(problem.Hint, "custody rotate password") || strings.Contains(problem.Hint, "upstreamRef") {
		t.Errorf("got %+v", err)
	}
}

// Findings are alerted on: what comes by itself is none.
func TestFindingsWantAPerson(t *testing.T) {
	rows := []inventory.Row{
		{Secret: "resting", Waiting: reason.New(reason.SettleTime, nil).Show()},
		{Secret: "stuck", Waiting: reason.New(reason.RunValuesGone, nil).Show()},
		{Secret: "late", Waiting: reason.New(reason.QuietWindow, nil).Show(), Drift: reason.New(reason.ConsumerDrifted, reason.Args{"consumer": "app"}).Show(), Expired: true, ExpiresBy: "policy"},
	}
	var got []string
	for _, row := range rows {
		for _, finding := range findings(row, time.Time{}) {
			got = append(got, finding.Secret+": "+string(finding.Code))
		}
	}
	want := []string{"stuck: run-values-gone", "late: lifetime-ended", "late: consumer-drifted"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// A restart on a full disk called every secret undeclared: the copy of the estate could not be kept, so none was in force.
func TestEstateIsInForceThoughNoCopyIsKept(t *testing.T) {
	full := errors.New("no space left on device")
	kept := full
	p := New(Config{
		Now: time.Now, Orchestrator: orchestrator.New(orchestrator.Config{}),
		Load:       func(*intent.Estate) (*intent.Estate, error) { return &intent.Estate{Digest: "1"}, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return nil, nil },
		SaveEstate: func(*intent.Estate) error { return kept },
		Grants:     ungrantedAll{},
	})
	if !p.Reload() || p.Estate() == nil || p.Fault() != "" {
		t.Fatalf("the estate is not in force: %s", p.Fault())
	}
	if p.unsaved != full.Error() {
		t.Errorf("it is said that %q", p.unsaved)
	}
	kept = nil
	if p.Reload(); p.unsaved != "" {
		t.Errorf("with room on the disk again, %q is still said", p.unsaved)
	}
}
