// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

func (a *app) sealCommand() *cobra.Command {
	s := scaffold.Sealing{}
	field, from, identity, grants, exact, unchecked := "", "", "", "", false, false
	cmd := &cobra.Command{
		Use:   "seal SECRET [-]",
		Short: "encrypt a first value into the estate",
		Long: `Encrypts the first value of a managed secret, for the root key and for the machines of one environment, and writes it to the bootstrap
document of the secret. The environment is that of this host or the one in --environment, which can be given more than once.

Custody encrypts only to recipients (public keys) that the operator of the platform granted (see custody grant). In a folder that is
not the estate of this host, or on another machine, name the grants file of the operator with --grants. If nothing says what is granted,
nothing is sealed; --unchecked seals to any recipient that the estate names.

The value of one field is asked for on the terminal without being shown, or read from a file. The field is the one in --field, or the
field named value. The value is never an argument: process lists and the shell's history show arguments.

` + pipedRule + `

If the value is one line, the line break at its end is removed, and a note says so. If it has several lines, the line break is kept.
A byte order mark and lines that end in CR LF are refused. With --exact every byte is kept as it is.

A value of several fields can be sealed field by field, in any order. It is handed over once it has every field that an upstream, a
consumer or a derived secret of the estate needs; custody lint says what is missing.

If the document exists, its other fields are kept. For this the command needs an identity (private key) that can decrypt it: that of
the host, or the one in --identity.

Sealing has no effect on a secret that was handed over (imported) already: the authority holds its value. Use custody supply instead.`,
		Example: `  custody seal db-password
  pass show db | custody seal db-admin --field password -
  custody seal db-admin - < admin.json
  custody seal tls-key --from-file server.key --estate estate`,
		Args: sealArgs,
		RunE: a.run(func(ctx context.Context, args []string) (err error) {
			s.Secret = args[0]
			elsewhere := s.Estate != ""
			if err = a.sealPlace(ctx, &s, identity, grants); err != nil {
				return err
			}
			if s.Granted == nil && !unchecked {
				return unsealed(s)
			}
			if s.Value, err = a.sealValue(s.Secret, field, from, len(args) == 2, exact); err != nil {
				return err
			}
			if err = a.seal(ctx, s); err == nil && !elsewhere {
				a.noteHandedOver(ctx, s.Secret)
			}
			return err
		}),
	}
	// What follows an unknown flag could be a value: it is not repeated.
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, _ error) error {
		return usage("an option is unknown or has no argument; a value is never given as an option", "see `"+cmd.CommandPath()+" --help`")
	})
	cmd.Flags().StringVar(&field, "field", "", "`name` of the field to seal (default value)")
	cmd.Flags().StringVar(&from, "from-file", "", "`file` with the value")
	cmd.Flags().StringVar(&s.Estate, "estate", "", "`folder` of the estate (default: the host's)")
	cmd.Flags().StringVar(&identity, "identity", "", "`file` with an identity that decrypts the existing document (default: the bootstrap identity of the host)")
	cmd.Flags().StringSliceVar(&s.Environments, "environment", nil, "`environment` whose machines can decrypt the value; can be repeated (default: that of the host, else the only one)")
	cmd.Flags().StringVar(&grants, "grants", "", "`file` of the operator with the granted recipients (default: the grants of the host)")
	cmd.Flags().BoolVar(&unchecked, "unchecked", false, "if nothing says what is granted, seal to any recipient that the estate names")
	cmd.Flags().BoolVar(&exact, "exact", false, exactUsage)
	cmd.Flags().BoolVar(&s.Replace, "replace", false, "remove the other fields of the document")
	return cmd
}

// noteHandedOver says that what was sealed changes nothing here, where the secret was handed over before. Where the platform
// cannot be asked, as with no key at hand, it says nothing.
func (a *app) noteHandedOver(ctx context.Context, secretName string) {
	var rows []inventory.Row
	err := a.ask(ctx, func(ctx context.Context, platform *wire.Connection) (err error) {
		rows, err = platform.Inventory(ctx, server.Filter{Secret: secretName})
		return err
	})
	if err != nil || len(rows) != 1 || rows[0].Authority != "authority" {
		return
	}
	_, _ = fmt.Fprintf(a.err, "warning: %[1]s was handed over already: the authority holds its value, and the sealed value has no effect\n"+
		"hint: to give it a new value, run `custody supply %[1]s --reason TEXT`. Custody reads the sealed value again only for a new, empty authority\n", secretName)
}

// sealArgs never repeats what it refuses: it may be the value.
func sealArgs(_ *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return usage("which secret?", "custody seal SECRET")
	case len(args) > 2 || (len(args) == 2 && args[1] != "-"):
		return usage("a value cannot be given as an argument: process lists and the shell's history would keep it",
			"leave it out to be asked for it, or use - for standard input, or --from-file; if it was a real value, change it where it came from")
	}
	return nil
}

// sealPlace finds the estate, the identities that open what is sealed there, and what is granted.
func (a *app) sealPlace(ctx context.Context, s *scaffold.Sealing, identity, grants string) (err error) {
	if err := wire.Reachable(ctx, s.Estate); err != nil {
		return err
	}
	if identity != "" {
		if s.Identities, err = root.Load(identity); err != nil {
			return err
		}
	}
	if s.Estate == "" || !a.noHost() && (identity == "" || grants == "") {
		if err := a.sealHost(ctx, s, identity == ""); err != nil {
			return err
		}
	}
	if grants != "" {
		wanted, err := wire.ReadGrants(grants, s.Estate)
		if err != nil {
			return err
		}
		s.Granted = grant.SetOf(wanted...)
	}
	return nil
}

