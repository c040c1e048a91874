// SPDX-License-Identifier: Apache-2.0

package exec_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary be the program: its first argument chooses what it does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "program" {
		code := program(os.Args[2:])
		// Past the race detector, which makes every process end a second late.
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}
	os.Exit(m.Run())
}

func self(t *testing.T, args ...string) []string {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{binary, "program"}, args...)
}

func open(t *testing.T, config exec.Config) *exec.Upstream {
	t.Helper()
	config.NewPassword, config.Random = upstreamtest.NewPassword, rand.Reader
	u, err := exec.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestSuite holds programs of every capability to the suite. The store stands behind them: a folder that can go away.
func TestSuite(t *testing.T) {
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate, upstream.Overwrite} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel() // each test has a store of its own
			upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
				store := filepath.Join(t.TempDir(), "store")
				if err := os.Mkdir(store, 0o700); err != nil {
					t.Fatal(err)
				}
				move := func(from, to string) {
					if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Error(err)
					}
				}
				var cutting atomic.Bool
				var left atomic.Int64
				said := &strings.Builder{}
				return upstreamtest.Fixture{
					Upstream: open(t, exec.Config{
						Argv: self(t, "store"), Mode: mode, Parameters: map[string]string{"store": store},
						Admin:  upstreamtest.Admins(upstreamtest.Value(t, map[string]string{"token": "adm-" + rand.Text()})),
						Lost:   func() bool { return cutting.Load() && left.Add(-1) < 0 },
						Errors: said,
					}),
					Break: func() { move(store, store+".away") },
					Mend: func() {
						cutting.Store(false)
						move(store+".away", store)
						_ = os.Remove(filepath.Join(store, "busy"))
					},
					Cut: func(replies int) {
						left.Store(int64(replies))
						cutting.Store(true)
					},
					Throttle: func() {
						if err := os.WriteFile(filepath.Join(store, "busy"), nil, 0o600); err != nil {
							t.Error(err)
						}
					},
					Held: func(t *testing.T) []string {
						accounts, err := os.ReadDir(store)
						if err != nil {
							t.Fatal(err)
						}
						var names []string
						for _, account := range accounts {
							names = append(names, account.Name())
						}
						return names
					},
					Refused: func(t *testing.T, v secret.Value) secret.Value {
						v, err := v.With("password", []byte("too-short"))
						if err != nil {
							t.Fatal(err)
						}
						return v
					},
					Log: said.String,
				}
			})
		})
	}
}

// asked returns what the program was given for a method.
func asked(t *testing.T, file, method string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var request map[string]any
		if err := json.Unmarshal(line, &request); err != nil {
			t.Fatal(err)
		}
		if request["method"] == method {
			return request
		}
	}
	t.Fatalf("the program was never asked to %s", method)
	return nil
}

func TestRequestsHoldWhatTheContractSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests")
	u := open(t, exec.Config{
		Argv: self(t, "record", file), Claim: "shop/prod/key", Parameters: map[string]string{"a": "b"}, Account: map[string]string{"name": "n"},
		Admin: upstreamtest.Admins(upstreamtest.Value(t, map[string]string{"token": "adm-1"}), upstreamtest.Value(t, map[string]string{"token": "adm-2"})),
	})
	if kind := u.Kind(); kind.Evidence == nil || kind.Settle != 3*time.Second || kind.WrongEvery != time.Minute || !kind.Fences {
		t.Fatalf("got %+v, %v", kind, u.Ready(t.Context()))
	}
	binary, err := secret.New(map[string][]byte{"key": {0xff, 0x00}, "username": []byte("u")})
	if err != nil {
		t.Fatal(err)
	}
	candidate, err := u.Propose(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	if got := candidate.Expose("key"); !bytes.Equal(got, []byte{0xff, 0x00}) {
		t.Errorf("a field that is no text: got %x, want it as it was", got)
	}
	if _, err := u.Apply(t.Context(), "run-1", binary, candidate); err != nil {
		t.Error(err)
	}
	if _, err := u.Verify(t.Context(), candidate); err != nil {
		t.Error(err)
	}
	if err := u.Revoke(t.Context(), "run-1", binary, candidate); err != nil {
		t.Error(err)
	}
	since := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	uses, err := u.Uses(t.Context(), binary, since)
	if diff := cmp.Diff([]upstream.Use{{Who: "the stock server", Last: since}}, uses); diff != "" || err != nil {
		t.Errorf("uses (-want +got): %v\n%s", err, diff)
	}
	tagged := map[string]any{"key": map[string]any{"base64": "/wA="}, "username": "u"}
	admins := []any{map[string]any{"token": "adm-1"}, map[string]any{"token": "adm-2"}}
	for _, test := range []struct {
		method string
		want   map[string]any
	}{
		{"kind", map[string]any{}},
		{"propose", map[string]any{"current": tagged}},
		{"apply", map[string]any{"run": "run-1", "admin": admins, "current": tagged}},
		{"verify", map[string]any{}},
		{"revoke", map[string]any{"run": "run-1", "admin": admins, "old": tagged}},
		{"uses", map[string]any{"since": "2030-01-02T03:04:05Z", "admin": admins, "old": tagged}},
	} {
		got := asked(t, file, test.method)
		if _, err := time.Parse(time.RFC3339, got["deadline"].(string)); err != nil {
			t.Errorf("%s: %v", test.method, err)
		}
		for name, want := range map[string]bool{
			"candidate": test.method == "apply", "value": test.method == "verify", "successor": test.method == "revoke", "password": test.method == "propose",
		} {
			if _, there := got[name]; there != want {
				t.Errorf("%s: %s is there: %v, want %v", test.method, name, there, want)
			}
			delete(got, name)
		}
		delete(got, "deadline")
		want := map[string]any{
			"custody": 1.0, "method": test.method, "mode": "dual", "claim": "shop/prod/key",
			"parameters": map[string]any{"a": "b"}, "account": map[string]any{"name": "n"},
		}
		for name, field := range test.want {
			want[name] = field
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.method, diff)
		}
	}
	environment, err := os.ReadFile(file + ".environment")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("CUSTODY=1\nHOME=/nonexistent\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nTZ=UTC\n/", string(environment)); diff != "" {
		t.Errorf("environment and folder (-want +got):\n%s", diff)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	candidate := upstreamtest.Value(t, map[string]string{"password": "the-candidate-itself"})
	for _, test := range []struct {
		does string
		want string
	}{
		{"nothing", "0 bytes that are no answer"},
		{"text", "no answer"},
		{"unknown-field", "no answer"},
		{"other-version", "no answer"},
		{"two", "more than one answer"},
		{"exit", "exit status 3"},
		{"signal", "signal: killed"},
		{"flood", "more than 1048576 bytes"},
		{"hang", "killed"},
		{"leave", "left a process behind"},
		{"quote", "quotes a value and is not shown"},
		{"stderr", "23 bytes on standard error, which may hold values"},
		{"classless", "an error without a class that is known"},
	} {
		t.Run(test.does, func(t *testing.T) {
			t.Parallel()
			u := open(t, exec.Config{Argv: self(t, "bad", test.does), Timeout: time.Minute}) // the one that hangs says 2s itself
			ready(t, u)
			_, err := u.Apply(t.Context(), "run-1", secret.Value{}, candidate)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "the-candidate") {
				t.Errorf("Apply: got %v, want an error with %q and without the candidate", err, test.want)
			}
			if errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("Apply: got %v, which says that nothing happened; nobody knows", err)
			}
			if test.does == "hang" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Apply: got %v, want the deadline in its chain", err)
			}
			got, err := u.Verify(t.Context(), candidate)
			if got != upstream.Unknown || err == nil || errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("Verify: got %s, %v, want unknown with a reason", got, err)
			}
		})
	}
}

