// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
)

func TestPolicyDefaults(t *testing.T) {
	got, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "30d"})
	if err != nil {
		t.Fatal(err)
	}
	want := Policy{Name: "p", Type: Timed, TTL: 30 * duration.Day, RevokeOld: true, MaxOverlap: duration.Day, FailureStrategy: Alert, Settle: time.Minute, QuietWindow: time.Minute, VerifyEvery: duration.Day, WarnBefore: 14 * duration.Day, OnForeignWrite: "hold", RetireGrace: time.Hour}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if _, err := ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "time", TTL: "1h"}); err == nil {
		t.Error("a policy that cannot be kept was parsed")
	}
	keep := false
	got, err = ParsePolicy("p", v1alpha1.RotationPolicySpec{RotationType: "event", RevokeOld: &keep, Settle: "0s", FailureStrategy: "hold"})
	if err != nil || got.RevokeOld || got.Settle != 0 || got.FailureStrategy != Hold {
		t.Errorf("got %+v, %v", got, err)
	}
}
