// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// granting are the options of `custody grant`.
type granting struct {
	current, yes bool
	reason       string
}

func (a *app) grantCommand() *cobra.Command {
	var g granting
	cmd := &cobra.Command{
		Use:   "grant [FILE] --reason TEXT",
		Short: "allow what the estate asks for",
		Long: `Whoever can write to the estate's Git repository can ask for anything: to have values encrypted to a key of theirs, to have
a credential sent to a server of theirs, to read another team's secret. Custody does so only where the platform's operator
granted it. Until then the secret in question waits, and custody status, custody plan and custody lint say for what.

A recipient is an age public key, of the root or of an environment: what is sealed can be read with its private part.
An endpoint is an address, with how the server is identified, to which an upstream's credentials are sent; loopback too.
A reader is what takes a secret's value across owners: a derived secret of another team or namespace, an upstream that opens
with it or did not know it before, a file that belongs to a named user or group or that others can read. Where there is a value
already, also a file in a folder that did not hold it before, and a derived secret that did not use it. A grant of a file names
the folder, the user, the group and the mode: a change of one of them is another grant.

With --current, it shows what the estate in force asks for and is not granted, asks, and grants that. With FILE it grants
what an operator's file says. The file is believed as a host file is: nobody else can change it, it is not in the estate, and
Git does not track it. Without a terminal to ask on, --yes says that somebody has looked.

A host file may name such a file (grants: grants.yaml; custody init does). The platform then follows it: what it says is
granted within seconds, and what it no longer says is revoked, all on record. It is the way for machines that are set up by
a program, and the only one before the platform first runs. What it looks like:

  apiVersion: custody.dev/v1alpha1
  kind: Grants
  recipients:
    root: [age1...]
    prod: [age1...]
  endpoints:
    main-database: ["db.internal:5432"]
  readers:
    database-admin: [upstream/main-database]
    web-token: ["consumer/web in folder web, group www, mode 0640"]`,
		Example: `  custody grant --current --reason "the new database, ticket 4711"
  custody grant /etc/custody/more-grants.yaml --reason "rebuilt after the fire" --yes
  custody grant list
  custody grant revoke endpoint main-database db.internal:5432 --reason "it moved"`,
		Annotations: map[string]string{answers: "yes"},
		Args:        cobra.MaximumNArgs(1),
		RunE:        a.run(func(ctx context.Context, args []string) error { return a.grant(ctx, args, g) }),
	}
	cmd.Flags().BoolVar(&g.current, "current", false, "grant what the estate in force asks for")
	cmd.Flags().BoolVar(&g.yes, "yes", false, "do not ask: somebody has looked")
	cmd.Flags().StringVar(&g.reason, "reason", "", "why, in `text` that goes on record")
	cmd.AddCommand(a.grantListCommand(), a.grantRevokeCommand())
	return cmd
}

func (a *app) grant(ctx context.Context, args []string, g granting) error {
	switch {
	case g.current == (len(args) == 1):
		return usage("grant what?", "either --current, for what the estate asks for, or a file; `custody grant --help` says more")
	case g.reason == "":
		return usage("a reason is needed: it goes on record", "add --reason TEXT")
	}
	return a.ask(ctx, func(ctx context.Context, platform *wire.Connection) error {
		known, err := platform.Granted(ctx)
		if err != nil {
			return err
		}
		wanted, err := a.wanted(args, known)
		if err != nil {
			return err
		}
		added := []grant.Entry{}
		if len(wanted) > 0 {
			if err := a.agreed(wanted, g.yes); err != nil {
				return err
			}
			if added, err = platform.Grant(ctx, g.reason, wanted); err != nil {
				return err
			}
		}
		return a.answer(added, func(p *printer) {
			if len(added) == 0 {
				p.linef("nothing to grant: all that is asked for is granted")
			}
			for _, entry := range added {
				p.linef("granted: %s", visible(entry.String()))
			}
		})
	})
}

// wanted is what is to be granted and is not.
func (a *app) wanted(args []string, known server.Grants) ([]grant.Grant, error) {
	var wanted []grant.Grant
	if len(args) == 0 {
		for _, need := range known.Missing {
			wanted = append(wanted, need.Grant)
		}
		return wanted, nil
	}
	host, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return nil, err
	}
	if wanted, err = wire.ReadGrants(args[0], host.Estate); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(wanted, func(g grant.Grant) bool {
		return slices.ContainsFunc(known.Granted, func(e grant.Entry) bool { return e.Grant == g })
	}), nil
}

// agreed shows what would be granted and asks, on the terminal.
func (a *app) agreed(wanted []grant.Grant, yes bool) error {
	p := a.printer(a.err)
	p.linef("to be granted:")
	for _, g := range wanted {
		p.linef("  - %s (%s of %s)", visible(g.String()), g.Kind, visible(g.Of))
	}
	if yes {
		return p.failed
	}
	if _, ok := terminal(a.in); !ok {
		return usage("there is no terminal to ask on, and nothing was granted", "look at what is listed, and add --yes if it is right")
	}
	_, _ = io.WriteString(a.err, "grant this? [yes/no] ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return &server.Problem{Class: server.Refused, Text: "nothing was granted", Hint: "answer yes to grant it"}
	}
	return err
}