// An answer that leaves out what matters is no proof that a credential is out of use.
func TestUsesThatAreNotToldAreNoSilence(t *testing.T) {
	for does, want := range map[string]string{"no-list": "has no list", "timeless": "has no time"} {
		u := open(t, exec.Config{Argv: self(t, "bad", does)})
		ready(t, u)
		if uses, err := u.Uses(t.Context(), upstreamtest.Value(t, map[string]string{"password": "p"}), time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want an error with %q", does, uses, err, want)
		}
	}
}

// ready waits for a program to say what it can do; to start it may take long on a busy machine.
func ready(t *testing.T, u *exec.Upstream) {
	t.Helper()
	if err := u.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsKeepTheirClass(t *testing.T) {
	for class, want := range map[string]error{
		"not-applied": upstream.ErrNotApplied, "later": upstream.ErrNotApplied,
		"refused-candidate": upstream.ErrRefusedCandidate, "superseded": upstream.ErrSuperseded, "ambiguous": nil,
	} {
		u := open(t, exec.Config{Argv: self(t, "error", class)})
		ready(t, u)
		_, err := u.Apply(t.Context(), "run-1", secret.Value{}, upstreamtest.Value(t, map[string]string{"password": "candidate"}))
		said, ok := errors.AsType[*upstream.Error](err)
		if !ok || want != nil && !errors.Is(said, want) || want == nil && said.Class != nil || said.Hint() != "turn it" || !strings.Contains(err.Error(), "a reason of two lines") {
			t.Errorf("%s: got %v", class, err)
		}
		later, ok := errors.AsType[*upstream.Later](err)
		if ok != (class == "later") || ok && later.After != 90*time.Second {
			t.Errorf("%s: got %+v", class, later)
		}
	}
}

func TestProgramThatCannotRunAppliesNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "program")
	u := open(t, exec.Config{Argv: []string{missing}})
	v := upstreamtest.Value(t, map[string]string{"password": "candidate"})
	if got := u.Kind(); got.Name != "exec" || got.Capability != upstream.Dual || got.Check() != nil {
		t.Errorf("got %+v, want a kind that contradicts nothing", got)
	}
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, v); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("got %v, want ErrNotApplied", err)
	}
	got, err := u.Verify(t.Context(), v)
	if got != upstream.Unknown {
		t.Errorf("got %s, want unknown", got)
	}
	upstreamtest.Fails(t, nil, err, "the reason, which claims nothing,")
}

// TestKindIsKnownOnceTheProgramSaysIt: until then nobody is to decide by it, and then it stays.
func TestKindIsKnownOnceTheProgramSaysIt(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	u := open(t, exec.Config{Argv: self(t, "late", there)})
	var _ upstream.Readier = u
	if u.Kind(); u.Ready(t.Context()) == nil {
		t.Fatal("the program says nothing, and its kind counts as known")
	}
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.Ready(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("under a cancelled context: got %v, want its error", err)
	}
	ready(t, u)
	if err := os.Remove(there); err != nil {
		t.Fatal(err)
	}
	if err := u.Ready(cancelled); err != nil || u.Kind().Undo != upstream.Discard {
		t.Errorf("the program is gone again: got %v and %+v, want the kind that it told", err, u.Kind())
	}
}

// TestListKeepsNamesApart: they are compared with those of another time, so two must never become one.
func TestListKeepsNamesApart(t *testing.T) {
	long := strings.Repeat("n", 400)
	u := open(t, exec.Config{
		Argv:  self(t, "list", "key-1", long+"1", long+"2", "key\n2", "key 2"),
		Admin: upstreamtest.Admins(upstreamtest.Value(t, map[string]string{"username": "key", "token": "adm-secret"})),
	})
	ready(t, u)
	got, err := u.List(t.Context())
	if err != nil || len(got) != 5 || got[0] != "key-1" || got[4] != "key 2" {
		t.Fatalf("got %q, %v", got, err)
	}
	if unique := slices.Compact(slices.Sorted(slices.Values(got))); len(unique) != len(got) {
		t.Errorf("got %q: two names became one", got)
	}
	for _, name := range got {
		if len(name) > 400 || strings.Contains(name, "\n") {
			t.Errorf("got %q, want it bounded and in one line", name)
		}
	}
	again, err := u.List(t.Context())
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("asked again (-want +got): %v\n%s", err, diff)
	}
}

