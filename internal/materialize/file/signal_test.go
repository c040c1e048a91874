// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNewSignalRefuses(t *testing.T) {
	for name, config := range map[string]SignalConfig{
		"Unknown":  {Signal: "KILL", PIDFile: "/run/app.pid", Clock: time.Now},
		"Empty":    {PIDFile: "/run/app.pid", Clock: time.Now},
		"Relative": {Signal: "HUP", PIDFile: "app.pid", Clock: time.Now},
		"NoClock":  {Signal: "HUP", PIDFile: "/run/app.pid"},
		"Program":  {Signal: "HUP", PIDFile: "/run/app.pid", Program: "app", Clock: time.Now},
	} {
		if _, err := NewSignal(config); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// service starts a process that counts its signals in a file, and returns its number.
func service(t *testing.T, dir string) int {
	t.Helper()
	// A signal that this process ignores, as under nohup, a shell that it starts cannot trap.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, unix.SIGHUP, unix.SIGUSR1)
	t.Cleanup(func() { signal.Stop(handled) })
	cmd := exec.Command("/bin/sh", "-c",
		`trap 'echo HUP >> got' HUP; trap 'echo USR1 >> got' USR1; echo ready >> got; while :; do sleep 0.05; done`)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "the service is ready", func() bool { return received(dir) == "ready" })
	return cmd.Process.Pid
}

func received(dir string) string {
	data, _ := os.ReadFile(filepath.Join(dir, "got"))
	return strings.Join(strings.Fields(string(data)), " ")
}

func TestSignal(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	send := func(name string) error {
		s, err := NewSignal(SignalConfig{Signal: name, PIDFile: file, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return s.Reload(t.Context(), event)
	}
	if err := send("HUP"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v without a pid file, want fs.ErrNotExist", err)
	}
	pid := service(t, dir)
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ signal, got string }{{"HUP", "ready HUP"}, {"USR1", "ready HUP USR1"}} {
		if err := send(step.signal); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the service got "+step.got, func() bool { return received(dir) == step.got })
	}
	// The number of a process that began long after the pid file was written is somebody else's.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if err := send("HUP"); !errors.Is(err, ErrNoProcess) {
		t.Errorf("got %v for a reused number, want ErrNoProcess", err)
	}
	if got := received(dir); got != "ready HUP USR1" {
		t.Errorf("got signals %q, want no further", got)
	}
}

// A pid file that was written long after the process of its number began holds a number from elsewhere. Naming the program
// tells a process that writes its pid file again from that.
func TestSignalOlderProcess(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	pid := service(t, dir)
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, program, says, got string
	}{
		{"NotNamed", "", "program: " + shell, "ready"},
		{"AnotherProgram", "/bin/true", "runs " + shell, "ready"},
		{"Named", "/bin/sh", "", "ready HUP"},
	} {
		s, err := NewSignal(SignalConfig{Signal: "HUP", PIDFile: file, Program: test.program, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Reload(t.Context(), event)
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.says != "" && (!errors.Is(err, ErrNoProcess) || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: got %v, want ErrNoProcess and %q", test.name, err, test.says)
		}
		eventually(t, test.name+": the service got "+test.got, func() bool { return received(dir) == test.got })
	}
}

func TestSignalBadPIDFile(t *testing.T) {
	ended := exec.Command("/bin/true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	zombie := exec.Command("/bin/true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = zombie.Wait() })
	eventually(t, "the process has ended", func() bool {
		stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(zombie.Process.Pid), "stat"))
		return strings.Contains(string(stat), ") Z ")
	})
	for name, test := range map[string]struct {
		content string
		is      error
	}{
		"Empty":    {content: ""},
		"Garbage":  {content: "not a number"},
		"Zero":     {content: "0\n"},
		"Init":     {content: "1\n"},
		"Negative": {content: "-5\n"},
		"All":      {content: "-1\n"},
		"Two":      {content: "500 501\n"},
		"Huge":     {content: "99999999999999999999"},
		"Long":     {content: strings.Repeat(" ", 4096) + "500"},
		"Own":      {content: strconv.Itoa(os.Getpid())},
		"Ended":    {content: strconv.Itoa(ended.Process.Pid), is: ErrNoProcess},
		"Zombie":   {content: strconv.Itoa(zombie.Process.Pid), is: ErrNoProcess},
		"NotThere": {content: "4194305", is: ErrNoProcess}, // above the kernel's limit
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			if err := os.WriteFile(file, []byte(test.content), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := NewSignal(SignalConfig{Signal: "HUP", PIDFile: file, Clock: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Reload(t.Context(), event); err == nil || (test.is != nil && !errors.Is(err, test.is)) {
				t.Errorf("got %v, want an error (%v)", err, test.is)
			}
		})
	}
	t.Run("Pipe", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "pid")
		if err := unix.Mkfifo(file, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := NewSignal(SignalConfig{Signal: "HUP", PIDFile: file, Clock: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(t.Context(), event); !errors.Is(err, ErrInTheWay) {
			t.Errorf("got %v, want ErrInTheWay", err)
		}
	})
}
