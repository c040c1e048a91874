// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/server"
)

// answer is what a command said and how it ended.
type answer struct {
	out, err string
	code     int
}

// run runs a command of the built binary on the rig's platform. One that hangs fails the test.
func (r *rig) run(args ...string) answer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	command := exec.CommandContext(ctx, custody(r.t), append(args, "--host", r.file("custody.yaml"))...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err := command.Run()
	var ended *exec.ExitError
	if err != nil && (!errors.As(err, &ended) || ctx.Err() != nil) {
		r.t.Fatalf("custody %s: %v\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return answer{out.String(), errOut.String(), command.ProcessState.ExitCode()}
}

// ok runs a command that must succeed and returns what it answered.
func (r *rig) ok(args ...string) string {
	r.t.Helper()
	got := r.run(args...)
	if got.code != 0 {
		r.t.Fatalf("custody %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

// fails checks that a command ended with the exit code of a class, and that its error and its hint say each of words.
func (r *rig) fails(got answer, class server.Class, words ...string) {
	r.t.Helper()
	want := server.Exit(&server.Problem{Class: class})
	if got.code != want {
		r.t.Errorf("exit code %d, want %d (%s):\n%s", got.code, want, class, got.err)
	}
	if !strings.Contains(got.err, "error: ") || !strings.Contains(got.err, "hint: ") {
		r.t.Errorf("no error with a hint:\n%s", got.err)
	}
	for _, word := range words {
		if !strings.Contains(got.err, word) {
			r.t.Errorf("the error does not say %q:\n%s", word, got.err)
		}
	}
}

// terminate asks the serving process to stop and returns how it ended and how long that took.
func (r *rig) terminate() (code int, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	if err := r.serving.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.ended:
	case <-time.After(hang):
		r.t.Fatalf("custody serve did not stop :\n%s", r.log())
	}
	_ = r.serving.Wait() // its exit code says how it ended
	code, r.serving = r.serving.ProcessState.ExitCode(), nil
	return code, time.Since(began)
}

// stop asks the serving process to stop, which must work.
func (r *rig) stop() {
	r.t.Helper()
	if code, _ := r.terminate(); code != 0 {
		r.t.Fatalf("custody serve ended with %d:\n%s", code, r.log())
	}
}

// get asks the health address.
func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	response, err := http.Get("http://" + r.address + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *rig) status() server.Status {
	r.t.Helper()
	status, err := r.client.Status(context.Background(), server.Filter{})
	if err != nil {
		r.t.Fatalf("status: %v", err)
	}
	return status
}

// runs returns the runs of a secret in a workflow, newest first.
func (r *rig) runs(secretName, workflow string) []server.Run {
	r.t.Helper()
	all, err := r.client.Runs(context.Background(), secretName)
	if err != nil {
		r.t.Fatalf("runs: %v", err)
	}
	var runs []server.Run
	for _, run := range all {
		if string(run.Workflow) == workflow {
			runs = append(runs, run)
		}
	}
	return runs
}

// finding waits until status has a finding of that code about a secret, "" for any, whose parameters, cause and commands have each of
// words: names, and what parts said. It returns the finding.
func (r *rig) finding(about string, code reason.Code, words ...string) server.Finding {
	r.t.Helper()
	return r.oneOf(about, []reason.Code{code}, words...)
}

// notInForce is finding for a document or file that is not in force, whichever form of it still is.
func (r *rig) notInForce(words ...string) server.Finding {
	r.t.Helper()
	return r.oneOf("", []reason.Code{reason.EstateNotInForce, reason.FormNotInForce, reason.RemovalNotInForce, reason.DocumentNotInForce, reason.FileNotInForce}, words...)
}

func (r *rig) oneOf(about string, codes []reason.Code, words ...string) server.Finding {
	r.t.Helper()
	deadline := time.Now().Add(hang)
	for {
		findings := r.status().Findings
		for _, finding := range findings {
			if (about == "" || finding.Secret == about) && finding.Is(codes...) && containsAll(said(finding.Shown), words) {
				return finding
			}
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("no finding %s about %q has %q: %q\n%s", codes, about, words, findings, r.log())
		}
		time.Sleep(between)
	}
}

// said is what a reason has beside its sentence.
func said(shown reason.Shown) string {
	return strings.Join(slices.Concat(slices.Sorted(maps.Values(shown.Args)), []string{shown.Cause}, shown.Commands), "\n")
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// sound checks that nothing was lost: no invariant is violated and the record is what was signed.
func (r *rig) sound() {
	r.t.Helper()
	r.soundBut(0)
}

// soundBut is sound where so many gaps of the record were accepted.
func (r *rig) soundBut(gaps int) {
	r.t.Helper()
	diagnosis, err := r.client.Doctor(context.Background())
	if err != nil {
		r.t.Fatalf("doctor: %v", err)
	}
	if len(diagnosis.Violations) > 0 {
		r.t.Errorf("doctor found %v", diagnosis.Violations)
	}
	command := []string{"audit", "verify"}
	for _, gap := range decode[audit.Report](r.t, r.run("audit", "verify", "-o", "json").out).Gaps {
		command = append(command, "--known-gap", gap.Where)
	}
	if found := (len(command) - 2) / 2; found != gaps {
		r.t.Errorf("the record has %d gaps, want %d", found, gaps)
	}
	if verified := r.run(command...); verified.code != 0 {
		r.t.Errorf("audit verify: exit code %d\n%s%s", verified.code, verified.out, verified.err)
	}
}

// steady waits until every declared secret is in its steady state.
func (r *rig) steady() {
	r.t.Helper()
	eventually(r.t, "every secret to be steady", func() bool {
		for _, row := range r.status().Secrets {
			if row.State != "steady" {
				return false
			}
		}
		return true
	})
}

// decode reads a command's JSON.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return v
}

// within has a subtest's failures be its own; it returns what ends that.
func (r *rig) within(t *testing.T) func() {
	whole := r.t
	r.t = t
	return func() { r.t = whole }
}

// eventually waits for a condition, and fails the test that would otherwise hang.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(hang)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", hang, what)
		}
		time.Sleep(between)
	}
}