// sealHost takes from the host what was not given.
func (a *app) sealHost(ctx context.Context, s *scaffold.Sealing, identity bool) error {
	host, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return err
	}
	if s.Estate == "" && host.Git != nil {
		return usage("the estate of this host is read from Git", "name the folder of the estate in your checkout: --estate DIR")
	}
	if s.Estate == "" {
		s.Estate = near(host.Estate)
	}
	if err := wire.Reachable(ctx, host.Estate); err != nil {
		return err
	}
	own := host.Git != nil || sameFolder(s.Estate, host.Estate) // what is granted is granted to one platform
	if identity && host.BootstrapIdentity != "" {
		if s.Identities, err = root.Load(host.BootstrapIdentity); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(s.Environments) == 0 && own {
		s.Environments = []string{host.Environment}
	}
	if own {
		s.NeverRan = wire.NeverRan(host)
		s.Granted, err = wire.Granted(host)
	}
	return err
}

// sameFolder reports whether both lead to one folder, through whichever links.
func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return absolute(a) == filepath.Clean(b)
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// unsealed refuses to seal where nobody can say whether the estate's recipients are the platform's own.
func unsealed(s scaffold.Sealing) error {
	return &server.Problem{
		Class: server.Refused,
		Text:  "nothing was sealed: cannot check whether the recipients in the estate " + s.Estate + " are granted, because there is neither a host file of this estate nor --grants",
		Hint:  "name the grants file of the operator with --grants FILE, or seal on the machine of the platform; --unchecked seals to any recipient that the estate names",
	}
}

// noHost reports that nobody named a host file and none is there.
func (a *app) noHost() bool {
	_, err := os.Stat(a.hostFile())
	return !a.hostNamed() && errors.Is(err, fs.ErrNotExist)
}

// sealValue takes the value from where the user said.
func (a *app) sealValue(name, field, from string, stdin, exact bool) (secret.Value, error) {
	var text []byte
	var err error
	switch {
	case stdin && from != "":
		return secret.Value{}, usage("the value comes from standard input or from a file, not both", "leave out either - or --from-file")
	case stdin:
		return a.piped(field, exact)
	case from != "":
		text, err = readValue(from)
	default:
		text, err = a.prompt(fmt.Sprintf("value of %s, field %s", name, or(field, secret.SingleField)))
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the value: %w", err)
	}
	if text, err = a.edges(text, exact); err != nil {
		return secret.Value{}, err
	}
	return oneField(field, text)
}

const exactUsage = "keep every byte of files and standard input, including the line break at the end"

// edges drops the line end of a value that is one line, and says so; a byte order mark and CR LF, which are rarely meant, are
// refused. With exact it changes and refuses nothing.
func (a *app) edges(value []byte, exact bool) ([]byte, error) {
	line := withoutNewline(value)
	switch {
	case exact:
		return value, nil
	case bytes.HasPrefix(value, []byte("\ufeff")):
		return nil, usage("the value begins with a byte order mark; nothing was taken", "remove it (sed -i '1s/^\\xEF\\xBB\\xBF//' FILE), or add --exact if it is part of the value")
	case bytes.Contains(line, []byte("\r\n")):
		return nil, usage("the lines of the value end in CR LF; nothing was taken", `remove the CR (sed -i 's/\r$//' FILE), or add --exact if they are part of the value`)
	case len(line) < len(value):
		_, _ = io.WriteString(a.err, "note: the line break at the end of the value was removed; --exact keeps it\n")
	}
	return line, nil
}

// withoutNewline drops the line end of a value that is one line.
func withoutNewline(value []byte) []byte {
	if line, rest, _ := bytes.Cut(value, []byte("\n")); len(rest) == 0 && len(line) < len(value) {
		return bytes.TrimSuffix(line, []byte("\r"))
	}
	return value
}

func readValue(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, secret.MaxBytes+1))
}

func (a *app) seal(ctx context.Context, s scaffold.Sealing) error {
	sealed, err := scaffold.Seal(ctx, scaffold.Config{Codec: wire.Codec(), Now: wire.Now, Types: kinds.Upstreams()}, s)
	if err != nil {
		return err
	}
	if s.Granted == nil {
		a.printer(a.err).linef("note: could not check whether these recipients are granted, because there is no grants file: %s", shown(sealed.Recipients))
	}
	p := a.printer(a.out)
	verb := "wrote"
	if sealed.New {
		verb = "made"
	}
	p.linef("%s %s, the first value of %s (%s)", verb, sealed.File, s.Secret, strings.Join(sealed.Fields, ", "))
	if len(sealed.Faults) > 0 {
		p.linef("the estate has %s as well: see `custody lint`", plural(len(sealed.Faults), "fault"))
	}
	return p.failed
}

// shown lists recipients for people.
func shown(recipients []grant.Grant) string {
	var texts []string
	for _, recipient := range recipients {
		texts = append(texts, recipient.Of+" "+recipient.To)
	}
	return visible(strings.Join(texts, ", "))
}
