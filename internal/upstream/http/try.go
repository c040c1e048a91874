// SPDX-License-Identifier: Apache-2.0

package http

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Trial is one step of Try, or one request within it. Nothing in it is secret.
type Trial struct {
	// Step is what was tried: create, verify, decoy, list, usage, revoke, refused, clean-up.
	Step string
	// Request is set for one request of the step: method and path as the recipe writes them, at Place.
	Place, Request string
	Status         int
	// Means is what the reply was taken for; "" for the step as a whole.
	Means string
	// Took is how long it took.
	Took time.Duration
	// Says is what the step as a whole found.
	Says string
	// Err is set when the step failed.
	Err error
}

// ErrTrial: the recipe does not do on this upstream what it says.
var ErrTrial = errors.New("the recipe does not hold on this upstream")

// Patience is what suits most upstreams; see Try.
const Patience = 2 * time.Minute

// cleaning bounds what is done after an interrupt, beside the kind's own deadlines.
const cleaning = 30 * time.Second

// Try runs a recipe against the real thing and keeps nothing: it creates a credential, verifies it and a decoy, lists,
// asks for uses, revokes and sees that it is refused. observe is told of each request and each step. What was created is
// removed in the end, after an error or an interrupt too; the error says so when that failed. current is needed for
// overwrite kinds alone. A recipe that cannot undo is not tried, and nothing is called: nothing could be given back. patience is for
// how long it goes on asking once the settle time is over: how much longer a change takes to show is what a person has to know.
func Try(ctx context.Context, config Config, current secret.Value, patience time.Duration, observe func(Trial)) error {
	u, err := New(config)
	if err != nil {
		return err
	}
	t := &trial{u: u, observe: observe, current: current, patience: patience}
	raw := make([]byte, 8)
	if _, err := io.ReadFull(u.Random, raw); err != nil {
		return fmt.Errorf("drawing the trial's id: %w", err)
	}
	t.run = authority.RunID("try-" + hex.EncodeToString(raw))
	u.watch = func(r Trial) {
		r.Step = t.doing
		observe(r)
	}
	if err := u.triable(current); err != nil {
		return err
	}
	failed := t.all(ctx)
	return errors.Join(failed, t.clean(ctx))
}

// triable returns why nothing can be tried without something being kept, nil when it can.
func (u *Upstream) triable(current secret.Value) error {
	refuse := func(detail, next string) error {
		return &upstream.Error{Doing: "trying the recipe", Class: upstream.ErrNotApplied, Detail: detail, Next: next}
	}
	switch missing := u.r.Missing(current); {
	case u.kind.Undo == upstream.Impossible:
		return refuse("what it makes takes the place of the account's credential, and the old one cannot be restored",
			"make an account there that nobody needs, with a ManagedSecret of its own, and rotate that one: `custody rotate NAME --reason TEXT`")
	case u.r.Interrupts() && missing != "":
		return refuse("a new credential ends the current one, and the current one, which would be applied again, lacks the field "+missing,
			"give the current credential as well, with all its fields")
	}
	return nil
}

type trial struct {
	patience time.Duration
	u        *Upstream
	observe  func(Trial)
	run      authority.RunID
	doing    string
	current  secret.Value
	made     secret.Value
	// began: something may have been made, lost: and nobody knows what; gone: what was made is seen to be refused.
	began, lost, gone bool
	asked, applied    time.Time
}

// step runs fn and tells of it.
func (t *trial) step(name string, fn func() (string, error)) error {
	t.doing = name
	before := t.u.Clock()
	says, err := fn()
	t.observe(Trial{Step: name, Took: t.u.Clock().Sub(before), Says: says, Err: err})
	if err != nil {
		return fmt.Errorf("trying %s: %w", name, err)
	}
	return nil
}

func (t *trial) all(ctx context.Context) error {
	u := t.u
	if err := t.step("create", func() (string, error) { return t.create(ctx) }); err != nil {
		return err
	}
	if err := t.step("verify", func() (string, error) { return t.becomes(ctx, upstream.Accepted) }); err != nil {
		return err
	}
	// Each of these is tried whatever became of the others.
	errs := []error{t.step("decoy", func() (string, error) { return t.decoy(ctx) })}
	if len(u.r.List) > 0 {
		errs = append(errs, t.step("list", func() (string, error) { return t.list(ctx) }))
	}
	if u.kind.Evidence != nil {
		errs = append(errs, t.step("usage", func() (string, error) {
			uses, err := u.uses(ctx, t.made, t.applied.Add(-time.Hour))
			return fmt.Sprintf("%d uses by others", len(uses)), err
		}))
	}
	if err := t.step("revoke", func() (string, error) { return "", t.revoke(ctx) }); err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, t.step("refused", func() (string, error) {
		says, err := t.becomes(ctx, upstream.Refused)
		t.gone = err == nil
		return says, err
	}))...)
}

func (t *trial) create(ctx context.Context) (string, error) {
	candidate := secret.Value{}
	if !t.u.kind.Issues {
		made, err := t.u.Propose(ctx, t.current)
		if err != nil {
			return "", err
		}
		candidate = made
	}
	t.began, t.made, t.asked = true, candidate, t.u.Clock()
	made, err := t.u.Apply(ctx, t.run, t.current, candidate)
	t.applied = t.u.Clock()
	if err != nil {
		t.began = !errors.Is(err, upstream.ErrNotApplied)
		t.lost = t.began
		return "", err
	}
	t.made = made
	return fmt.Sprintf("a credential with the fields %v", made.Names()), nil
}

