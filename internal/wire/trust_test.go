// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/server"
)

// wantRefused wants an error of the class, with the text and a next move.
func wantRefused(t *testing.T, err error, says string) {
	t.Helper()
	problem, is := errors.AsType[*server.Problem](err)
	if !is || problem.Class != server.Refused || !strings.Contains(problem.Text, says) || problem.Hint == "" {
		t.Errorf("got %+v, want a refusal that says %q, with a hint", err, says)
	}
}

// A host file in a folder of somebody else chose the server that root handed the admin password to, and the program that
// root ran.
func TestHostFileThatOthersCanChange(t *testing.T) {
	file, _ := hosted(t, "{keyFile: key}")
	dir := filepath.Dir(file)
	use := func() error {
		_, err := LoadHost(file)
		return err
	}
	if err := use(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		mode os.FileMode
	}{{file, 0o666}, {file, 0o660}, {dir, 0o777}, {dir, 0o770}} {
		if err := os.Chmod(c.what, c.mode); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, use(), c.what+" can be changed by")
		_, err := Connect(t.Context(), Options{HostFile: file})
		wantRefused(t, err, c.what+" can be changed by")
		wantRefused(t, Serve(t.Context(), Options{HostFile: file}, ServeOptions{Once: true}), c.what+" can be changed by")
		if err := os.Chmod(c.what, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 { // nobody else can give files away; what is decided is tested in package trust
		if err := os.Chown(dir, other, other); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, use(), dir+" belongs to user 4343")
	}
}

// listening serves nothing on the socket of a state folder, and counts what it is asked.
func listening(t *testing.T, state string) (asked *int) {
	t.Helper()
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", SocketPath(state))
	if err != nil {
		t.Fatal(err)
	}
	asked = new(int)
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *asked++ })}
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close() })
	return asked
}

// A server that another user put into the state folder was handed what people supplied.
func TestSomebodyElseListensInTheStateFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can give a folder away
	}
	file, state := hosted(t, "{keyFile: key}")
	asked := listening(t, state)
	if err := os.Chown(state, custodian, custodian); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), Options{HostFile: file})
	wantRefused(t, err, "runs as user 0, and the folder belongs to user 4242")
	_, err = server.Dial(SocketPath(state)).Status(t.Context(), server.Filter{})
	wantRefused(t, err, "runs as user 0")
	if *asked != 0 {
		t.Error("it was asked something")
	}
}

// The folder that the state folder is in lets others put another one in its place.
func TestStateFolderThatOthersCanReplace(t *testing.T) {
	file, state := hosted(t, "{keyFile: key}")
	shared := filepath.Join(filepath.Dir(file), "shared")
	if err := os.MkdirAll(filepath.Join(shared, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(shared, "state"), state); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), Options{HostFile: file})
	wantRefused(t, err, shared+" can be changed by everybody")
}

// The server takes no other user's connection, whatever became of the socket's mode.
func TestAnotherUsersConnectionIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		is   server.Credentials
		err  error
		want string
	}{
		"the user itself":   {server.Credentials{UID: os.Geteuid()}, nil, "hello"},
		"root":              {server.Credentials{}, nil, "hello"},
		"an operator":       {server.Credentials{UID: other, Groups: []int{1, 20}}, nil, "hello"},
		"a reader":          {server.Credentials{UID: other, Groups: []int{1, 10}}, nil, "hello"},
		"another":           {server.Credentials{UID: other, Groups: []int{1}}, nil, ""},
		"nobody knows whom": {server.Credentials{}, errors.ErrUnsupported, ""},
	} {
		gate := gate{own: os.Geteuid(), readers: 10, operators: 20}
		socket := filepath.Join(t.TempDir(), "s")
		bare, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		listener := knownListener{bare, slog.New(slog.DiscardHandler), func(net.Conn) (int, server.Role, error) { return c.is.UID, gate.role(c.is), c.err }}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.WriteString(conn, "hello")
				_ = conn.Close()
			}
		}()
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(conn)
		if string(got) != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		_ = conn.Close()
		_ = bare.Close()
		<-done
	}
}

// A program that others can change is not run.
func TestProgramThatOthersCanChange(t *testing.T) {
	program := filepath.Join(t.TempDir(), "reload")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := trustProgram([]string{program}); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, trustProgram([]string{program}), "is not run")
}

// A program beside the estate's documents: whoever writes to the repository ran commands on the machine.
func TestProgramThatAPullCanChange(t *testing.T) {
	tree := t.TempDir()
	program := filepath.Join(tree, "reload")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", tree}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	if err := trustProgram([]string{program}); err != nil {
		t.Errorf("a program that Git does not track: %v", err)
	}
	git("add", "reload")
	wantRefused(t, trustProgram([]string{program}), "is tracked by Git in "+tree)
}
