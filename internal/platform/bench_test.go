// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	auditmemory "custody.dev/custody/internal/audit/memory"
	"custody.dev/custody/internal/authority"
	authoritymemory "custody.dev/custody/internal/authority/memory"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/trigger"
)

// large is a serving platform of that many secrets of ten teams, all of which were rotated and looked at, and what the model takes
// for each, in bytes.
func large(b *testing.B, count int) (p *Platform, each float64) {
	b.Helper()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	estate := &intent.Estate{Digest: "1", Secrets: make(map[string]*intent.Secret, count), Policies: map[string]intent.Policy{"monthly": {
		Name: "monthly", Type: "time", TTL: 30 * 24 * time.Hour, RotateBefore: 7 * 24 * time.Hour, Jitter: 24 * time.Hour,
	}}}
	secrets := make([]orchestrator.Secret, count)
	for i := range count {
		name := fmt.Sprintf("secret-%06d", i)
		s := &intent.Secret{Name: name, Path: authority.Path("app/" + name)}
		s.Spec.Purpose, s.Spec.Class, s.Spec.Owner.Team = "signs the sessions of service "+name, "runtime", fmt.Sprintf("team-%d", i%10)
		estate.Secrets[name] = s
		secrets[i] = orchestrator.Secret{Subject: rotation.Subject{Secret: name, Path: s.Path}}
	}
	estate.Relate()
	log := &record{Log: auditmemory.New(clock)}
	store := authoritymemory.New(authoritymemory.Config{Incarnation: "one", Clock: clock})
	p = New(Config{
		Authority: store, Journal: journal.New(store), Record: log, Now: clock, Queue: trigger.New(store, log, clock), Initialised: true,
		Clock: trigger.NewClock(store, clock, func() time.Duration { return 0 }), Orchestrator: orchestrator.New(orchestrator.Config{Now: clock}),
		Load:       func(*intent.Estate) (*intent.Estate, error) { return estate, nil },
		Bind:       func(*intent.Estate) ([]orchestrator.Secret, error) { return secrets, nil },
		SaveEstate: func(*intent.Estate) error { return nil },
		Grants:     ungrantedAll{}, Identity: func() bool { return true }, Readable: func(context.Context, string) error { return nil },
		Broken: func() string { return "" },
	})
	if !p.Reload() {
		b.Fatal(p.Fault())
	}
	before := heap()
	for _, s := range estate.Secrets {
		id := authority.RunID("0192a3b4-5c6d-7e8f-9012-" + s.Name)
		p.Model.Saw(&journal.Entry{
			Schema: journal.Schema, Secret: s.Name, Path: s.Path, Rotated: now, Current: &authority.VersionID{Incarnation: "one", Run: id, Number: 3},
			Last: &journal.Outcome{
				Run: id, Workflow: journal.Rotation, Result: "completed", Started: now, Ended: now,
				Trigger: journal.Trigger{Kind: trigger.Time, By: "policy monthly", Reason: "its lifetime ends"},
			},
		})
		p.Model.Looked(orchestrator.State{Secret: s.Name, Path: s.Path, Looked: now})
	}
	each = float64(heap()-before) / float64(count)
	p.Serving()
	return p, each
}

// heap is what is in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// counter counts what an answer is made of, as a connection would take it.
type counter struct {
	http.ResponseWriter
	bytes int64
}

func (c *counter) Write(data []byte) (int, error) {
	c.bytes += int64(len(data))
	return io.Discard.Write(data)
}

// BenchmarkQuestion is what a running server takes for each answer, from the request to the last byte written.
func BenchmarkQuestion(b *testing.B) {
	for _, count := range thorough.Of([]int{100}, []int{10_000}, []int{10_000, 100_000}) {
		p, each := large(b, count)
		handler := server.Handler(p)
		for _, question := range []string{
			"inventory", "inventory?owner=team-3", "inventory?secret=secret-000007", "inventory?findings=true", "status", "status?findings=true", "plan",
		} {
			b.Run(fmt.Sprintf("%s of %d", question, count), func(b *testing.B) {
				b.ReportAllocs()
				var written int64
				asked := server.WithCaller(b.Context(), "user bench", server.Reader)
				for b.Loop() {
					recorder := httptest.NewRecorder()
					answer := &counter{ResponseWriter: recorder}
					handler.ServeHTTP(answer, httptest.NewRequestWithContext(asked, "GET", "/v1/"+question, nil))
					if recorder.Code != http.StatusOK { // a refusal costs nothing
						b.Fatalf("%s: %d %s", question, recorder.Code, recorder.Body)
					}
					written = answer.bytes
				}
				b.ReportMetric(float64(written), "answer-B")
			})
		}
		b.Run(fmt.Sprintf("summary of %d", count), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Summarise(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(each, "model-B/secret")
		})
	}
}
