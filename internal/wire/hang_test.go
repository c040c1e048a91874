// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

// hangs is an authority and a record that never answer, whatever their context says.
type hangs struct {
	uninitialised
	release chan struct{}
}

func (h hangs) Keys(context.Context, string) iter.Seq2[string, error] {
	<-h.release
	return authority.Each(nil)
}

func (h hangs) Put(context.Context, string, authority.Revision, []byte) (authority.Revision, error) {
	<-h.release
	return 0, nil
}

func (h hangs) Append(context.Context, audit.Event) error { <-h.release; return nil }

// A disk or an authority that hung stopped the loop, and /readyz went on saying that all was well, or did not answer at all.
func TestReadyzNamesWhatHangsAndTheLoopGoesOn(t *testing.T) {
	for name, test := range map[string]struct {
		call func(*parts)
		want string
	}{
		"question": {func(*parts) {}, "not ready: the authority has not answered a question since "}, // the loop's own
		"change":   {func(p *parts) { _, _ = p.values.Put(context.Background(), "key", 0, nil) }, "not ready: the authority has not taken a change since "},
		"event":    {func(p *parts) { _ = boundedRecord{p.record, p.calls}.Append(context.Background(), audit.Event{}) }, "not ready: the record has not taken an event since "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hung := hangs{release: make(chan struct{})}
				p := &parts{store: hung, record: hung, log: slog.New(slog.DiscardHandler), calls: outward.New(Now)}
				p.values = outward.NewStore(p.store, p.calls)
				entries := journal.New(p.values)
				p.platform = platform.New(platform.Config{
					Initialised: true, Broken: p.broken, Unanswered: p.unanswered,
					Orchestrator: orchestrator.New(orchestrator.Config{
						Journal: entries, Values: p.values, Now: Now, Queue: trigger.New(p.values, p.record, Now),
						Clock: trigger.NewClock(p.values, Now, func() time.Duration { return 0 }),
					}),
				})
				stop, cancel := context.WithCancel(t.Context())
				left := make(chan error, 1)
				if name == "question" {
					go func() { left <- p.loop(t.Context(), stop, func() {}) }()
				} else {
					go func() { test.call(p); left <- nil }()
				}
				for range 10 { // while the call is waited for, and after it was given up
					time.Sleep(hangAfter + time.Second)
					asked := time.Now()
					answer := httptest.NewRecorder()
					server.Health(p.platform, http.NotFoundHandler()).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
					if answer.Code != 503 || !strings.HasPrefix(answer.Body.String(), test.want) || time.Since(asked) != 0 {
						t.Errorf("got %d, %q after %s, want %q at once", answer.Code, answer.Body, time.Since(asked), test.want)
					}
				}
				cancel()
				time.Sleep(time.Minute)
				select {
				case err := <-left:
					if err != nil {
						t.Error(err)
					}
				default:
					t.Error("a minute after it was told to stop the loop still waits for the authority")
				}
				close(hung.release)
				synctest.Wait()
				if why := p.unanswered(); why != "" {
					t.Errorf("once it answers: %q", why)
				}
			})
		})
	}
}
