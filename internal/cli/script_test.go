// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/thorough"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"custody": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

const scripts = "testdata/script"

// TestScripts runs every script, and a third of them with -short: they start hundreds of processes, each of which costs a
// tenth of a second to begin. Nothing but the time limit of the whole bounds a script; its wait is await's.
func TestScripts(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts in %s: %v", scripts, err)
	}
	chosen := params("", "")
	count := thorough.Of(len(found)/6, len(found), len(found))
	for _, at := range thorough.Random(t, "scripts").Perm(len(found))[:count] {
		chosen.Files = append(chosen.Files, found[at])
	}
	testscript.Run(t, chosen)
}

// TestStockSops needs a program that takes minutes to build; the short loop leaves it to the long one.
func TestStockSops(t *testing.T) {
	if testing.Short() {
		return
	}
	testscript.Run(t, params("testdata/realparts", filepath.Dir(realparts.Sops(t))))
}

// params run the scripts of a folder, with one more folder to find programs in.
func params(folder, programs string) testscript.Params {
	return testscript.Params{
		Dir: folder,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CUSTODY_HOST", "")
			env.Values[forgeValue] = new(*forge)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each of hundreds of commands ends a second late
			if programs != "" {
				env.Setenv("PATH", env.Getenv("PATH")+string(filepath.ListSeparator)+programs)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "canary": canary, "replace": replace, "await": await, "mode": mode, "flip": flip,
			"overwrite": overwrite, "serve-hook": serveHook, "serve-forge": serveForge, "forge-holds": forgeHolds, "forge-asked": forgeAsked,
		},
	}
}

// Every command has its script, named after its words.
func TestEveryCommandHasAScript(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		switch c.Name() {
		case "help", "completion":
			return
		}
		if c.HasSubCommands() {
			for _, sub := range c.Commands() {
				walk(sub)
			}
			return
		}
		name := strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "custody "), " ", "_")
		if _, err := os.Stat(filepath.Join(scripts, name+".txtar")); err != nil {
			t.Errorf("%s: %v", c.CommandPath(), err)
		}
	}
	walk(Command())
}

// exits CODE PROGRAM ARGS... runs a program, wants its exit code, and keeps all that it wrote in $WORK/.outputs.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	kept, err := os.OpenFile(filepath.Join(ts.Getenv("WORK"), ".outputs"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = kept.WriteString(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	ts.Check(err)
	ts.Check(kept.Close())
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// canary FILE PATH... fails when a file beneath the paths holds the first line of FILE, in any form in which it might be
// written; with !, when none does.
func canary(ts *testscript.TestScript, neg bool, args []string) {
	mark, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
	if len(mark) < 12 {
		ts.Fatalf("the mark is too short to be sure of")
	}
	forms := [][]byte{[]byte(mark), []byte(hex.EncodeToString([]byte(mark)))}
	for shift := range 3 { // base64 differs with where the text begins
		whole := base64.StdEncoding.EncodeToString(append(make([]byte, shift), mark...))
		forms = append(forms, []byte(whole[4:len(whole)-4]))
	}
	found, looked := "", 0
	for _, path := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(path), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(name)
			looked++
			for _, form := range forms {
				if bytes.Contains(data, form) {
					found = name
				}
			}
			return err
		}))
	}
	switch {
	case looked == 0:
		ts.Fatalf("no files to look at")
	case !neg && found != "":
		ts.Fatalf("%s holds the marked value", found)
	case neg && found == "":
		ts.Fatalf("none of %d files holds the marked value", looked)
	}
}

// replace FILE OLD NEW changes text in a file.
func replace(ts *testscript.TestScript, _ bool, args []string) {
	old := ts.ReadFile(args[0])
	changed := strings.ReplaceAll(old, args[1], args[2])
	if changed == old {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(changed), 0o600))
}

// await FILE waits for a file to appear, for two minutes: what a command that was started before makes in a second, on a
// machine that has a hundred other things to do.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if _, err := os.Lstat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear", args[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// mode MODE FILE... wants files to have a mode.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Lstat(ts.MkAbs(name))
		ts.Check(err)
		if got := info.Mode().Perm(); got != fs.FileMode(want) {
			ts.Fatalf("%s has mode %04o, want %04o", name, got, want)
		}
	}
}

// flip FILE changes one letter in the middle of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	for i := len(data) / 2; i < len(data); i++ {
		if data[i] >= 'a' && data[i] < 'z' {
			data[i]++
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
			return
		}
	}
	ts.Fatalf("%s has no letter to change", args[0])
}