func TestListThatTellsNothingApartIsRefused(t *testing.T) {
	for name, list := range map[string][]string{
		"a secret":           {"key-1", "key of adm-secret"},
		"two of one name":    {"key-1", "key-2", "key-1"},
		"one without a name": {"key-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := open(t, exec.Config{
				Argv:  self(t, append([]string{"list"}, list...)...),
				Admin: upstreamtest.Admins(upstreamtest.Value(t, map[string]string{"token": "adm-secret"})),
			})
			ready(t, u)
			got, err := u.List(t.Context())
			said, ok := errors.AsType[*upstream.Error](err)
			if !ok || said.Hint() == "" || strings.Contains(err.Error(), "adm-secret") {
				t.Errorf("got %q, %v, want an error with a hint and without the secret", got, err)
			}
		})
	}
}

// TestNothingOfAProgramOutlivesIt, however it ends.
func TestNothingOfAProgramOutlivesIt(t *testing.T) {
	for _, ending := range []string{"hangs", "fails", "answers"} {
		t.Run(ending, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "child")
			u := open(t, exec.Config{Argv: self(t, "bad", "family", file, ending), Timeout: time.Minute})
			ready(t, u)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if ending == "hangs" {
				go func() { // once it has started its child, however long that takes
					for ctx.Err() == nil && child(file) == 0 {
						time.Sleep(10 * time.Millisecond)
					}
					cancel()
				}()
			}
			_, err := u.Apply(ctx, "run-1", secret.Value{}, upstreamtest.Value(t, map[string]string{"password": "candidate"}))
			if (err == nil) != (ending == "answers") || errors.Is(err, context.Canceled) != (ending == "hangs") {
				t.Errorf("got %v", err)
			}
			pid := child(file)
			if pid == 0 {
				t.Fatal("the program started no child: without one this test shows nothing")
			}
			// It was killed, and is gone as soon as the kernel has come to it; by itself it would stay for much longer.
			for deadline := time.Now().Add(time.Minute); !ended(pid); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("the child outlived the program")
				}
			}
		})
	}
}

// child reads the number that a program wrote of its child; 0 until it has.
func child(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(string(data), "."))
	if err != nil || !strings.HasSuffix(string(data), ".") {
		return 0
	}
	return pid
}

// ended reports whether a process is gone or waits only to be reaped.
func ended(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return errors.Is(err, os.ErrNotExist) || bytes.Contains(stat, []byte(") Z "))
}

func TestConfigIsChecked(t *testing.T) {
	for _, argv := range [][]string{nil, {"program"}, {"./program"}} {
		if _, err := exec.New(exec.Config{Argv: argv, NewPassword: upstreamtest.NewPassword, Random: rand.Reader}); err == nil {
			t.Errorf("%v: got no error", argv)
		}
	}
	if _, err := exec.New(exec.Config{Argv: []string{"/bin/true"}}); err == nil {
		t.Error("without a rule for passwords: got no error")
	}
}

func TestDescription(t *testing.T) {
	d := exec.Type().Describe()[0]
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	for _, method := range []string{"kind", "propose", "apply", "verify", "revoke", "collect", "list", "decoy", "uses"} {
		if !strings.Contains(d.Page, "| `"+method+"` |") {
			t.Errorf("the page does not explain %s", method)
		}
	}
	for _, class := range []string{"not-applied", "refused-candidate", "superseded", "later", "ambiguous"} {
		if !slices.ContainsFunc(strings.Split(d.Page, "\n"), func(line string) bool { return strings.HasPrefix(line, "| `"+class+"` |") }) {
			t.Errorf("the page does not explain the class %s", class)
		}
	}
}
