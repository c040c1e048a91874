// SPDX-License-Identifier: Apache-2.0

package login

import (
	"crypto/rand"
	"net"
	"strconv"
	"sync"
	"time"

	"custody.dev/custody/internal/secret"
)

const (
	// A credential that was refused is sent again after firstPause, then after longer and longer, lastPause at most: five
	// wrong sign-ins take three quarters of an hour.
	firstPause, growth, lastPause = 10 * time.Second, 6, time.Hour
	// forgetAfter is how long after its pause a refusal is remembered.
	forgetAfter = 24 * time.Hour
)

// AdminBackoff keeps admins from being locked out by Custody: a server that refused a credential is not sent the same one again
// before a while has passed, by whichever run. It is safe for concurrent use; runs that meet the first refusal at the same
// moment each send it. Make one with NewAdminBackoff.
type AdminBackoff struct {
	now func() time.Time
	key []byte

	mu      sync.Mutex
	refused map[string]refusal
}

// refusal is what is known of one credential at one place.
type refusal struct {
	times int
	again time.Time
	said  string
}

// NewAdminBackoff returns one that knows of no refusal.
func NewAdminBackoff(now func() time.Time) *AdminBackoff {
	return &AdminBackoff{now: now, key: []byte(rand.Text()), refused: map[string]refusal{}}
}

// process is what Admin goes by.
var process = NewAdminBackoff(time.Now) //nolint:forbidigo // sign-ins at real servers, of which the simulation has none

// At is a place, for Admin.
func At(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (s *AdminBackoff) id(at string, v secret.Value) string {
	return at + "\x00" + string(v.Digest(s.key))
}

// held returns the refusal for which v is not to be sent now.
func (s *AdminBackoff) held(at string, v secret.Value) (refusal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.refused[s.id(at, v)]
	return known, s.now().Before(known.again)
}

// refuse notes that v was refused, and returns until when it is not sent again.
func (s *AdminBackoff) refuse(at string, v secret.Value, said string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id, known := range s.refused {
		if now.Sub(known.again) > forgetAfter {
			delete(s.refused, id)
		}
	}
	known := s.refused[s.id(at, v)]
	pause := firstPause
	for range known.times {
		pause = min(growth*pause, lastPause)
	}
	known = refusal{known.times + 1, now.Add(pause), said}
	s.refused[s.id(at, v)] = known
	return known.again
}

// accept forgets that v was refused.
func (s *AdminBackoff) accept(at string, v secret.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, s.id(at, v))
}
