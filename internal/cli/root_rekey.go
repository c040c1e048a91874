// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

// rekeyed is the answer of root rekey.
type rekeyed struct {
	Documents []scaffold.Rekeyed `json:"documents"`
	// Rotate are the secrets whose value in use is, or may be, one that Git remembers.
	Rotate []remembered `json:"rotate"`
	// Asked: the platform said which values are in use.
	Asked bool `json:"asked"`
}

// remembered is a secret whose value can be read in Git's history with a key of before.
type remembered struct {
	Secret string `json:"secret"`
	Why    string `json:"why"`
	Next   string `json:"next"`
}

func (a *app) rootRekeyCommand() *cobra.Command {
	s, r := scaffold.Sealing{}, scaffold.Rekeying{}
	identity, removed, grants, unchecked := "", []string(nil), "", false
	cmd := &cobra.Command{
		Use:   "rekey --identity FILE",
		Short: "encrypt every sealed document of the estate again, after a key was replaced or exposed",
		Long: `Encrypts every bootstrap document of the estate again, with a new data key, to the recipients (public keys) that the estate names now.
Change the Platform document and the grants first: a new root recipient in, the old one out. --identity opens the documents as they are;
it may be the key that is removed. Nothing is written before all documents were made and tested.

With --removed it proves that an identity (private key) opens none of the new documents. The environments whose machines read a document
stay the same; if the key of an environment was replaced, say so with --environment.

The Git history keeps the old documents: whoever has an old key and the history can read the values in them. The command lists the secrets
whose current value is, or may be, one of those, and how to replace each. The authority and the backups are not touched: the authority's
keyset stays wrapped for the root that it was made with, and older backups open with the root that they were made for.`,
		Example: `  custody root rekey --identity old-root.agekey --removed old-root.agekey --dry-run
  custody root rekey --identity old-root.agekey --removed old-root.agekey`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) (err error) {
			elsewhere := s.Estate != ""
			if err := a.sealPlace(ctx, &s, identity, grants); err != nil {
				return err
			}
			if s.Granted == nil && !unchecked {
				return unsealed(s)
			}
			r.Estate, r.Identities, r.Granted, r.NeverRan = s.Estate, s.Identities, s.Granted, s.NeverRan
			for _, file := range removed {
				identities, err := root.Load(file)
				if err != nil {
					return err
				}
				r.Removed = append(r.Removed, identities...)
			}
			var answer rekeyed
			if answer.Documents, err = scaffold.Rekey(ctx, scaffold.Config{Codec: wire.Codec(), Now: wire.Now, Types: kinds.Upstreams()}, r); err != nil {
				return err
			}
			answer.Rotate, answer.Asked = a.remembered(ctx, answer.Documents, !elsewhere)
			return a.answer(answer, func(p *printer) { p.rekeyed(answer, r) })
		}),
	}
	cmd.Flags().StringVar(&identity, "identity", "", "`file` with an identity that decrypts the documents as they are")
	cmd.Flags().StringArrayVar(&removed, "removed", nil, "`file` with an identity that must decrypt none afterwards; can be repeated")
	cmd.Flags().StringVar(&s.Estate, "estate", "", "`folder` of the estate (default: the host's)")
	cmd.Flags().StringSliceVar(&r.Environments, "environment", nil, "`environment` whose machines also read the documents, because its key was replaced; can be repeated")
	cmd.Flags().StringVar(&grants, "grants", "", "`file` of the operator with the granted recipients (default: the grants of the host)")
	cmd.Flags().BoolVar(&unchecked, "unchecked", false, "if nothing says what is granted, seal to any recipient that the estate names")
	cmd.Flags().BoolVar(&r.Dry, "dry-run", false, "make and test the documents, print what would be done, and write nothing")
	_ = cmd.MarkFlagRequired("identity")
	return cmd
}

// remembered are the secrets whose value in use is one that was sealed, as the platform knows it; all, where it cannot be asked.
func (a *app) remembered(ctx context.Context, documents []scaffold.Rekeyed, own bool) (found []remembered, asked bool) {
	var rows []inventory.Row
	if own {
		asked = a.ask(ctx, func(ctx context.Context, platform *wire.Connection) (err error) {
			rows, err = platform.Inventory(ctx, server.Filter{})
			return err
		}) == nil
	}
	found = []remembered{}
	for _, document := range documents {
		one := remembered{document.Secret, "its value was sealed, and it is not known whether it was replaced since", "custody rotate " + document.Secret + " --reason TEXT"}
		at := slices.IndexFunc(rows, func(row inventory.Row) bool { return row.Secret == document.Secret })
		switch {
		case at < 0:
		case rows[at].Authority != "authority":
			one.Why = "it was not handed over yet: the sealed value is the one in use"
		case rows[at].Last != nil && rows[at].Last.Workflow != journal.Handover && rows[at].Last.Result == journal.ResultCompleted:
			continue // a run replaced it
		default:
			one.Why = "the value that was handed over may still be in use"
		}
		if at >= 0 && rows[at].Upstream == "" {
			one.Next = "custody supply " + document.Secret + " --reason TEXT"
		}
		found = append(found, one)
	}
	return found, asked
}

func (p *printer) rekeyed(r rekeyed, how scaffold.Rekeying) {
	verb := "sealed again:"
	if how.Dry {
		verb = "would be sealed again:"
	}
	for _, one := range r.Documents {
		p.fields(verb, one.File, "  secret", one.Secret)
		p.list("  for:", one.Recipients)
		p.list("  no longer for:", one.Gone)
	}
	for _, id := range how.Removed {
		p.linef("%s opens none of %s: tried", id.Public(), plural(len(r.Documents), "document"))
	}
	if len(r.Rotate) > 0 {
		p.linef("Git remembers what was sealed before. Replace these values at their upstreams:")
	}
	for _, one := range r.Rotate {
		p.linef("  %s: %s; next: %s", visible(one.Secret), one.Why, visible(one.Next))
	}
	if how.Dry {
		p.linef("nothing was changed")
		return
	}
	if len(r.Documents) > 0 {
		p.linef("next: review the change, commit it and push it")
	}
}