// becomes asks until the verdict is the one wanted. Later than the upstream may take to show a change is an error, with the
// time that it took.
func (t *trial) becomes(ctx context.Context, want upstream.Verdict) (string, error) {
	const pause = time.Second
	began := t.u.Clock()
	shown := time.Duration(-1) // since when each answer was the one wanted
	other := time.Duration(-1) // when another one was asked for last
	for asked := 1; ; asked++ {
		begins := t.u.Clock().Sub(began)
		got, err := t.u.Verify(ctx, t.made)
		past := t.u.Clock().Sub(began)
		switch {
		case got != want:
			shown, other = -1, begins
		case shown < 0:
			shown = begins
		}
		switch {
		case got == want && other > t.u.kind.Settle:
			return "", fmt.Errorf("%w: the credential was %s only after %s, and the settle time is %s: write `settle: %s` under kind",
				ErrTrial, want, shown.Round(time.Second), t.u.kind.Settle, enough(shown))
		case got == want && (want == upstream.Accepted || past >= t.u.kind.Settle):
			// That it is refused everywhere is known only after the settle time.
			return fmt.Sprintf("%s, asked %d times", got, asked), nil
		case past >= t.u.kind.Settle+t.patience:
			return "", fmt.Errorf("%w: the credential is still %s %s after the settle time of %s, want %s: %w",
				ErrTrial, got, t.patience, t.u.kind.Settle, want, or(err))
		}
		if err := t.u.Wait(ctx, pause); err != nil {
			return "", err
		}
	}
}

// enough is a settle time for an upstream that took so long to show a change: half as much again, in whole seconds.
func enough(took time.Duration) time.Duration {
	return (took + took/2 + time.Second - 1).Truncate(time.Second)
}

var errNone = errors.New("no further reason")

func or(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

func (t *trial) decoy(ctx context.Context) (string, error) {
	draw := func() (secret.Value, error) { return t.u.Propose(ctx, t.current) }
	if t.u.kind.Issues {
		draw = func() (secret.Value, error) { return t.u.decoy(t.made) }
	}
	decoy, err := draw()
	if err != nil {
		return "", err
	}
	got, err := t.u.Verify(ctx, decoy)
	if got != upstream.Refused {
		return "", fmt.Errorf("%w: a credential that was never given out is %s: %w", ErrTrial, got, or(err))
	}
	return "a credential that was never given out is refused", nil
}

func (t *trial) list(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.u.r.Deadline())
	defer cancel()
	s := t.u.open(ctx, "listing credentials")
	items, o := s.items()
	if o.word != recipe.OK {
		return "", s.fail(o)
	}
	says := fmt.Sprintf("%d credentials", len(items))
	if t.u.r.Source.Find == nil {
		return says, nil
	}
	found, err := s.find(t.made, items)
	switch {
	case err != nil:
		return says, err
	case len(found) == 0:
		return says, fmt.Errorf("%w: the list does not have what was made", ErrTrial)
	case t.u.r.Source.Tag != nil && !t.u.carries(found[0], t.run):
		return says, fmt.Errorf("%w: what was made does not carry the run id where list.each.tag looks", ErrTrial)
	}
	return says + ", the new one among them", nil
}

func (t *trial) revoke(ctx context.Context) error {
	if t.u.r.Interrupts() {
		_, err := t.u.Apply(ctx, t.run, t.made, t.current)
		return err
	}
	return t.u.Revoke(ctx, t.run, t.made, t.current)
}

// clean removes what may be left, whatever became of ctx.
func (t *trial) clean(ctx context.Context) error {
	if !t.began || t.gone {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning+2*t.u.kind.CallDeadline+t.u.kind.Settle)
	defer cancel()
	err := t.step("clean-up", func() (string, error) {
		if t.u.kind.Issues && t.u.kind.LostReply == upstream.Reissue {
			// A request without an answer may still land, and what it made may show late.
			until := t.applied.Add(t.u.kind.Settle)
			if t.lost {
				until = t.asked.Add(t.u.kind.CallDeadline)
			}
			if left := until.Sub(t.u.Clock()); left > 0 {
				if err := t.u.Wait(ctx, left); err != nil {
					return "", err
				}
			}
			if err := t.u.collect(ctx, t.run); err != nil || t.u.r.Missing(t.made) != "" {
				return "what carries the trial's id is removed", err
			}
			return t.removed(ctx, "what carries the trial's id is removed")
		}
		if t.u.r.Missing(t.made) != "" {
			return "", errors.New("nothing can tell what the lost call made")
		}
		if err := t.revoke(ctx); err != nil {
			return "", err
		}
		return t.removed(ctx, "removed")
	})
	if err != nil {
		return fmt.Errorf("%w; look for it upstream and remove it by hand", err)
	}
	return nil
}

// removed sees that what was made is refused: a recipe whose revoke does nothing answers as one that works.
func (t *trial) removed(ctx context.Context, says string) (string, error) {
	seen, err := t.becomes(ctx, upstream.Refused)
	if err != nil {
		return "", fmt.Errorf("it is not seen to be gone: %w", err)
	}
	return says + "; it is " + seen, nil
}
