// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/thorough"
)

// clientPlan tells a client process what to do, and at which PostgreSQL server.
type clientPlan struct {
	client.Plan
	Host string
	Port int
}

func readCredential(file string) (credential, error) {
	fields, err := client.Read(file)
	return credential{fields["username"], fields["password"], fields["version"]}, err
}

// playClient is the client process.
func playClient(planFile string) int {
	var plan clientPlan
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &plan) != nil {
		return 2
	}
	err = plan.Play(func(fields map[string]string) error {
		return signIn(plan.Host, plan.Port, credential{Username: fields["username"], Password: fields["password"]})
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// signIn opens a connection with c and closes it. A refusal of c is signin.ErrRefused.
func signIn(host string, port int, c credential) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a hundred times what it takes
	defer cancel()
	return signin.PostgreSQL(ctx, host, port, c.Username, c.Password)
}

// running is a client process that runs.
type running struct {
	plan    clientPlan
	command *exec.Cmd
}

func startClient(t *testing.T, plan clientPlan) *running {
	t.Helper()
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(plan.Folder, "plan.json")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, "play-client", file)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c := &running{plan, command}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	eventually(t, "the client process to run", func() bool {
		_, err := os.Stat(filepath.Join(plan.Folder, "pid"))
		return err == nil
	})
	return c
}

// stop ends the client process and returns what it saw.
func (c *running) stop(t *testing.T) client.Seen {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.command.Wait(); err != nil {
		t.Fatalf("client process: %v", err)
	}
	seen, err := client.Look(c.plan.Folder)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// current reads the credential that the polling file holds.
func (r *rig) current() credential {
	r.t.Helper()
	c, err := readCredential(filepath.Join(r.dir, "app", "polled.json"))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) refused(c credential) bool {
	return errors.Is(signIn(r.database.Host, r.database.Port, c), signin.ErrRefused)
}

func (r *rig) startClient(ignoresReload bool) *running {
	// Each sign-in costs a small machine some 30 ms of processor time.
	workers, every := thorough.Of(4, 4, 8), thorough.Of(200*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond)
	return startClient(r.t, clientPlan{Host: r.database.Host, Port: r.database.Port, Plan: client.Plan{
		Folder: filepath.Join(r.dir, "client"), Workers: workers, Every: every,
		Polled: filepath.Join(r.dir, "app", "polled.json"), Held: filepath.Join(r.dir, "app", "held.json"), IgnoresReload: ignoresReload,
	}})
}
