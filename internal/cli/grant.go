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
		Short: "allow the keys, servers and readers that the estate asks for",
		Long: `Anybody who can write to the Git repository of the estate (configuration) can declare anything: that values are encrypted to their
own key, that a credential is sent to their own server, that they read the secret of another team. Custody does this only if the
operator of the platform has granted it. Until then the secret waits; custody status, custody plan and custody lint say which grant
is missing.

There are three kinds of grants:

  recipient  an age public key, of the root or of an environment. Whoever has the private key can read what is sealed.
  endpoint   a server address, and how the server proves its identity (for example TLS). The credentials of an upstream are sent
             there. Addresses on this machine (loopback) need a grant too.
  reader     whatever passes the value of a secret to somebody else: a derived secret of another team or namespace; an upstream
             that uses it as its admin credential, or that did not get it before; a file that belongs to a named user or group, or that
             others can read. Once a secret has a value, also a file in a folder that did not have it before, and a derived secret
             that did not use it before. A grant for a file names the folder, the user, the group and the mode. If one of them
             changes, it needs a new grant.

With --current, the command lists what the estate in force asks for and is not granted, asks for confirmation, and grants it. With
FILE, it grants what the file of the operator lists. As with the host file, nobody else may be able to change that file, it must not be
in the estate, and Git must not track it. Without a terminal, --yes confirms that somebody has read the list.

The host file can also name such a file (grants: grants.yaml; custody init sets this up). The platform then follows the file: it
grants within seconds what the file lists and revokes what was removed from it, and records both. Use this for machines that are set up
automatically. It is also the only way to grant before the platform first runs. Example:

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
	cmd.Flags().BoolVar(&g.yes, "yes", false, "do not ask for confirmation: somebody has read the list")
	cmd.Flags().StringVar(&g.reason, "reason", "", "why: a `text` for the record")
	cmd.AddCommand(a.grantListCommand(), a.grantRevokeCommand())
	return cmd
}

func (a *app) grant(ctx context.Context, args []string, g granting) error {
	switch {
	case g.current == (len(args) == 1):
		return usage("grant what?", "give --current, to grant what the estate asks for, or a file; see `custody grant --help`")
	case g.reason == "":
		return usage("a reason is required: it is written to the record", "add --reason TEXT")
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
			err = a.agreed(wanted, g.yes)
		}
		if err != nil {
			return err
		}
		if len(wanted) > 0 || known.Damaged {
			if added, err = platform.Grant(ctx, g.reason, wanted); err != nil {
				return err
			}
		}
		return a.answer(added, func(p *printer) {
			if len(added) == 0 {
				p.linef("nothing to grant: everything that the estate asks for is granted")
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
		return usage("there is no terminal to ask for confirmation; nothing was granted", "read the list, and add --yes if it is right")
	}
	_, _ = io.WriteString(a.err, "grant this? [yes/no] ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return &server.Problem{Class: server.Refused, Text: "nothing was granted", Hint: "answer yes to grant it"}
	}
	return err
}
