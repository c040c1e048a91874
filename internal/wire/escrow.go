// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// escrowed is how many candidates of one secret are kept at least.
const escrowed = 3

// escrow keeps admin candidates beside the authority, encrypted to the root, so that a lost authority does not lock
// everybody out of an upstream. The newest few stay, and all since the last completed run, whose candidate is the one that
// is honoured, however many runs were undone after it. After an older state was accepted all stay until then. Run ids sort by time.
type escrow struct {
	state      *durable.Folder
	recipients []string
	journal    *journal.Journal
}

// Deposit implements rotation.Escrow.
func (e *escrow) Deposit(ctx context.Context, path authority.Path, run authority.RunID, candidate secret.Value) error {
	folder, name := filepath.Join("escrow", filepath.FromSlash(string(path))), string(run)+".age"
	if err := e.state.MakeParents(filepath.Join(folder, name)); err != nil {
		return err
	}
	of, err := durable.Open(filepath.Join(e.state.Dir(), folder))
	if err != nil {
		return err
	}
	defer func() { _ = of.Close() }()
	if _, err := of.Stat(name); err == nil {
		return nil
	}
	if len(e.recipients) == 0 {
		return fmt.Errorf("depositing the candidate for the root: nobody has granted a root recipient that the estate names; %s shows them and asks", next.Grant())
	}
	sealed, err := root.EncryptValue(e.recipients, candidate)
	if err != nil {
		return err
	}
	if err := of.Replace(name, sealed, durable.Private); err != nil {
		return err
	}
	entry, err := e.journal.Load(ctx, path)
	if err != nil || entry.Current == nil {
		return err
	}
	kept, err := of.Names()
	if err != nil {
		return err
	}
	kept = slices.DeleteFunc(kept, func(name string) bool { return !strings.HasSuffix(name, ".age") })
	if !slices.Contains(kept, string(entry.Current.Run)+".age") {
		return nil // handed over, or accepted with an older state: which of these is honoured is not known before a run completes
	}
	for _, old := range kept[:max(0, len(kept)-escrowed)] {
		if old >= string(entry.Current.Run)+".age" || old == name { // an id of now may be an early one, by a clock set back
			continue
		}
		if err := of.Remove(old); err != nil {
			return err
		}
	}
	return nil
}

// rootsGranted are the root recipients that the estate names and the operator granted.
func (p *parts) rootsGranted(estate *intent.Estate) []string {
	granted := p.grants.set()
	var recipients []string
	for _, key := range estate.Platform.Spec.RootRecipients {
		if granted[grant.Grant{Kind: grant.Recipient, Of: grant.Root, To: key}] {
			recipients = append(recipients, key)
		}
	}
	return recipients
}
