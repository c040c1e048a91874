// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"iter"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

// counted counts what is asked of an authority.
type counted struct {
	uninitialised
	asked *atomic.Int64
}

func (c counted) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	c.asked.Add(1)
	return c.uninitialised.Read(ctx, path)
}

func (c counted) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	c.asked.Add(1)
	return c.uninitialised.ReadVersion(ctx, path, number)
}

func (c counted) Get(ctx context.Context, key string) (authority.Document, error) {
	c.asked.Add(1)
	return c.uninitialised.Get(ctx, key)
}

func (c counted) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	c.asked.Add(1)
	return c.uninitialised.Keys(ctx, prefix)
}

type noGrants struct{ platform.Grants }

func (noGrants) Entries() ([]grant.Entry, error) { return nil, nil }

// Everybody on the machine may read the metrics. Each scrape read the whole journal, looked for the bootstrap identity and
// decrypted the documents that were still to be handed over.
func TestAScrapeAsksNothing(t *testing.T) {
	var asked atomic.Int64
	store := counted{asked: &asked}
	p := &parts{store: store, record: uninitialised{}, log: slog.New(slog.DiscardHandler), calls: outward.New(Now)}
	p.values, p.steps = outward.NewStore(store, p.calls), newSteps(p.log)
	asks := func() bool { asked.Add(1); return false }
	p.platform = platform.New(platform.Config{
		Now: Now, Initialised: true, Broken: p.broken, Authority: p.values, Journal: journal.New(p.values), Record: uninitialised{}, Grants: noGrants{},
		Queue: trigger.New(p.values, uninitialised{}, Now), Clock: trigger.NewClock(p.values, Now, func() time.Duration { return 0 }),
		Orchestrator: orchestrator.New(orchestrator.Config{Now: Now}), Identity: asks,
		Machine:  func() []string { asks(); return []string{"a finding"} },
		Readable: func(context.Context, string) error { asks(); return nil },
	})
	p.platform.Serving()
	scrape := func() string {
		answer := httptest.NewRecorder()
		metrics(p.platform, p.steps, p.hooks).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		return answer.Body.String()
	}
	if shown := scrape(); !strings.Contains(shown, "custody_ready 0\n") || strings.Contains(shown, "custody_findings") {
		t.Errorf("before anything is known: %s", shown)
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("a scrape asked %d times, want 0", got)
	}
	if err := p.platform.Summarise(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	for range 3 {
		if shown := scrape(); !strings.Contains(shown, "custody_findings 1\n") || !strings.Contains(shown, `custody_reasons{class="person",code="machine-file"} 1`) || !strings.Contains(shown, "custody_summary_timestamp_seconds ") {
			t.Errorf("a scrape does not show what was put together: %s", shown)
		}
	}
	if got := asked.Load(); before == 0 || got != before {
		t.Errorf("putting it together asked %d times, three scrapes %d times, want 0", before, got-before)
	}
}

type lastAt struct {
	platform.Backups
	at time.Time
}

func (l lastAt) Last() time.Time { return l.at }

type fetchedAt struct {
	platform.Source
	at time.Time
}

func (f fetchedAt) Standing() server.Source { return server.Source{Fetched: f.at} }

// What alerts compare with the clock is shown where it is known, and left out where it is not.
func TestWhenThingsWereDoneLast(t *testing.T) {
	shown := func(at time.Time) string {
		p := platform.New(platform.Config{
			Now: Now, Authority: outward.NewStore(uninitialised{}, outward.New(Now)), Record: uninitialised{}, Grants: noGrants{}, Initialised: true, Broken: func() string { return "" },
			Orchestrator: orchestrator.New(orchestrator.Config{Now: Now}), Backups: lastAt{at: at}, Source: fetchedAt{at: at},
		})
		answer := httptest.NewRecorder()
		metrics(p, newSteps(slog.New(slog.DiscardHandler)), nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		return answer.Body.String()
	}
	at := time.Unix(1_700_000_000, 0)
	for _, metric := range []string{"custody_backup_timestamp_seconds", "custody_estate_fetched_timestamp_seconds"} {
		if got := shown(at); !strings.Contains(got, metric+" 1.7e+09\n") {
			t.Errorf("%s is not what it was: %s", metric, got)
		}
		if got := shown(time.Time{}); strings.Contains(got, "\n"+metric) {
			t.Errorf("%s is shown where nothing is known", metric)
		}
	}
}
