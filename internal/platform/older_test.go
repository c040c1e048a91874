// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/upstream"
)

// Each document that is not in force as the newest estate has it is a finding: which, since when, why, and what to do.
func TestFindingsNameWhatIsNotInForce(t *testing.T) {
	since := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	fault := intent.Fault{File: "a.yaml", Line: 3, Column: 1, Rule: "path-form", Reason: "the path is not well-formed"}
	estate := &intent.Estate{Older: []intent.Older{
		{Subject: "ManagedSecret/a", InForce: true, Since: since, Fault: fault},
		{Subject: "ManagedSecret/b", InForce: true, Removed: true, Since: since, Fault: fault},
		{Subject: "ManagedSecret/c", Since: since, Fault: fault},
		{Since: since, Fault: fault},
	}}
	args := func(of string) reason.Args { return reason.Args{"document": of, "since": "2030-01-01T00:00:00Z"} }
	want := []reason.Reason{
		reason.New(reason.FormNotInForce, args("ManagedSecret/a")), reason.New(reason.RemovalNotInForce, args("ManagedSecret/b")),
		reason.New(reason.DocumentNotInForce, args("ManagedSecret/c")),
		reason.New(reason.FileNotInForce, reason.Args{"file": "a.yaml", "since": "2030-01-01T00:00:00Z"}),
	}
	for i := range want {
		want[i].Cause = "a.yaml:3:1: the path is not well-formed [path-form]"
	}
	if diff := cmp.Diff(want, olderForms(estate)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	var steps []string
	for _, step := range olderSteps(estate) {
		steps = append(steps, step.Secret+" "+step.What)
	}
	if diff := cmp.Diff([]string{"ManagedSecret/a keep the form before", "ManagedSecret/b keep the form before", "ManagedSecret/c nothing", "a.yaml nothing"}, steps); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	for i := range 100 {
		estate.Older = append(estate.Older, intent.Older{Subject: fmt.Sprint("ManagedSecret/", i), Fault: fault})
	}
	if got := olderForms(estate); len(got) != maxOlder+1 || !got[maxOlder].Is(reason.MoreNotInForce) || got[maxOlder].Args["count"] != "84" {
		t.Errorf("of %d documents it is said %+v", len(estate.Older), got[len(got)-1])
	}
	if got := olderForms(nil); got != nil {
		t.Errorf("without an estate: %+v", got)
	}
}

// What is said changes though what is in force does not: it was said of the document that was broken first.
func TestReloadRetellsWhatIsNotInForce(t *testing.T) {
	estate := &intent.Estate{Digest: "1"}
	kept := 0
	p := New(Config{
		Now: time.Now, Orchestrator: orchestrator.New(orchestrator.Config{}),
		Load:       func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return nil, nil },
		SaveEstate: func(*intent.Estate) error { kept++; return nil }, Grants: ungrantedAll{},
	})
	p.Reload()
	estate = &intent.Estate{Digest: "1", Older: []intent.Older{{Subject: "ManagedSecret/a", InForce: true}}}
	p.Reload()
	if got := p.Older(); len(got) != 1 || kept != 2 {
		t.Errorf("it is said %q, and %d copies were kept", got, kept)
	}
	p.Reload()
	if kept != 2 {
		t.Error("what did not change is kept again")
	}
	estate = &intent.Estate{Digest: "1"}
	if p.Reload(); p.Older() != nil {
		t.Errorf("once it is mended it is said %q", p.Older())
	}
}

// A document that has a fault, and so is not in force, wants more of a first value: the secret is bound anew, and not handed over
// half.
func TestReloadBindsWhatIsDemanded(t *testing.T) {
	estate := &intent.Estate{Digest: "1"}
	var bound []int
	p := New(Config{
		Now: time.Now, Orchestrator: orchestrator.New(orchestrator.Config{}),
		Load: func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind: func(e *intent.Estate) ([]orchestrator.Secret, error) {
			bound = append(bound, len(e.Demands["admin"]))
			return nil, nil
		},
		SaveEstate: func(*intent.Estate) error { return nil }, Grants: ungrantedAll{},
	})
	p.Reload()
	for _, fields := range []string{"password", "password", "key"} {
		estate = &intent.Estate{Digest: "1", Demands: map[string][]upstream.Demand{"admin": {{Field: upstream.OneOf{fields}, By: "upstream db"}}}}
		p.Reload()
	}
	if diff := cmp.Diff([]int{0, 1, 1}, bound); diff != "" {
		t.Errorf("demands that were bound (-want +got):\n%s", diff)
	}
}

// The loader is told what is in force: what does not lint stays as it is there.
func TestReloadGoesOnFromWhatIsInForce(t *testing.T) {
	var told []string
	digest := "1"
	p := New(Config{
		Now: time.Now, Orchestrator: orchestrator.New(orchestrator.Config{}),
		Load: func(current *intent.Estate) (*intent.Estate, error) {
			if current == nil {
				told = append(told, "none")
			} else {
				told = append(told, current.Digest)
			}
			if digest == "" {
				return nil, errors.New("a cycle")
			}
			return &intent.Estate{Digest: digest}, nil
		},
		Bind: func(*intent.Estate) ([]orchestrator.Secret, error) {
			return []orchestrator.Secret{{Digest: "same", Subject: rotation.Subject{Secret: "a", Path: "a"}}}, nil
		},
		SaveEstate: func(*intent.Estate) error { return nil }, Grants: ungrantedAll{},
	})
	p.Reload()
	digest = ""
	p.Reload()
	digest = "2"
	p.Reload()
	if diff := cmp.Diff([]string{"none", "1", "1"}, told); diff != "" || p.Estate().Digest != "2" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
