// SPDX-License-Identifier: Apache-2.0

// Command demo is the guided tour that `make demo` runs. A sample .env becomes an estate (configuration) in a Git
// repository, its values are handed over, and its credentials rotate on a real PostgreSQL server while clients keep signing
// in. Then one of each kind of credential that is hard to rotate does, on Gitea, MinIO, Dovecot and an OpenID provider.
//
// Guaranteed: the tour checks every statement before it prints it, and ends with exit code 1 at the first that is not true.
// Whatever happens short of SIGKILL, at the end the processes that it started, builds included, and its folder are gone. Its
// last line begins with "demo: ok" only if every check passed. If a part is missing, the tour says how to install it and
// goes on; if a part that is there fails, the tour ends. Not guaranteed: that the folder is removed after SIGKILL of the demo
// itself; its name begins with custody-demo-. Without PostgreSQL, a generated token is used instead of a database account.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/internal/realparts/client"
)

func main() {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "play-client":
			os.Exit(playClient(os.Args[2]))
		case "play-check":
			os.Exit(client.PlayCheck(os.Args[2]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	without := flags.String("without", "", "leave out `PARTS` though they are here, with commas: postgresql, gitea, minio, dovecot, oidc, url, or all")
	install := flags.Bool("install", false, "have tools/install-parts install and build what is shown and is not here, after asking on a terminal")
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: demo [--install] [--without PARTS] PATH-OF-CUSTODY")
		flags.PrintDefaults()
	}
	if flags.Parse(args) != nil || flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left := strings.Split(*without, ",")

	t := newTour(ctx, newTerminal(stdout))
	var err error
	if *install {
		t.parts.may, err = t.install(left)
	}
	began := time.Now()
	t.limit = time.AfterFunc(limit, func() { cancel(errTooLong) })
	defer t.limit.Stop()
	if err == nil {
		err = t.begin(flags.Arg(0))
	}
	if err == nil {
		err = t.walk(left)
	}
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), context.Canceled):
		t.line("")
		t.line(t.faint("Interrupted: removing what was started."))
	default:
		t.line("")
		t.line(t.bad("failed: " + err.Error()))
		t.evidence()
	}
	if left := t.end(); left != nil {
		t.line(t.bad("failed: removing the traces: " + left.Error()))
		err = errors.Join(err, left)
	} else if err == nil {
		t.good("every process that was started has ended, and " + t.base + " is gone")
	}
	switch {
	case err == nil:
		shown, known := t.tally()
		t.line(fmt.Sprintf("\ndemo: ok (%d sign-ins, 0 refused, %s, %d of %d kinds of credential; %s)",
			t.signIns, counted(t.rotations, "rotation"), shown, known, time.Since(began).Round(time.Second)))
	case errors.Is(context.Cause(ctx), context.Canceled):
		t.line("\ndemo: interrupted")
		return 130
	default:
		t.line("\ndemo: failed")
		return 1
	}
	return 0
}

// begin makes the folder that everything of this tour is in.
func (t *tour) begin(custody string) error {
	var err error
	if t.binary, err = filepath.Abs(custody); err != nil {
		return err
	}
	if _, err := os.Stat(t.binary); err != nil {
		return fmt.Errorf("there is no %s: run make build", custody)
	}
	if t.self, err = os.Executable(); err != nil {
		return err
	}
	if t.base, err = os.MkdirTemp("", "custody-demo-"); err != nil {
		return err
	}
	// PostgreSQL may run as another user, who must reach its own folder in here.
	if err := os.Chmod(t.base, 0o711); err != nil {
		return err
	}
	t.dir = filepath.Join(t.base, "shop")
	folders := []string{t.dir, t.path("client"), t.path("client", shop), filepath.Join(t.base, "elsewhere"), filepath.Join(t.base, mailFolder)}
	for _, e := range exhibits() {
		folders = append(folders, t.path("client", e.id))
	}
	for _, dir := range folders {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// end removes every trace: processes by their ids, then the folder.
func (t *tour) end() error {
	var errs []error
	if t.client != nil {
		errs = append(errs, t.client.kill())
	}
	if t.serving != nil {
		errs = append(errs, t.serving.end())
	}
	errs = append(errs, t.leave())
	if t.cluster != nil {
		errs = append(errs, t.cluster.Stop())
	}
	if t.base != "" {
		errs = append(errs, os.RemoveAll(t.base))
		if _, err := os.Lstat(t.base); err == nil {
			errs = append(errs, errors.New(t.base+" is still there"))
		}
	}
	return errors.Join(errs...)
}
