// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	osexec "os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/conformance"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/generated"
)

// UpstreamCheck is a program to hold to the suite that every upstream passes.
type UpstreamCheck struct {
	// Argv is the program, as an absolute path, and its arguments.
	Argv    []string
	Timeout time.Duration
	// Mode, Parameters and Account are as in documents. "{n}" in a value of Account becomes a number that no other test
	// has, so that each test has an account of its own.
	Mode                string
	Parameters, Account map[string]string
	// Admin are the admin credentials.
	Admin []secret.Value
	// Public names the fields of its values that are not secret.
	Public []string
	// Rig is a program that is called with one word and a JSON object with parameters and account on standard input, in
	// the environment and the folder of whoever checks. It answers to words with those that it knows, of: break, mend,
	// throttle, wait, held.
	Rig string
	// Errors takes what both programs write to standard error.
	Errors io.Writer
	// Chosen says which tests are run; nil takes all.
	Chosen func(name string) bool
}

// UpstreamResult is what one test came to.
type UpstreamResult = conformance.Result

// ErrUnfit: the program cannot be checked, because it does not say well what it can do.
var ErrUnfit = errors.New("the program's answer to the method kind cannot be used")

// CheckUpstream runs the suite against a program, and tells each result as it comes.
func CheckUpstream(ctx context.Context, c UpstreamCheck, tell func(UpstreamResult)) error {
	checked := &checkedProgram{UpstreamCheck: c}
	if c.Rig != "" {
		words, err := checked.rig(ctx, "words", c.Account)
		if err != nil {
			return err
		}
		checked.words = strings.Fields(words)
	}
	// Once outside the suite, so that what is wrong with the program's kind is said once and not by every test.
	first, err := checked.on(checked.account())
	if err != nil {
		return err
	}
	if err := first.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	defer checked.repair()
	return conformance.Check(ctx, checked.fresh, c.Chosen, tell)
}

// checkedProgram makes a fixture for each test.
type checkedProgram struct {
	UpstreamCheck
	words []string
	tests int

	mu   sync.Mutex
	cut  bool
	left int
	// mend undoes what the rig was last asked to disturb; nil when nothing is.
	mend func()
	said lockedBuffer
}

// rig asks for one thing to be done to the system behind the program.
func (c *checkedProgram) rig(ctx context.Context, word string, account map[string]string) (string, error) {
	input, err := json.Marshal(map[string]any{"parameters": c.Parameters, "account": account})
	if err != nil {
		return "", fmt.Errorf("asking the rig to %s: %w", word, err)
	}
	command := osexec.CommandContext(ctx, c.Rig, word) //nolint:gosec // whoever checks names it
	command.Stdin, command.Stderr = bytes.NewReader(input), c.Errors
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("asking the rig %s to %s: %w", c.Rig, word, err)
	}
	return string(output), nil
}

// account is a fresh account.
func (c *checkedProgram) account() map[string]string {
	c.tests++
	account := map[string]string{}
	for name, value := range c.Account {
		account[name] = strings.ReplaceAll(value, "{n}", strconv.Itoa(c.tests))
	}
	return account
}

func (c *checkedProgram) on(account map[string]string) (*exec.Upstream, error) {
	config := exec.Config{
		Argv: c.Argv, Timeout: c.Timeout, Mode: upstream.Capability(c.Mode), Parameters: c.Parameters, Account: account,
		Claim:  "check/check/check",
		Random: Random(), Errors: io.MultiWriter(&c.said, orDiscard(c.Errors)), Lost: c.lost,
		NewPassword: func(random io.Reader) (string, error) {
			return generated.Password(random, v1alpha1.GenerateRule{Type: "password"})
		},
	}
	if len(c.Admin) > 0 {
		config.Admin = func(context.Context) ([]secret.Value, error) { return c.Admin, nil }
	}
	return exec.New(config)
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// lost reports whether the next answer is thrown away.
func (c *checkedProgram) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		return false
	}
	c.left--
	return c.left < 0
}

// repair ends every disturbance.
func (c *checkedProgram) repair() {
	c.mu.Lock()
	mend := c.mend
	c.cut, c.mend = false, nil
	c.mu.Unlock()
	if mend != nil {
		mend()
	}
}

func (c *checkedProgram) fresh(t conformance.T) conformance.Fixture {
	c.repair() // a test that failed may have left something disturbed
	account := c.account()
	made, err := c.on(account)
	if err != nil {
		t.Fatalf("%v", err)
	}
	ask := func(word string) string {
		// What was disturbed is mended even when the check is interrupted.
		output, err := c.rig(context.WithoutCancel(t.Context()), word, account)
		if err != nil {
			t.Errorf("%v", err)
		}
		return output
	}
	fixture := conformance.Fixture{
		Upstream: made, EnforcesRun: made.Kind().Fences, Public: c.Public, Log: c.said.String,
		Cut: func(replies int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.cut, c.left = true, replies
		},
		Mend: c.repair,
	}
	disturb := func(word string) func() {
		if !slices.Contains(c.words, word) || !slices.Contains(c.words, "mend") {
			return nil
		}
		return func() {
			c.mu.Lock()
			c.mend = func() { ask("mend") }
			c.mu.Unlock()
			ask(word)
		}
	}
	fixture.Break, fixture.Throttle = disturb("break"), disturb("throttle")
	if slices.Contains(c.words, "wait") {
		fixture.Wait = func() { ask("wait") }
	}
	if slices.Contains(c.words, "held") {
		fixture.Held = func(conformance.T) []string {
			return strings.FieldsFunc(ask("held"), func(r rune) bool { return r == '\n' || r == '\r' })
		}
	}
	return fixture
}

// lockedBuffer collects what several processes write.
type lockedBuffer struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.String()
}
