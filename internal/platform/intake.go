// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"fmt"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intake"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// IntakeKey implements server.Service.
func (p *Platform) IntakeKey(ctx context.Context, by string) (server.IntakeKey, error) {
	public, _, err := p.Intake.Key(ctx, false)
	if !errors.Is(err, authority.ErrNotFound) {
		return server.IntakeKey{Key: public}, err
	}
	made := server.IntakeKey{}
	err = p.recorded(ctx, audit.Event{Step: "intake-key-made", By: by}, func() (err error) {
		made.Key, made.Made, err = p.Intake.Key(ctx, true)
		return err
	})
	return made, err
}

// SupplySealed implements server.Service.
func (p *Platform) SupplySealed(ctx context.Context, by, secretName, reason string, file []byte) (authority.RunID, error) {
	estate, err := p.inForce()
	if err != nil {
		return "", err
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return "", missing("secret", secretName)
	}
	run, err := p.Intake.Take(ctx, declared.Name, declared.Path, file, func(s intake.Sealed) (authority.RunID, error) {
		why := fmt.Sprintf("%s (sealed as generation %d: %s)", reason, s.Generation, s.Reason)
		return p.Supply(ctx, by, secretName, why, s.Value)
	})
	hint := ""
	switch {
	case errors.Is(err, intake.ErrNotSealed):
		hint = "seal it to the key that `custody intake` prints: " + next.SupplySealed(secretName)
	case errors.Is(err, intake.ErrOtherSecret):
		hint = "hand it in for the secret that it was sealed for, or seal it again: " + next.SupplySealed(secretName)
	case errors.Is(err, intake.ErrOlder):
		hint = "if this is the newest value, seal it again with a larger generation: " + next.SupplySealed(secretName)
	default:
		return run, err
	}
	return "", &server.Problem{Class: server.Refused, Text: err.Error() + "; nothing was done", Hint: hint}
}
