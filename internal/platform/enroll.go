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
	// Enroll makes one that is removed after lasts, if nothing waits for it then, or once a value was handed over with it. It is told the
	// public key before the file is written, and writes nothing where that fails.
	Enroll(lasts time.Duration, before func(server.Enrollment) error) (server.Enrollment, error)
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
	if err := p.refuseWhileRecovering(); err != nil {
		return server.Enrollment{}, err
	}
	p.enrolling.Lock()
	defer p.enrolling.Unlock()
	if has, is, err := p.Seeds.Enrolled(); err != nil || is {
		has.Environment = p.Environment
		return has, err
	}
	made, err := p.Seeds.Enroll(lasts, func(made server.Enrollment) error {
		return p.Record.Append(ctx, audit.Event{
			Run: p.NewRun(), Step: "bootstrap-identity-enrolled", Workflow: audit.Operation, By: by, Reason: reason, Result: audit.OK,
			Detail: made.Recipient + ", until " + made.Until.UTC().Format(time.RFC3339), At: p.Now(),
		})
	})
	made.Environment = p.Environment
	if estate := p.Estate(); estate != nil {
		made.Former = estate.Platform.Spec.BootstrapRecipients[p.Environment]
	}
	p.Nudge()
	return made, err
}
