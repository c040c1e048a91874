// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	materializememory "custody.dev/custody/internal/materialize/memory"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	upstreammemory "custody.dev/custody/internal/upstream/memory"
)

// standing is a platform with a run that waits for a proof: its document holds what it replaces and what it promoted.
func standing(t *testing.T) (*Platform, *counted, *journal.Held) {
	t.Helper()
	p, store := questioned(t)
	p.Serving()
	p.tick(t)
	bound, err := p.Bind(nil)
	if err != nil {
		t.Fatal(err)
	}
	bound[0].Subject.Consumers[0].Consumer.(*materializememory.Consumer).RefuseUntil(time.Now().Add(time.Hour))
	if _, err := p.Rotate(t.Context(), "me", server.RotateRequest{ID: "again", Secret: "key", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	p.tick(t)
	held, err := journal.New(store).LoadHeld(t.Context(), "app/key")
	if err != nil || held.Pending == nil || held.Pending.Old.Empty() || held.Pending.Candidate.Empty() {
		t.Fatalf("the run has no values, %v: nothing could come out", err)
	}
	return p, store, held
}

// damage replaces a document by one that cannot be read and has the values of another in unknown places.
func damage(t *testing.T, store *counted, path string, with ...secret.Value) {
	t.Helper()
	document, err := store.Get(t.Context(), "secret/"+path)
	if err != nil {
		t.Fatal(err)
	}
	var spelled []string
	for _, v := range with {
		spelled = append(spelled, string(v.Encode()))
	}
	data := strings.Replace(string(document.Data), "{", `{"unknown":[`+strings.Join(spelled, ",")+`],`, 1)
	if _, err := store.Put(t.Context(), document.Key, document.Revision, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// TestNoValueOfARunComesOut asks everything, and makes every verb fail, while documents hold values.
func TestNoValueOfARunComesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store, held := standing(t)
		damage(t, store, "app/token", held.Pending.Old, held.Pending.Candidate)
		ctx, id, wrong := t.Context(), held.Live.ID, held.Pending.Old
		if stored, err := store.Get(ctx, "secret/app/token"); err != nil || !strings.Contains(string(stored.Data), wrong.ExposeText(upstreammemory.Key)) {
			t.Fatalf("the search looks for the wrong text: %v", err)
		}
		says := map[string]func() (any, error){
			"status":    func() (any, error) { return p.Status(ctx, server.Filter{}) },
			"inventory": func() (any, error) { return rowsOf(ctx, p) },
			"explain":   func() (any, error) { return p.Explain(ctx, "key") },
			"damaged":   func() (any, error) { return p.Explain(ctx, "token") },
			"plan":      func() (any, error) { return p.Plan(ctx, server.Filter{}) },
			"runs":      func() (any, error) { return p.Runs(ctx, "") },
			"run":       func() (any, error) { return p.Run(ctx, id) },
			"doctor":    func() (any, error) { return p.Doctor(ctx) },
			"granted":   func() (any, error) { return p.Granted(ctx) },
			"summary":   func() (any, error) { return p.Summary(), p.Summarise(ctx) },
			"known":     func() (any, error) { return entriesOf(ctx, p) },
			"abort":     func() (any, error) { return nil, p.Abort(ctx, "me", id, "test") },
			"supply":    func() (any, error) { return p.Supply(ctx, "me", "key", "test", wrong) },
			"unread":    func() (any, error) { return p.Supply(ctx, "me", "token", "test", wrong) },
			"deliver":   func() (any, error) { return p.Deliver(ctx, "me", "key", "") },
			"force":     func() (any, error) { return p.Force(ctx, "me", id, "test") },
			"audit":     func() (any, error) { return p.Audit(ctx, audit.Filter{}) },
		}
		for name, ask := range says {
			answer, err := ask()
			p.tick(t) // what failed shows in the next answers
			encoded, failed := json.Marshal(answer)
			if failed != nil {
				t.Fatal(failed)
			}
			if len(encoded) < 3 && err == nil {
				t.Errorf("%s says nothing: nothing was searched", name)
			}
			for _, said := range []string{string(encoded), fmt.Sprintf("%+v", answer), fmt.Sprint(err)} {
				for what, v := range map[string]secret.Value{"the old value": held.Pending.Old, "the candidate": held.Pending.Candidate} {
					if strings.Contains(said, v.ExposeText(upstreammemory.Key)) {
						t.Errorf("%s shows %s: %.300s", name, what, said)
					}
				}
			}
		}
	})
}

func rowsOf(ctx context.Context, p *Platform) (rows []any, err error) {
	all, err := p.Inventory(ctx, server.Filter{})
	if err != nil {
		return nil, err
	}
	for row := range all {
		rows = append(rows, row)
	}
	return rows, nil
}

func entriesOf(ctx context.Context, p *Platform) (entries []*journal.Entry, err error) {
	entry, err := p.Journal.Load(ctx, authority.Path("app/key"))
	return append(entries, entry), err
}
