// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/server"
)

// Seeds has the bootstrap identity of this machine, which decrypts bootstrap documents.
type Seeds interface {
	// Enrolled is the identity that this machine has, and whether it has one.
	Enrolled() (server.Enrollment, bool, error)
	// Prepare makes one, which write puts into its file. It is removed after lasts, if nothing waits for it then, or once a value was
	// handed over with it.
	Prepare(lasts time.Duration) (made server.Enrollment, write func() error, err error)
}

// shortest and longest are the bounds of how long a bootstrap identity is enrolled for.
const (
	shortestEnrollment = time.Minute
	longestEnrollment  = 30 * duration.Day
)

// EnrollBootstrap implements server.Service.
func (p *Platform) EnrollBootstrap(ctx context.Context, by, reason string, lasts time.Duration) (server.Enrollment, error) {
	if lasts < shortestEnrollment || lasts > longestEnrollment {
		return server.Enrollment{}, &server.Problem{
			Class: server.Usage, Text: "a bootstrap identity is enrolled for a minute at least and for 30 days at most", Hint: "give a time such as --for 24h",
		}
	}
	p.enrolling.Lock()
	defer p.enrolling.Unlock()
	if has, is, err := p.Seeds.Enrolled(); err != nil || is {
		has.Environment = p.Environment
		return has, err
	}
	made, write, err := p.Seeds.Prepare(lasts)
	if err == nil {
		asked := audit.Event{Step: "bootstrap-identity-enrolled", By: by, Reason: reason, Detail: made.Recipient + ", until " + made.Until.UTC().Format(time.RFC3339)}
		err = p.recorded(ctx, asked, write)
	}
	if err != nil {
		return server.Enrollment{}, err
	}
	made.Environment = p.Environment
	if estate := p.Estate(); estate != nil {
		made.Former = estate.Platform.Spec.BootstrapRecipients[p.Environment]
	}
	p.Nudge()
	return made, nil
}
