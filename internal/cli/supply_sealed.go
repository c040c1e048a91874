// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/intake"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
)

// sealing is how a value is sealed for a platform, or handed in sealed.
type sealing struct {
	to, out, file string
	generation    uint64
}

func (s *sealing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.to, "seal-to", "", "public `key` that custody intake prints: seal the value instead of handing it in")
	cmd.Flags().Uint64Var(&s.generation, "generation", 0, "`number` of the sealed value, larger than that of any earlier one of the secret")
	cmd.Flags().StringVar(&s.out, "out", "", "`file` for the sealed value")
	cmd.Flags().StringVar(&s.file, "sealed", "", "`file` with a sealed value that is handed in")
}

// check refuses options that do not go together; given says that a value is given otherwise.
func (s *sealing) check(given bool) error {
	const seals = "to seal: custody supply SECRET --seal-to KEY --generation N --out FILE --reason TEXT"
	switch {
	case s.to == "" && (s.out != "" || s.generation > 0):
		return usage("--out and --generation belong to --seal-to", seals)
	case s.to != "" && (s.out == "" || s.generation == 0):
		return usage("--seal-to needs a --generation from 1 and a file for the result", seals)
	case s.to != "" && s.file != "":
		return usage("--seal-to seals a value, and --sealed hands one in", "use one of them")
	case s.file != "" && given:
		return usage("with --sealed the value comes from that file", "leave the others out")
	}
	return nil
}

// sealFor writes a sealed value to a new file.
func (a *app) sealFor(s sealing, name, reason string, v secret.Value) error {
	if err := root.CheckRecipient(s.to); err != nil {
		return usage("--seal-to: "+err.Error(), "copy the key that custody intake prints")
	}
	file, err := intake.Seal(s.to, intake.Sealed{Secret: name, Generation: s.generation, Reason: reason, Made: wire.Now(), Value: v})
	if err != nil {
		return err
	}
	folder, err := durable.Open(filepath.Dir(s.out))
	if err != nil {
		return fmt.Errorf("opening the folder for the sealed value: %w", err)
	}
	defer func() { _ = folder.Close() }()
	if err := folder.Create(filepath.Base(s.out), file); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &server.Problem{Class: server.Refused, Text: s.out + " is there already; nothing was written", Hint: "choose another file with --out"}
		}
		return err
	}
	return a.answer(map[string]any{"file": s.out, "secret": name, "generation": s.generation}, func(p *printer) {
		p.fields("sealed value", s.out, "secret", name, "generation", fmt.Sprint(s.generation))
		p.linef("next, where the platform runs: custody supply %s --sealed FILE --reason TEXT", name)
	})
}

// handIn hands in a sealed value.
func (a *app) handIn(ctx context.Context, platform *wire.Connection, s sealing, name, reason string, wait bool, timeout time.Duration) error {
	file, err := os.ReadFile(s.file)
	if err != nil {
		return fmt.Errorf("reading the sealed value: %w", err)
	}
	if len(file) > 4*secret.MaxBytes {
		return usage(s.file+" is too large to be a sealed value", "name the file that custody supply --seal-to wrote")
	}
	run, err := platform.SupplySealed(ctx, name, reason, file)
	if err != nil {
		return err
	}
	return a.supplied(ctx, platform, name, run, wait, timeout)
}
