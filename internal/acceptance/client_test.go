// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// clientPlan tells a client process what to do. Half of its workers read the file before each sign-in; the others hold
// what they read until the process is reloaded by SIGHUP.
type clientPlan struct {
	Host          string
	Port          int
	Polled, Held  string // JSON files with username, password and version
	Folder        string // of running, pid and stats
	Workers       int
	Every         time.Duration
	IgnoresReload bool
}

// clientStats is what a client process has seen.
type clientStats struct {
	SignIns int64
	Refused int64
	First   string // the first refusal, without the credential
	Longest time.Duration
}

type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Version  string `json:"version"`
}

func readCredential(file string) (credential, error) {
	var c credential
	data, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(data, &c)
}

// playClient is the client process.
func playClient(planFile string) int {
	var plan clientPlan
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &plan) != nil {
		return 2
	}
	var held atomic.Pointer[credential]
	load := func() error {
		c, err := readCredential(plan.Held)
		if err != nil {
			return err
		}
		held.Store(&c)
		return replaceFile(filepath.Join(plan.Folder, "running"), c.Version+"\n")
	}
	if err := load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	reload, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(stop, syscall.SIGTERM)
	if err := replaceFile(filepath.Join(plan.Folder, "pid"), fmt.Sprintln(os.Getpid())); err != nil {
		return 2
	}
	var mu sync.Mutex
	var stats clientStats
	ended := make(chan struct{})
	var workers sync.WaitGroup
	for i := range plan.Workers {
		workers.Go(func() {
			ticker := time.NewTicker(plan.Every)
			defer ticker.Stop()
			for {
				select {
				case <-ended:
					return
				case <-ticker.C:
				}
				c := *held.Load()
				if i%2 == 0 {
					if c, err = readCredential(plan.Polled); err != nil {
						continue
					}
				}
				began := time.Now()
				err := signIn(plan.Host, plan.Port, c)
				mu.Lock()
				stats.SignIns++
				stats.Longest = max(stats.Longest, time.Since(began))
				if refused(err) {
					stats.Refused++
					if stats.First == "" {
						stats.First = fmt.Sprintf("worker %d (holds: %v) as %s, version %s", i, i%2 == 1, c.Username, c.Version)
					}
				}
				mu.Unlock()
			}
		})
	}
	for running := true; running; {
		select {
		case <-reload:
			if !plan.IgnoresReload {
				if err := load(); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		case <-stop:
			running = false
		}
	}
	close(ended)
	workers.Wait()
	encoded, err := json.Marshal(stats)
	if err != nil || replaceFile(filepath.Join(plan.Folder, "stats"), string(encoded)) != nil {
		return 2
	}
	return 0
}

// playCheck exits 0 when the client process runs on the version that Custody asks for, and says which it is.
func playCheck(folder string) int {
	running, err := os.ReadFile(filepath.Join(folder, "running"))
	if err != nil {
		return 2
	}
	fmt.Print(string(running))
	if strings.TrimSpace(string(running)) != os.Getenv("CUSTODY_VERSION") {
		return 1
	}
	return 0
}

func replaceFile(file, content string) error {
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// signIn opens a connection with c and closes it.
func signIn(host string, port int, c credential) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=postgres sslmode=disable", host, port))
	if err != nil {
		return err
	}
	config.User, config.Password = c.Username, c.Password
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// refused tells a refused credential from a server that is away.
func refused(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "28P01" || answer.Code == "28000")
}

// client is a running client process.
type client struct {
	plan    clientPlan
	command *exec.Cmd
}

func startClient(t *testing.T, plan clientPlan) *client {
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
	c := &client{plan, command}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	eventually(t, 10*time.Second, "the client process to run", func() bool {
		_, err := os.Stat(filepath.Join(plan.Folder, "pid"))
		return err == nil
	})
	return c
}

// stop ends the client process and returns what it saw.
func (c *client) stop(t *testing.T) clientStats {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.command.Wait(); err != nil {
		t.Fatalf("client process: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(c.plan.Folder, "stats"))
	if err != nil {
		t.Fatal(err)
	}
	var stats clientStats
	if err := json.Unmarshal(data, &stats); err != nil {
		t.Fatal(err)
	}
	return stats
}

func eventually(t *testing.T, within time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
