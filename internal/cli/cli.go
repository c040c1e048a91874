// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line. Each command has a file of its own with its flags, its texts, and what it calls.
//
// Guaranteed: the answer of a command goes to standard output, everything else to standard error. An error is one line
// `error:` and, if there is a next step, a line `hint:`. Exit codes come from the one table that --help prints. No flag
// and no argument takes the value of a secret, and none is ever printed. Not guaranteed: that tables keep their columns
// between versions; programs should use -o json.
//
// Commands that ask a platform call its running server. If none runs, they open the platform in their own process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/server"
	_ "custody.dev/custody/internal/startup" // it is for every program that holds the commands
	"custody.dev/custody/internal/wire"
)

// Places of the host file, when nobody names one.
const (
	hostEnv        = "CUSTODY_HOST"
	systemHostFile = "/etc/custody/custody.yaml"
	localHostFile  = "custody.yaml"
)

// Main runs the command line args, without the program's name, and returns the exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut, env: os.Getenv, system: systemHostFile, connect: wire.Connect}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	command, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	problem := a.problem(err, command)
	_, _ = fmt.Fprintf(errOut, "error: %s\n", problem.Text)
	if problem.Hint != "" {
		_, _ = fmt.Fprintf(errOut, "hint: %s\n", problem.Hint)
	}
	return server.Exit(problem)
}

// Command returns the whole tree, for the generator of the documentation.
func Command() *cobra.Command {
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, env: func(string) string { return "" }}
	return a.root()
}

// app is one run of the program.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	// system is the host file of the whole machine.
	system string
	// connect finds the platform that a command asks.
	connect func(context.Context, wire.Options) (*wire.Connection, error)

	host, output string
	// logLevel and logFormat are "" for what the command has by itself.
	logLevel, logFormat string
	// ran says that a command's own code has begun: what fails before is the command line's fault.
	ran bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "custody",
		Short: "manage the secrets that machines use",
		Long: `Custody manages the secrets that machines use. The estate (configuration) in Git declares which secrets exist, what they are
for, who owns them and who consumes them. An authority (secrets store) on this machine holds their values. Custody copies the first
value of each secret from an encrypted document in Git to the authority, rotates it, delivers it to its consumers, and writes each
step to a signed record (audit log).

Exit codes:
` + exitCodes(),
		Example: `  custody init platform                   # make a platform with an example, in a new folder
  cd platform && custody lint             # check the documents
  custody serve                           # run the platform
  custody inventory                       # which secrets exist, who owns and consumes them, when they expire
  custody rotate example-token --reason "trying it out" --wait`,
		Version:       built().Version,
		SilenceErrors: true, SilenceUsage: true,
		Args:              noSuchCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: a.prepare,
	}
	root.SetVersionTemplate(built().text())
	root.Flags().Bool("version", false, "print the version, as custody version does")
	root.PersistentFlags().StringVar(&a.logLevel, "log-level", "", "lowest `level` that is logged: debug, info, warn or error (default info for serve, error for other commands)")
	root.PersistentFlags().StringVar(&a.logFormat, "log-format", "", "`format` of the log on standard error: text or json (default text)")
	root.PersistentFlags().StringVar(&a.host, "host", "", "host `file` (default $CUSTODY_HOST, then /etc/custody/custody.yaml, then ./custody.yaml)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "", "`format` of the output: table, json or yaml (default table)")
	root.AddCommand(
		a.initCommand(), a.discoverCommand(), a.adoptCommand(), a.lintCommand(), a.sealCommand(), a.bootstrapCommand(), a.rootCommand(),
		a.serveCommand(), a.statusCommand(), a.inventoryCommand(), a.explainCommand(), a.planCommand(),
		a.rotateCommand(), a.supplyCommand(), a.intakeCommand(), a.adoptValueCommand(), a.revertCommand(), a.deliverCommand(), a.retireCommand(), a.withdrawCommand(), a.runCommand(), a.doctorCommand(), a.auditCommand(), a.clockCommand(),
		a.backupCommand(), a.restoreCommand(), a.authorityCommand(), a.recoverCommand(), a.estateCommand(), a.grantCommand(), a.agentCommand(), a.notifyCommand(), a.metricsCommand(), a.upstreamCommand(), a.schemaCommand(), a.manCommand(), a.versionCommand(),
	)
	a.complete(root)
	a.borrowed(root)
	return root
}

// borrowed are the commands of the library, made to refuse what they do not know as all others do.
func (a *app) borrowed(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				command, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return noSuchCommand(command, rest)
			}
		case "completion":
			c.Args = noSuchCommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// exitCodes is the table for --help.
func exitCodes() string {
	var b strings.Builder
	for _, outcome := range server.Outcomes {
		fmt.Fprintf(&b, "  %d  %s\n", outcome.Exit, outcome.Means)
	}
	return b.String()
}

// answers marks a command that has an answer to format.
const answers = "answers"

