// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/orchestrator"
)

const (
	// glanceEvery is how often consumers are glanced at, and so how soon a file that was removed is written again. Where there are
	// so many that this takes more than a hundredth of the time, it is less often, but every glanceAtLeast.
	glanceEvery   = 2 * time.Second
	glanceAtLeast = time.Minute
	// doubtGap is the least time between two looks at a secret's consumers that glances ask for: somebody who changes a file
	// again and again must not have its process reloaded as often.
	doubtGap = 30 * time.Second
)

// watch has the consumers of a secret looked at soon after something happened to what they read: a service manager that made
// a folder anew, a person who removed a file. Its own deliveries count as well, and cost one more look.
type watch struct {
	glances map[authority.Path]string
	doubted map[authority.Path]time.Time
}

func newWatch() *watch {
	return &watch{map[authority.Path]string{}, map[authority.Path]time.Time{}}
}

// changed glances at the consumers of a secret, and reports whether they are to be looked at. The first glance has nothing to
// compare with.
func (w *watch) changed(s orchestrator.Secret, now time.Time) bool {
	glance := ""
	for _, consumer := range s.Consumers {
		if glancer, can := consumer.Consumer.(materialize.Glancer); can {
			glance += consumer.Name() + ": " + glancer.Glance() + "\n"
		}
	}
	before, known := w.glances[s.Path]
	if known && before == glance {
		return false
	}
	if !known {
		w.glances[s.Path] = glance
		return false
	}
	if last, ever := w.doubted[s.Path]; ever && now.Sub(last) < doubtGap {
		return false // and is seen again once the time has passed
	}
	w.glances[s.Path], w.doubted[s.Path] = glance, now
	return true
}

// watchConsumers glances at all consumers until stop comes. A folder that hangs holds up no more than the glances: each
// consumer is still looked at every ten minutes.
func (p *parts) watchConsumers(stop context.Context) {
	seen := newWatch()
	for wait := glanceEvery; ; {
		select {
		case <-stop.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		for _, s := range p.platform.Orchestrator.Secrets() {
			if seen.changed(s, Now()) {
				p.platform.Orchestrator.Doubt(s.Path)
				p.platform.Nudge()
			}
		}
		wait = glanceAfter(time.Since(began))
	}
}

// glanceAfter is how long after a round of glances, which took so long, the next one begins.
func glanceAfter(took time.Duration) time.Duration {
	return min(max(glanceEvery, 100*took), glanceAtLeast)
}
