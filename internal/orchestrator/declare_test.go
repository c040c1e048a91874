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

// A commit that changed one document had the whole journal listed, to compare names with histories that had not changed.
func TestAChangeThatNamesNothingElseListsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]orchestrator.Secret) []orchestrator.Secret
		lists  bool
	}{
		"what it says":  {func(all []orchestrator.Secret) []orchestrator.Secret { return all }, false},
		"its name":      {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].Secret = "other"; return all }, true},
		"former names":  {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].Former = []string{"s9"}; return all }, true},
		"its path":      {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].Path = "app/other"; return all }, true},
		"its upstream":  {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].SentTo = "other"; return all }, true},
		"a grant":       {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].Allowed = true; return all }, true},
		"one is gone":   {func(all []orchestrator.Secret) []orchestrator.Secret { return slices.Delete(all, 3, 4) }, true},
		"one is halted": {func(all []orchestrator.Secret) []orchestrator.Secret { all[3].Suspended = true; return all }, false},
	} {
		t.Run(name, func(t *testing.T) {
			estate(t, 6, func(r *rig) {
				for i := range r.secrets {
					r.secrets[i].Digest = "one"
				}
				journals := &listed{Store: r.store}
				r.records = journals
				process := r.start()
				r.pass(process, time.Minute)
				before, changed := journals.listings.Load(), slices.Clone(r.secrets)
				changed[3].Digest = "other"
				process.Change(test.change(changed))
				r.pass(process, time.Minute)
				if listings := journals.listings.Load() - before; test.lists != (listings > 0) {
					t.Errorf("the journal was listed %d times", listings)
				}
			})
		})
	}
}