// levels are those from which on things can be logged.
var levels = []string{"debug", "info", "warn", "error"}

// prepare runs before every command.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	switch {
	case a.logLevel != "" && !slices.Contains(levels, a.logLevel):
		return errors.New("--log-level is " + strings.Join(levels, ", "))
	case a.logFormat != "" && a.logFormat != "text" && a.logFormat != "json":
		return errors.New("--log-format is text or json")
	}
	switch a.output {
	case "", "table", "text":
		return nil
	case "json", "yaml":
		if cmd.Annotations[answers] == "" {
			return fmt.Errorf("%s prints text for people only", cmd.CommandPath())
		}
		return nil
	}
	if others := cmd.Annotations[formats]; others != "" {
		if slices.Contains(strings.Split(others, ","), a.output) {
			return nil
		}
		return errors.New("-o is table, json, yaml, " + strings.ReplaceAll(others, ",", " or "))
	}
	return errors.New("-o is table, json or yaml")
}

// run wraps a command's own code.
func (a *app) run(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.ran = true
		return fn(cmd.Context(), args)
	}
}

// group is a command that only holds others.
func group(use, short, long, example string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// takes wants exactly the arguments named.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		wanted := "no arguments"
		if len(names) > 0 {
			wanted = strings.Join(names, " ") + " and nothing else"
		}
		return usage(fmt.Sprintf("%s takes %s", cmd.CommandPath(), wanted), "see `"+cmd.CommandPath()+" --help`")
	}
}

// noSuchCommand refuses what is not the name of a command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see `" + cmd.CommandPath() + " --help`"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	}
	if cmd.Name() == "completion" {
		names := []string{}
		for _, shell := range cmd.Commands() {
			names = append(names, shell.Name())
		}
		hint = "there are " + strings.Join(names, ", ")
	}
	return usage(fmt.Sprintf("there is no command %q", visible(cmd.CommandPath()+" "+args[0])), hint)
}

// problem gives an error its class.
func (a *app) problem(err error, cmd *cobra.Command) *server.Problem {
	problem := server.Problems(err)
	if problem.Class != server.Failure {
		return problem
	}
	switch {
	case errors.Is(err, context.Canceled):
		problem.Text, problem.Hint = "interrupted", "what was begun goes on under `custody serve`"
	case !a.ran:
		problem.Class, problem.Hint = server.Usage, "see `"+cmd.CommandPath()+" --help`"
	case errors.Is(err, scaffold.ErrInput):
		problem.Class = server.Usage
	case errors.Is(err, scaffold.ErrExists), errors.Is(err, scaffold.ErrNotGranted), errors.Is(err, fs.ErrExist):
		problem.Class = server.Refused
	case errors.Is(err, scaffold.ErrNotDeclared), errors.Is(err, fs.ErrNotExist):
		problem.Class = server.NotFound
	}
	return problem
}

func usage(text, hint string) error {
	return &server.Problem{Class: server.Usage, Text: text, Hint: hint}
}

// hostFile is the host's own configuration: the one named, else the machine's, else the one in the working folder. That
// folder may be anybody's: whoever can write to it must not choose for a machine that has a host file of its own.
func (a *app) hostFile() string {
	for _, named := range []string{a.host, a.env(hostEnv)} {
		if named != "" {
			return named
		}
	}
	if _, err := os.Stat(a.system); !errors.Is(err, fs.ErrNotExist) && a.system != "" {
		return a.system
	}
	return localHostFile
}

// hostNamed reports whether somebody named the host file.
func (a *app) hostNamed() bool { return a.host != "" || a.env(hostEnv) != "" }

// options are how the host's platform is opened. What is logged, from level on where no flag says otherwise, goes to standard
// error.
func (a *app) options(level slog.Level) wire.Options {
	if a.logLevel != "" {
		_ = level.UnmarshalText([]byte(a.logLevel)) // one of levels
	}
	var handler slog.Handler = slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})
	if a.logFormat == "json" {
		handler = slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level})
	}
	return wire.Options{HostFile: a.hostFile(), Log: slog.New(handler), Version: built().Version}
}

// ask calls fn with a way to ask the platform. An interrupt ends what fn waits for.
func (a *app) ask(ctx context.Context, fn func(ctx context.Context, platform *wire.Connection) error) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the program
	platform, err := a.connect(ctx, a.options(slog.LevelError))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, platform.Close()) }()
	platform.Slow = func(waited time.Duration) {
		_, _ = fmt.Fprintf(a.err, "the server has not answered for %s: it may wait for its disk or its authority; /readyz and its log say more. Ctrl-C ends this wait\n", waited)
	}
	platform.Reading(a.reading())
	return fn(ctx, platform)
}

// terminal reports whether a stream is one.
func terminal(stream any) (fd int, ok bool) {
	file, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd = int(file.Fd())
	return fd, term.IsTerminal(fd)
}
