// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

func TestUnansweredSaysWhatIsKnownOfTheRequest(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	for _, test := range []struct {
		name, want string
		err        error
		applied    bool
		cause      bool
	}{
		{"never left", "signing in: not applied: the server is unreachable: dial tcp: refused", &transport.NoAnswer{Err: refused}, false, false},
		{"left", "signing in: no answer: it broke", &transport.NoAnswer{Sent: true, Err: errors.New("token=hunter2")}, true, false},
		{"late", "signing in: no answer: context deadline exceeded", &transport.NoAnswer{Sent: true, Err: context.DeadlineExceeded}, true, true},
		{"broke off", "signing in: the answer broke off or is too long: it broke: HTTP 201", &transport.NoAnswer{Sent: true, Status: 201, Err: errors.New("EOF")}, true, false},
		{"of another making", "signing in: no answer: it broke", errors.New("token=hunter2"), true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := upstream.Unanswered("signing in", "the server", test.err, "it broke", "see to it")
			if err.Error() != test.want || errors.Is(err, upstream.ErrNotApplied) == test.applied || err.Hint() != "see to it" {
				t.Errorf("got %q (hint %q), want %q", err, err.Hint(), test.want)
			}
			if errors.Is(err, context.DeadlineExceeded) != test.cause {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestUnappliedKeepsWhatIsKnown(t *testing.T) {
	open := &upstream.Error{Doing: "reading", Detail: "no answer", Next: "wait"}
	for name, err := range map[string]error{"open": open, "open, for later": &upstream.Later{After: time.Minute, Err: open}} {
		got := upstream.Unapplied(err)
		_, wantLater := err.(*upstream.Later) //nolint:errorlint // made here
		later, ok := errors.AsType[*upstream.Later](got)
		if !errors.Is(got, upstream.ErrNotApplied) || ok != wantLater || ok && later.After != time.Minute || upstream.Explained(got) != got.Error()+" (hint: wait)" {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if errors.Is(open, upstream.ErrNotApplied) {
		t.Error("what was handed in is changed")
	}
	within := &upstream.Error{Doing: "reading", Cause: &upstream.Later{After: time.Minute, Err: errors.New("later")}}
	if later, ok := errors.AsType[*upstream.Later](upstream.Unapplied(within)); !ok || later.After != time.Minute {
		t.Error("when to ask again is lost")
	}
	for _, err := range []error{upstream.ErrSuperseded, &upstream.Error{Doing: "applying", Class: upstream.ErrRefusedCandidate}, nil} {
		if got := upstream.Unapplied(err); got != err { //nolint:errorlint // the very same
			t.Errorf("%v becomes %v", err, got)
		}
	}
}

func TestHintIsTheCausesWhereThereIsNoOther(t *testing.T) {
	cause := &upstream.Error{Doing: "signing in", Next: "see to the server"}
	for _, test := range []struct {
		err  *upstream.Error
		want string
	}{
		{&upstream.Error{Doing: "revoking", Cause: cause}, "see to the server"},
		{&upstream.Error{Doing: "revoking", Cause: cause, Next: "delete it by hand"}, "delete it by hand"},
		{&upstream.Error{Doing: "revoking", Cause: context.Canceled}, ""},
		{&upstream.Error{Doing: "revoking"}, ""},
	} {
		if got := test.err.Hint(); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}

func TestAdminsAreReadBeforeAnythingIsApplied(t *testing.T) {
	broken := errors.New("the authority is sealed")
	_, err := upstream.Admins(t.Context(), "applying", func(context.Context) ([]secret.Value, error) { return nil, broken })
	if !errors.Is(err, broken) || !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("unreadable: got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = upstream.Admins(cancelled, "applying", func(context.Context) ([]secret.Value, error) {
		t.Error("read, though nobody waits")
		return nil, nil
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("cancelled: got %v", err)
	}
}
