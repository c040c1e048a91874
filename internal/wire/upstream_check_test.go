// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/wire"
)

const exampleFolder = "../../examples/upstream-exec"

// example copies the example to a folder of its own, with one change to the program, and returns how to check it. A call
// starts Python, which takes a twentieth of a second, and on a machine with sixty programs at work has taken ten; its limit
// of a minute has room for that.
func example(t *testing.T, old, changed string) wire.UpstreamCheck {
	t.Helper()
	if _, err := osexec.LookPath("python3"); err != nil {
		t.Fatalf("%v\nhint: the example is written in Python; install the Debian package python3", err)
	}
	folder := t.TempDir()
	for _, name := range []string{"keyfile", "rig"} {
		text, err := os.ReadFile(filepath.Join(exampleFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")); lines >= 100 {
			t.Errorf("%s has %d lines; the page promises fewer than a hundred", name, lines)
		}
		if name == "keyfile" && old != "" {
			if !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			text = bytes.ReplaceAll(text, []byte(old), []byte(changed))
		}
		if err := realparts.WriteProgram(filepath.Join(folder, name), text); err != nil {
			t.Fatal(err)
		}
	}
	keys := filepath.Join(folder, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	return wire.UpstreamCheck{
		Argv: []string{filepath.Join(folder, "keyfile")}, Rig: filepath.Join(folder, "rig"), Timeout: time.Minute,
		Parameters: map[string]string{"folder": keys}, Account: map[string]string{"name": "check-{n}"},
	}
}

// tried says whether this run takes a part of what starts hundreds of programs: all of them, and a third with -short.
func tried(t *testing.T, name string) bool {
	t.Helper()
	return thorough.Random(t, name).IntN(3) < thorough.Of(1, 3, 3)
}

func TestExampleProgramPassesTheSuite(t *testing.T) {
	t.Parallel()
	check := example(t, "", "")
	check.Chosen = func(name string) bool { return tried(t, name) }
	errs := &bytes.Buffer{}
	check.Errors = errs
	var untried []string
	if err := wire.CheckUpstream(t.Context(), check, func(r wire.UpstreamResult) {
		for _, failure := range r.Failures {
			t.Errorf("%s: %s", r.Name, failure)
		}
		if r.Inapplicable {
			untried = append(untried, r.Name)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LostRepliesOfApply", "LostRepliesOfRevoke", "LostRepliesOfCollect", "UnreachableIsUnknownAndNotApplied", "LateCallsOfSupersededRun"} {
		if slices.Contains(untried, name) {
			t.Errorf("%s was not tried", name)
		}
	}
	if errs.Len() > 0 {
		t.Errorf("the programs wrote to standard error:\n%s", errs)
	}
}

// Each mutant of the example has one fault; the check must find it and say what it is.
func TestFaultsOfProgramsAreFound(t *testing.T) {
	for _, mutant := range []struct {
		name, old, changed string
		test, message      string
	}{
		{
			"ignores the run when it collects", `if key["run"] != request["run"]`, "if False",
			"CollectRemovesOrphans", "the current credential: got refused",
		},
		{
			"collects nothing", `if method == "collect":`, `if method == "nothing":`,
			"LostRepliesOfApply", "holds 2 credentials",
		},
		{
			"accepts everything", `"accepted" if any(`, `"accepted" if True or any(`,
			"DecoyIsRefused", "a decoy: got accepted",
		},
		{
			"touches the successor", `not same(key, old) or same(key, successor)`, `key["id"] not in (old.get("id"), successor.get("id"))`,
			"RevokeTwice", "its successor: got refused",
		},
		{
			"refuses when it cannot ask", `raise Failure("not-applied", "the folder`,
			"if request[\"method\"] == \"verify\":\n            print('{\"custody\": 1, \"verdict\": \"refused\"}')\n            sys.exit()\n        raise Failure(\"not-applied\", \"the folder",
			"UnreachableIsUnknownAndNotApplied", "unreachable: got refused",
		},
		{
			"lets late runs in", `if run in account["past"]:`, "if False:",
			"LateCallsOfSupersededRun", "want ErrSuperseded",
		},
		{
			"one decoy for all", `return {"value": made(value)}`, `return {"value": {**value, "key": "the-one-decoy"}}`,
			"DecoyIsRefused", "a decoy equals",
		},
		{
			"loses fields", `made(request.get("current", {}))`, `made({})`,
			"IssueKeepsFields", "want it kept",
		},
		{
			"tells values", `print(json.dumps({"custody": 1,`, "print(request_text, file=sys.stderr)\n    print(json.dumps({\"custody\": 1,",
			"RevokeTwice", "the log quotes the field",
		},
	} {
		if !tried(t, mutant.name) {
			continue
		}
		t.Run(mutant.name, func(t *testing.T) {
			t.Parallel()
			check := example(t, mutant.old, mutant.changed)
			if mutant.name == "tells values" {
				text, err := os.ReadFile(check.Argv[0])
				if err != nil {
					t.Fatal(err)
				}
				text = bytes.ReplaceAll(text, []byte("json.load(sys.stdin)"), []byte("json.loads(request_text)"))
				text = bytes.ReplaceAll(text, []byte("\n\ntry:\n"), []byte("\n\nrequest_text = sys.stdin.read()\ntry:\n"))
				if err := realparts.WriteProgram(check.Argv[0], text); err != nil {
					t.Fatal(err)
				}
			}
			check.Chosen = func(name string) bool { return name == mutant.test }
			var got []string
			if err := wire.CheckUpstream(t.Context(), check, func(r wire.UpstreamResult) { got = append(got, r.Failures...) }); err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(got, "\n"); !strings.Contains(text, mutant.message) {
				t.Errorf("got %q, want a failure of %s with %q", text, mutant.test, mutant.message)
			}
		})
	}
}

func TestProgramThatDoesNotDescribeItselfIsUnfit(t *testing.T) {
	for name, change := range map[string][3]string{
		"nothing is known of it":  {`"undo": "discard",`, ``, `there is no undo ""`},
		"a method is missing":     {`"collect", "decoy"`, `"collect"`, "must offer decoy"},
		"another mode":            {`"capability": "dual"`, `"capability": "alternate"`, "the document declares dual"},
		"a field nobody knows":    {`"fences": True,`, `"fenced": True,`, "no answer"},
		"it cannot be understood": {`return {"kind": KIND}`, `sys.exit(print("hello"))`, "no answer"},
		"it ends badly":           {`return {"kind": KIND}`, `sys.exit(4)`, "exit status 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := example(t, change[0], change[1])
			err := wire.CheckUpstream(t.Context(), check, func(wire.UpstreamResult) { t.Error("a test was run") })
			if !errors.Is(err, wire.ErrUnfit) || !strings.Contains(err.Error(), change[2]) {
				t.Errorf("got %v, want an unfit program and %q", err, change[2])
			}
		})
	}
}
