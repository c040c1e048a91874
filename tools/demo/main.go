// SPDX-License-Identifier: Apache-2.0

// Command demo is the guided tour that `make demo` runs: a sample .env becomes an estate in a Git repository, is handed
// over, and its credentials rotate on a real PostgreSQL server while clients keep signing in; then one of each kind of
// credential that hurts does, on Gitea, MinIO, Dovecot and an OpenID provider.
//
// Guaranteed: every statement that it prints was checked on the way, and one that does not hold ends it with exit code 1;
// whatever happens short of SIGKILL, the processes it started and its folder are gone when it ends. Its last line begins
// with "demo: ok" only when everything held. A part that is not here is named with how to have it, and the tour goes on;
// one that is here and fails ends it. Not guaranteed: that the folder is gone after SIGKILL of the demo itself; its name
// begins with custody-demo-. Without PostgreSQL installed, a generated token takes the database's part.
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

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/client"
)

// limit is far above what the tour takes, so that a part which hangs ends it.
const limit = 5 * time.Minute

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
	build := flags.Bool("build-parts", false, "build the parts that are made from Go modules, once, which takes minutes, and show nothing")
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: demo [--without PARTS] PATH-OF-CUSTODY\n       demo --build-parts")
		flags.PrintDefaults()
	}
	if flags.Parse(args) != nil || *build == (flags.NArg() == 1) || flags.NArg() > 1 {
		flags.Usage()
		return 2
	}
	if *build {
		return buildParts(ctx, stdout, stderr)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	began := time.Now()
	t := newTour(ctx, newTerminal(stdout))
	err := t.begin(flags.Arg(0))
	if err == nil {
		err = t.walk(strings.Split(*without, ","))
	}
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.Canceled):
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
	case errors.Is(ctx.Err(), context.Canceled):
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

// buildParts builds what the tour can show and takes long to build.
func buildParts(ctx context.Context, stdout, stderr io.Writer) int {
	for _, part := range []realparts.Program{realparts.MinIOProgram(), realparts.GiteaProgram()} {
		built, err := part.Built()
		if err == nil && built == "" {
			fmt.Fprintf(stdout, "building %s, once\n", part.Name())
			_, err = part.Build(ctx)
		}
		if err != nil {
			fmt.Fprintln(stderr, "error:", err)
			return 1
		}
	}
	return 0
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
