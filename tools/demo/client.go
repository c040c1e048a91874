// SPDX-License-Identifier: Apache-2.0

package main

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
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	workers = 8
	every   = 100 * time.Millisecond
)

// plan tells the client process what to do. Half of its workers read the file before each sign-in; the others hold what
// they read until the process is reloaded by SIGHUP. Without a port there is no database: a worker then only looks
// whether what it has is whole.
type plan struct {
	Host         string
	Port         int
	Polled, Held string // JSON files
	Folder       string // of running, pid and counts
}

// counts is what the client process has seen.
type counts struct {
	SignIns int64  `json:"signIns"`
	Refused int64  `json:"refused"`
	First   string `json:"first,omitempty"` // the first refusal, without the credential
}

// credential is what is delivered; a token has a value, an account a username and a password.
type credential struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Value    string `json:"value"`
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
	var p plan
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return 2
	}
	var held atomic.Pointer[credential]
	load := func() error {
		c, err := readCredential(p.Held)
		if err != nil {
			return err
		}
		held.Store(&c)
		return replaceFile(filepath.Join(p.Folder, "running"), c.Version+"\n")
	}
	if load() != nil {
		return 2
	}
	reload, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(stop, syscall.SIGTERM)
	if replaceFile(filepath.Join(p.Folder, "pid"), fmt.Sprintln(os.Getpid())) != nil {
		return 2
	}
	var mu sync.Mutex
	var seen counts
	save := func() {
		mu.Lock()
		defer mu.Unlock()
		if encoded, err := json.Marshal(seen); err == nil {
			_ = replaceFile(filepath.Join(p.Folder, "counts"), string(encoded)) // the next one comes soon
		}
	}
	ended := make(chan struct{})
	var working sync.WaitGroup
	for i := range workers {
		working.Go(func() {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for {
				select {
				case <-ended:
					return
				case <-ticker.C:
				}
				c, polls := *held.Load(), i%2 == 0
				var err error
				if polls {
					c, err = readCredential(p.Polled)
				}
				if err == nil {
					err = p.use(c)
				}
				mu.Lock()
				seen.SignIns++
				if err != nil {
					seen.Refused++
					if seen.First == "" {
						seen.First = fmt.Sprintf("worker %d as %q, version %s: %v", i, c.Username, c.Version, err)
					}
				}
				mu.Unlock()
			}
		})
	}
	saving := time.NewTicker(every)
	defer saving.Stop()
	for running := true; running; {
		select {
		case <-saving.C:
			save()
		case <-reload:
			if load() != nil {
				return 2
			}
		case <-stop:
			running = false
		}
	}
	close(ended)
	working.Wait()
	save()
	return 0
}

// use signs in with c. Its errors hold no credential.
func (p plan) use(c credential) error {
	if p.Port == 0 {
		if len(c.Value) < 40 || c.Version == "" {
			return errors.New("the file is not whole")
		}
		return nil
	}
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=postgres sslmode=disable", p.Host, p.Port))
	if err != nil {
		return errors.New("preparing a connection failed")
	}
	config.User, config.Password = c.Username, c.Password
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("the server answers %s: %w", answer.Code, errNotIn)
	}
	if err != nil {
		return errors.New("the server does not answer")
	}
	return conn.Close(ctx)
}

// errNotIn: the server refused the credential itself.
var errNotIn = errors.New("refused")

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

// client is the running client process.
type client struct {
	plan    plan
	command *exec.Cmd
	ended   <-chan struct{}
}

func startClient(self string, p plan) (*client, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.Folder, "plan")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		return nil, err
	}
	c := &client{plan: p, command: exec.Command(self, "play-client", file)}
	if c.ended, err = launch(c.command, nil); err != nil {
		return nil, fmt.Errorf("starting the clients: %w", err)
	}
	return c, nil
}

// counts reads what the process has seen so far.
func (c *client) counts() (seen counts, err error) {
	data, err := os.ReadFile(filepath.Join(c.plan.Folder, "counts"))
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(data, &seen)
}

func (c *client) kill() error { return signalled(c.command.Process, c.ended, syscall.SIGKILL) }
func (c *client) stop() error { return signalled(c.command.Process, c.ended, syscall.SIGTERM) }
