// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/wire/kinds"
)

// TestLimitOfFileSize holds the loader to exactly 1 MiB.
func TestLimitOfFileSize(t *testing.T) {
	for size, want := range map[int]bool{maxFile: false, maxFile + 1: true} {
		filler := "#" + strings.Repeat("x", size-1)
		_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(filler)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := faults[0].Rule == "file-too-large"; got != want {
			t.Errorf("%d bytes: too large %v, want %v (%v)", size, got, want, faults)
		}
	}
}

// TestFaultsOfEveryEnvironment finds a fault that only the merged whole of one environment has, and says which.
func TestFaultsOfEveryEnvironment(t *testing.T) {
	dir := newStage(t).set(t, "testdata/broken/override-merged-chosen")
	for environment, want := range map[string][]string{
		"":     {"expires-form (in environment dev)", "policy-dangling (in environment prod)"},
		"dev":  {"expires-form"},
		"prod": {"policy-dangling"},
	} {
		_, faults, err := Load(dir+"/estate", Options{Types: kinds.Upstreams(), Environment: environment})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range faults {
			_, suffix, found := strings.Cut(f.Reason, " (in")
			if found {
				f.Rule += " (in" + suffix
			}
			got = append(got, f.Rule)
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("environment %q: got %q, want %q", environment, got, want)
		}
	}
}

func TestAccessorsWithoutAnswer(t *testing.T) {
	e := good(t, newStage(t).set(t, "testdata/good"), Options{})
	signing := e.Secrets["app-signing"]
	if _, ok := e.UpstreamOf(signing); ok {
		t.Error("an upstream for a secret without one")
	}
	if _, ok := e.BootstrapOf(signing); ok {
		t.Error("a bootstrap document for a generated secret")
	}
	if _, ok := e.AdminOf(v1alpha1.Upstream{}); ok {
		t.Error("an admin for an upstream without a type")
	}
	if _, ok := e.ByName("nobody"); ok {
		t.Error("a secret for an unknown name")
	}
	if _, ok := FindRule("nothing"); ok {
		t.Error("a rule for an unknown id")
	}
	if got := e.PolicyOf(e.Secrets["db-admin"]); got.Name != "on-event" || got.RevokeOld || got.FailureStrategy != Hold {
		t.Errorf("policy %+v", got)
	}
}
