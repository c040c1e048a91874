// SPDX-License-Identifier: Apache-2.0

// Package client simulates an application: several workers of one process that keep signing in with what is delivered
// to them.
//
// Guaranteed: the file "running" names a version only when every worker that has a version has that one; every sign-in
// is counted; nothing that it writes contains a credential, provided that the errors of signing in contain none. Not
// guaranteed: how often workers sign in, because each waits for its own answer.
package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"custody.dev/custody/internal/realparts/signin"
)

// Plan tells a process what to do. Half of its workers read the file before each sign-in; the others hold what they read
// until the process is reloaded by SIGHUP.
type Plan struct {
	Workers       int
	Every         time.Duration // between two sign-ins of a worker, at least
	Polled, Held  string        // JSON files
	Folder        string        // of pid, running and seen
	IgnoresReload bool
}

// Seen is what a process has seen so far.
type Seen struct {
	SignIns int64
	Refused int64
	// Unanswered sign-ins were neither accepted nor refused.
	Unanswered int64
	// First is the first that was not accepted, without the credential.
	First   string
	Longest time.Duration
}

// Failed is how many sign-ins were not accepted.
func (s Seen) Failed() int64 { return s.Refused + s.Unanswered }

// restFactor is how many times as long as its sign-in took a worker rests at least: a machine that has become slow is not
// kept so by its clients.
const restFactor = 4

// saveEvery is how often a process writes down what it has seen.
const saveEvery = 100 * time.Millisecond

// Read reads a delivered JSON file: fields by name, the version among them.
func Read(file string) (map[string]string, error) {
	fields := map[string]string{}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return fields, json.Unmarshal(data, &fields)
}

// Replace writes a file whole: who reads it meanwhile reads what was there before.
func Replace(file, content string) error {
	if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Check answers, in its first line, the version that a process runs on, and reports whether it is the one wanted. It
// fails where the process has not begun.
func Check(folder, wanted string) (answer string, runs bool, err error) {
	running, err := os.ReadFile(filepath.Join(folder, "running"))
	return string(running), strings.TrimSpace(string(running)) == wanted, err
}

// PlayCheck is the main of a check that Custody starts: it says the version, and ends with 0 when it is that which Custody
// asks for.
func PlayCheck(folder string) int {
	answer, runs, err := Check(folder, os.Getenv("CUSTODY_VERSION"))
	if err != nil {
		return 2
	}
	fmt.Print(answer)
	if !runs {
		return 1
	}
	return 0
}

// process is one that plays.
type process struct {
	Plan
	signIn func(fields map[string]string) error
	held   atomic.Pointer[map[string]string]
	ended  chan struct{}

	mu   sync.Mutex
	seen Seen
}

// Play signs in until SIGTERM. Once the file pid is there, signals are heard. Of signIn's errors, signin.ErrRefused is a
// refusal.
func (p Plan) Play(signIn func(fields map[string]string) error) error {
	playing := &process{Plan: p, signIn: signIn, ended: make(chan struct{})}
	if err := playing.load(); err != nil {
		return err
	}
	reload, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(stop, syscall.SIGTERM)
	defer signal.Stop(reload)
	defer signal.Stop(stop)
	if err := Replace(filepath.Join(p.Folder, "pid"), fmt.Sprintln(os.Getpid())); err != nil {
		return err
	}
	var workers sync.WaitGroup
	for i := range p.Workers {
		workers.Go(func() { playing.work(i) })
	}
	saving := time.NewTicker(saveEvery)
	defer saving.Stop()
	for running := true; running; {
		select {
		case <-saving.C:
			_ = playing.save() // the next one comes soon
		case <-reload:
			if p.IgnoresReload {
				continue
			}
			if err := playing.load(); err != nil {
				fmt.Fprintln(os.Stderr, "reloading:", err) // what is held stays, and running tells so
			}
		case <-stop:
			running = false
		}
	}
	close(playing.ended)
	workers.Wait()
	return playing.save()
}

func (p *process) load() error {
	fields, err := Read(p.Held)
	if err != nil {
		return err
	}
	p.held.Store(&fields)
	return Replace(filepath.Join(p.Folder, "running"), fields["version"]+"\n")
}

func (p *process) save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	encoded, err := json.Marshal(p.seen)
	if err != nil {
		return err
	}
	return Replace(filepath.Join(p.Folder, "seen"), string(encoded))
}

func (p *process) work(worker int) {
	rest := p.Every
	for {
		select {
		case <-p.ended:
			return
		case <-time.After(rest):
		}
		fields, holds := *p.held.Load(), worker%2 == 1
		var err error
		if !holds {
			fields, err = Read(p.Polled)
		}
		began := time.Now()
		if err == nil {
			err = p.signIn(fields)
		}
		took := time.Since(began)
		rest = max(p.Every, restFactor*took)
		p.mu.Lock()
		p.seen.SignIns++
		p.seen.Longest = max(p.seen.Longest, took)
		switch {
		case errors.Is(err, signin.ErrRefused):
			p.seen.Refused++
		case err != nil:
			p.seen.Unanswered++
		}
		if err != nil && p.seen.First == "" {
			p.seen.First = fmt.Sprintf("worker %d (holds: %v) as %q, version %s: %v", worker, holds, fields["username"], fields["version"], err)
		}
		p.mu.Unlock()
	}
}

// Look reads what the process that plays in a folder has seen so far.
func Look(folder string) (seen Seen, err error) {
	data, err := os.ReadFile(filepath.Join(folder, "seen"))
	if err != nil {
		return seen, err
	}
	return seen, json.Unmarshal(data, &seen)
}
