// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/google/go-cmp/cmp"
)

func TestUsesNameWhoAndWhen(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	got, err := login.Uses([]login.Session{
		{Program: "billing", Database: "shop", Address: "10.0.0.7:51234", Idle: "0"},
		{Address: "::1", Idle: "1.5"},
		{Program: "psql", Idle: "-3"}, // the server's clock was set back
		{Program: "cron", Address: "10.0.0.8", Idle: "61"},
	}, now, now.Add(-time.Minute))
	want := []upstream.Use{
		{Who: "billing from 10.0.0.7 in shop", Last: now},
		{Who: "from ::1", Last: now.Add(-1500 * time.Millisecond)},
		{Who: "psql from a socket", Last: now},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("uses (%v) (-want +got):\n%s", err, diff)
	}
	if _, err := login.Uses([]login.Session{{Program: "billing", Idle: "NULL"}}, now, now); err == nil {
		t.Error("a session without a time: got no error")
	}
}
