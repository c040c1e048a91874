// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

func (a *app) initCommand() *cobra.Command {
	p := scaffold.Platform{}
	dotenv, skip := "", []string(nil)
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "make a new platform in a folder",
		Long: `Makes a working platform in DIR: an estate (the documents that declare secrets) with an example, the settings of this machine, and
three keys. DIR may exist. No file is overwritten. If DIR has a .gitignore, lines are added to it that keep keys, state and delivered
values out of Git.

With --from-env, every variable of a dotenv file becomes a secret of its own. Its value is sealed (encrypted) into the estate, handed
over (imported) to the authority when custody serve first runs, and delivered to a file with the same variable. All variables are also
delivered together in one file, run/imported/.env: a program that reads the dotenv file today needs only the new path.

Programs read some lines of dotenv files differently: comments after values, a $ outside single quotes, CR LF, values of several
lines. Such lines are refused, all at once, and for each the message says how to write it. Leave out a value of several lines, and
seal it with custody seal --from-file.`,
		Example: `  custody init platform
  custody init . --platform shop --environment prod --from-env .env --skip PORT,LOG_LEVEL`,
		Args: takes("DIR"),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.init(ctx, args[0], p, dotenv, skip) }),
	}
	cmd.Flags().StringVar(&p.Name, "platform", "", "`name` of the platform (default: the name of the folder)")
	cmd.Flags().StringVar(&p.Environment, "environment", "prod", "`name` of the environment of this machine")
	cmd.Flags().StringVar(&p.Team, "team", "", "`team` that owns the secrets (default: your user name)")
	cmd.Flags().StringVar(&p.Contact, "contact", "", "contact `address` of the owner (default: the team)")
	cmd.Flags().StringVar(&dotenv, "from-env", "", "dotenv `file` whose variables become secrets")
	cmd.Flags().StringSliceVar(&skip, "skip", nil, "`variables` of the dotenv file to leave out")
	return cmd
}

func (a *app) init(ctx context.Context, dir string, p scaffold.Platform, dotenv string, skip []string) error {
	p.Dir = dir
	if p.Name == "" {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("finding %s: %w", dir, err)
		}
		p.Name = or(scaffold.Kebab(filepath.Base(absolute)), "platform")
	}
	p.Team = or(p.Team, wire.User())
	p.Contact = or(p.Contact, p.Team)
	if dotenv == "" && len(skip) > 0 {
		return usage("--skip needs --from-env", "name the dotenv file: --from-env .env")
	}
	if dotenv != "" {
		data, err := os.ReadFile(dotenv)
		if err != nil {
			return fmt.Errorf("reading the dotenv file: %w", err)
		}
		if p.Import, err = scaffold.Variables(data, skip); err != nil {
			return err
		}
	}
	made, err := scaffold.Init(ctx, scaffold.Config{Codec: wire.Codec(), Now: wire.Now, Types: kinds.Upstreams()}, p)
	if err != nil {
		return err
	}
	a.tellInit(a.printer(a.out), dir, dotenv, p, made)
	return nil
}

// tellInit says what is where, and what to do now.
func (a *app) tellInit(w *printer, dir, dotenv string, p scaffold.Platform, made scaffold.Made) {
	place := dir
	if filepath.Clean(dir) == "." {
		place = "this folder"
	}
	w.linef("Platform %s, environment %s, is in %s.", p.Name, p.Environment, place)
	w.linef("")
	w.linef("  %-24s the estate: documents that declare the secrets; keep it in Git", made.Estate)
	w.linef("  %-24s the settings of this machine; edit them here, not through Git", made.HostFile)
	w.linef("  %-24s three private keys; keep them out of Git", filepath.Join(dir, "keys"))
	if made.GitIgnore {
		w.linef("  %-24s has new lines that keep keys, state and values out of Git", filepath.Join(dir, ".gitignore"))
	}
	w.linef("")
	w.linef("The root key is %s (public: %s).", made.RootKey, made.RootRecipient)
	w.linef("It is the recovery key: it decrypts everything that is ever sealed here, also when this machine is lost. The running")
	w.linef("platform does not need it, so do not keep it here. Split it, give each share to another person or place, delete the file:")
	w.linef("")
	w.linef("  custody root split --key %s --shares 5 --threshold 3 --out-dir FOLDER-ON-A-STICK", next.Word(made.RootKey))
	w.linef("  shred -u %s", next.Word(made.RootKey))
	w.linef("")
	if n := len(p.Import); n > 0 {
		w.linef("%s of %s sealed into %s.", plural(n, "value"), dotenv, filepath.Join(made.Estate, "bootstrap"))
		w.linef("`custody serve` hands them over to the authority (`custody status` shows it). Then each is delivered to its own file,")
		w.linef("%s, and all of them together to %s.", filepath.Join(made.Imported, p.Import[0].Secret+".env")+" and so on", made.Dotenv)
		w.linef("Change the programs that read %s to read that file. Then you can delete %s.", dotenv, dotenv)
		w.linef("In a systemd unit: EnvironmentFile=%s", filepath.Join(absolute(made.Imported), ".env"))
		w.linef("")
	}
	w.linef("Next:")
	w.linef("")
	if filepath.Clean(dir) != "." {
		w.linef("  cd %s", next.Word(dir))
	}
	w.linef("  custody lint")
	w.linef("  custody serve")
}

// absolute is path from the root, or path itself when the working folder is gone.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
