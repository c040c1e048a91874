// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

func (a *app) initCommand() *cobra.Command {
	p := scaffold.Platform{}
	dotenv, skip := "", []string(nil)
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "make a platform in a folder",
		Long: `Makes a working platform in DIR, which may exist: an estate with an example, the configuration of this machine, and
three keys. Nothing that is there is overwritten; a .gitignore that is there gains lines that keep keys, state and
delivered values out of Git.

With --from-env, every variable of a dotenv file becomes a secret of its own: its value is sealed into the estate, to be
handed over when custody serve first runs, and delivered to a file that holds the same variable. All of them are delivered once
more in one file, run/imported/.env: what reads the dotenv file today needs that path and nothing else. What readers of dotenv
files disagree about (comments behind values, a $ outside single quotes, CR LF) is refused, all of it at once, with how to
write each. A value of several lines is among that: leave it out, and seal it with custody seal --from-file.`,
		Example: `  custody init platform
  custody init . --platform shop --environment prod --from-env .env --skip PORT,LOG_LEVEL`,
		Args: takes("DIR"),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.init(ctx, args[0], p, dotenv, skip) }),
	}
	cmd.Flags().StringVar(&p.Name, "platform", "", "`name` of the platform (default: that of the folder)")
	cmd.Flags().StringVar(&p.Environment, "environment", "prod", "`name` of the environment that this machine is")
	cmd.Flags().StringVar(&p.Team, "team", "", "`team` that owns the secrets (default: who runs this)")
	cmd.Flags().StringVar(&p.Contact, "contact", "", "`address` by which the owner is reached (default: the team)")
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
		return usage("--skip goes with --from-env", "")
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
	w.linef("Platform %s, environment %s, is in %s.", p.Name, p.Environment, dir)
	w.linef("")
	w.linef("  %-24s what should be: documents, for Git", made.Estate)
	w.linef("  %-24s what this machine may do; edit it here, not through Git", made.HostFile)
	w.linef("  %-24s three private keys, not for Git", filepath.Join(dir, "keys"))
	if made.GitIgnore {
		w.linef("  %-24s gained lines that keep keys, state and values out of Git", filepath.Join(dir, ".gitignore"))
	}
	w.linef("")
	w.linef("The root key is %s (public: %s).", made.RootKey, made.RootRecipient)
	w.linef("It opens everything that is ever sealed here, and is what is left if this machine burns. Nothing that runs needs")
	w.linef("it, so it must not stay here. Split it, give the shares to different people or places, delete the file:")
	w.linef("")
	w.linef("  custody root split --key %s --shares 5 --threshold 3 --out-dir FOLDER-ON-A-STICK", made.RootKey)
	w.linef("  shred -u %s", made.RootKey)
	w.linef("")
	if n := len(p.Import); n > 0 {
		w.linef("%s of %s sealed into %s.", plural(n, "value"), dotenv, filepath.Join(made.Estate, "bootstrap"))
		w.linef("Once `custody serve` has handed them over (`custody status` says so), each is delivered to a file of its own,")
		w.linef("%s, and all together to %s.", filepath.Join(made.Imported, p.Import[0].Secret+".env")+" and so on", made.Dotenv)
		w.linef("Let what reads %s read that one instead; then %s may be deleted.", dotenv, dotenv)
		w.linef("In a systemd unit: EnvironmentFile=%s", filepath.Join(absolute(made.Imported), ".env"))
		w.linef("")
	}
	w.linef("Next:")
	w.linef("")
	w.linef("  cd %s", dir)
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
