// SPDX-License-Identifier: Apache-2.0

package orchestrator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/orchestrator"
)

// A commit that changed one document had every secret looked at, and every consumer proven.
func TestChangeWakesWhatChanged(t *testing.T) {
	tests := map[string]struct {
		before, change func(secrets []orchestrator.Secret) []orchestrator.Secret
		want           string
	}{
		"nothing": {
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret { return secrets },
		},
		"one": {
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret { secrets[3].Digest = "other"; return secrets },
			want:   "s3",
		},
		"one that cannot be told": {
			before: func(secrets []orchestrator.Secret) []orchestrator.Secret { secrets[3].Digest = ""; return secrets },
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret { return secrets },
			want:   "s3",
		},
		"one that others read": {
			before: func(secrets []orchestrator.Secret) []orchestrator.Secret {
				secrets[5].Reads = []authority.Path{secrets[3].Path}
				return secrets
			},
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret { secrets[3].Digest = "other"; return secrets },
			want:   "s3 s5",
		},
		"one that others read is gone": {
			before: func(secrets []orchestrator.Secret) []orchestrator.Secret {
				secrets[5].Reads = []authority.Path{secrets[3].Path}
				return secrets
			},
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret { return slices.Delete(secrets, 3, 4) },
			want:   "s5",
		},
		"one leaves a stagger set": {
			before: func(secrets []orchestrator.Secret) []orchestrator.Secret {
				for _, i := range []int{3, 7} {
					secrets[i].Stagger = &orchestrator.Stagger{Set: "pair", Gap: time.Hour}
				}
				return secrets
			},
			change: func(secrets []orchestrator.Secret) []orchestrator.Secret {
				secrets[3].Stagger, secrets[3].Digest = nil, "other"
				return secrets
			},
			want: "s3 s7",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			estate(t, 30, func(r *rig) {
				for i := range r.secrets {
					r.secrets[i].Digest = "one"
				}
				if test.before != nil {
					r.secrets = test.before(r.secrets)
				}
				process := r.start()
				r.pass(process, time.Minute)
				changed := time.Now()
				process.Change(test.change(slices.Clone(r.secrets)))
				if _, err := process.Tick(r.t.Context()); err != nil {
					t.Fatal(err)
				}
				var looked []string
				for _, state := range process.States() {
					if !state.Looked.Before(changed) {
						looked = append(looked, state.Secret)
					}
				}
				slices.Sort(looked)
				if got := strings.Join(looked, " "); got != test.want {
					t.Errorf("looked at %q, want %q", got, test.want)
				}
			})
		})
	}
}
