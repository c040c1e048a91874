// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
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
)

// plan tells a client process what to do. Half of its workers read the file before each sign-in; the others hold what
// they read until the process is reloaded by SIGHUP.
type plan struct {
	Target       target
	Workers      int
	Every        time.Duration // between two sign-ins of a worker
	Polled, Held string        // JSON files
	Folder       string        // of running, pid and counts
}

// counts is what a client process has seen.
type counts struct {
	SignIns int64  `json:"signIns"`
	Refused int64  `json:"refused"`         // or without an answer
	First   string `json:"first,omitempty"` // the first refusal, without the credential
}

// fields are what is delivered, by name; version among them.
type fields map[string]string

func readFields(file string) (fields, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := fields{}
	return f, json.Unmarshal(data, &f)
}

// saveEvery is how often a client process writes its counts down.
const saveEvery = 100 * time.Millisecond

// playClient is a client process.
func playClient(planFile string) int {
	var p plan
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &p) != nil {
		return 2
	}
	var held atomic.Pointer[fields]
	load := func() error {
		f, err := readFields(p.Held)
		if err != nil {
			return err
		}
		held.Store(&f)
		return replaceFile(filepath.Join(p.Folder, "running"), f["version"]+"\n")
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
	for i := range p.Workers {
		working.Go(func() {
			ticker := time.NewTicker(p.Every)
			defer ticker.Stop()
			for {
				select {
				case <-ended:
					return
				case <-ticker.C:
				}
				f, polls := *held.Load(), i%2 == 0
				var err error
				if polls {
					f, err = readFields(p.Polled)
				}
				if err == nil {
					err = p.Target.signIn(f)
				}
				mu.Lock()
				seen.SignIns++
				if err != nil {
					seen.Refused++
					if seen.First == "" {
						seen.First = fmt.Sprintf("worker %d by version %s: %v", i, f["version"], err)
					}
				}
				mu.Unlock()
			}
		})
	}
	saving := time.NewTicker(saveEvery)
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

// signingIn is a running client process.
type signingIn struct {
	plan    plan
	command *exec.Cmd
	ended   <-chan struct{}
}

func startClient(self string, p plan) (*signingIn, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.Folder, "plan")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		return nil, err
	}
	c := &signingIn{plan: p, command: exec.Command(self, "play-client", file)}
	if c.ended, err = launch(c.command, nil); err != nil {
		return nil, fmt.Errorf("starting the clients: %w", err)
	}
	return c, nil
}

// counts reads what the process has seen so far.
func (c *signingIn) counts() (seen counts, err error) {
	data, err := os.ReadFile(filepath.Join(c.plan.Folder, "counts"))
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(data, &seen)
}

// signIns is how many there were so far.
func (c *signingIn) signIns() int64 {
	if c == nil {
		return 0
	}
	seen, err := c.counts()
	if err != nil {
		return 0 // it has just begun
	}
	return seen.SignIns
}

func (c *signingIn) kill() error { return signalled(c.command.Process, c.ended, syscall.SIGKILL) }
func (c *signingIn) stop() error { return signalled(c.command.Process, c.ended, syscall.SIGTERM) }
