// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/server"
)

// changed counts what it is asked to change.
type changed struct {
	ungrantedAll
	of    grant.Grant
	count int
}

func (c *changed) Entries() ([]grant.Entry, error) { return []grant.Entry{{Grant: c.of}}, nil }

func (c *changed) Add(context.Context, string, string, []grant.Grant) ([]grant.Entry, error) {
	c.count++
	return nil, nil
}

func (c *changed) Revoke(context.Context, string, string, []grant.Grant) ([]grant.Entry, error) {
	c.count++
	return nil, nil
}

// TestGrantsAreRefusedWhileRecovering: a grant came into force, and then the record, which is older than a checkpoint kept
// elsewhere, took no event of it. What an older state grants is revoked before it is accepted.
func TestGrantsAreRefusedWhileRecovering(t *testing.T) {
	grants := &changed{of: grant.Grant{Kind: grant.Endpoint, Of: "db", To: "db.internal:5432"}}
	p := New(Config{Grants: grants})
	p.behind = "an older state"
	_, err := p.Grant(t.Context(), "me", "test", []grant.Grant{grants.of})
	problem, is := errors.AsType[*server.Problem](err)
	if !is || problem.Class != server.Refused || !strings.Contains(problem.Text+problem.Hint, "custody recover accept") {
		t.Errorf("got %v, want it refused with the next command", err)
	}
	if grants.count > 0 {
		t.Errorf("%d changes were made", grants.count)
	}
}
