// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"
)

// kindPlan tells the client process of one kind what to do. Workers that hold keep what they read until SIGHUP; the
// others read the file before each sign-in.
type kindPlan struct {
	Kind, At string
	Folder   string // of pid, stats, and running.SECRET
	Accounts []kindFiles
	Every    time.Duration
	// Settle is how long a credential may be held before it is used, see late.
	Settle time.Duration
}

// kindFiles are the files of one account and how many workers read each.
type kindFiles struct {
	Secret         string
	Polled, Held   string
	Polling, Holds int
}

// kindStats is what the client process of a kind has seen.
type kindStats struct {
	SignIns, Refused int64
	// Late sign-ins were refused longer than the settle time after the credential was read: the client was too slow.
	Late int64
	// Unknown answers are neither.
	Unknown             int64
	First, FirstUnknown string // without the credential
	Longest             time.Duration
	// Gaps is for each worker's time without a sign-in: from sending the first that was refused to the answer to the next
	// that was accepted. HeldGaps is the same for those that wait for a reload.
	Gaps, HeldGaps []time.Duration
	// Open gaps had not ended when the process stopped.
	Open int
}

const (
	// afterRefusal is how soon a refused worker tries again.
	afterRefusal = 10 * time.Millisecond
	signInLimit  = 15 * time.Second
)

// readFields reads a delivered JSON file.
func readFields(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	return fields, json.Unmarshal(data, &fields)
}

// kindProcess is the client process of a kind.
type kindProcess struct {
	kindPlan
	kind  kind
	held  []atomic.Pointer[map[string]string] // by account
	ended chan struct{}

	mu    sync.Mutex
	stats kindStats
}

// playKind is the main of a client process.
func playKind(planFile string) int {
	p := &kindProcess{ended: make(chan struct{})}
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &p.kindPlan) != nil {
		return 2
	}
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == p.Kind })
	if i < 0 {
		return 2
	}
	p.kind, p.held = all[i], make([]atomic.Pointer[map[string]string], len(p.Accounts))
	reload, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	signal.Notify(stop, syscall.SIGTERM)
	for p.load() != nil { // nothing was delivered yet
		select {
		case <-stop:
			return 0
		case <-time.After(20 * time.Millisecond):
		}
	}
	if replaceFile(filepath.Join(p.Folder, "pid"), fmt.Sprintln(os.Getpid())) != nil {
		return 2
	}
	var workers sync.WaitGroup
	for i, account := range p.Accounts {
		for n := range account.Polling + account.Holds {
			workers.Go(func() { p.work(i, n, n < account.Holds) })
		}
	}
	for running := true; running; {
		select {
		case <-reload:
			if err := p.load(); err != nil {
				fmt.Fprintln(os.Stderr, p.Kind, "reloading:", err)
			}
		case <-stop:
			running = false
		}
	}
	close(p.ended)
	workers.Wait()
	encoded, err := json.Marshal(p.stats)
	if err != nil || replaceFile(filepath.Join(p.Folder, "stats"), string(encoded)) != nil {
		return 2
	}
	return 0
}

// load reads what the holding workers hold, and notes which version of each secret the process runs on.
func (p *kindProcess) load() error {
	for i, account := range p.Accounts {
		file := account.Held
		if account.Holds == 0 {
			file = account.Polled
		}
		fields, err := readFields(file)
		if err != nil {
			return err
		}
		p.held[i].Store(&fields)
		if err := replaceFile(filepath.Join(p.Folder, "running."+account.Secret), fields["version"]+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// work signs in to one account until the end.
func (p *kindProcess) work(account, n int, holds bool) {
	workers := p.Accounts[account].Polling + p.Accounts[account].Holds
	next := time.NewTimer(p.Every * time.Duration(n) / time.Duration(workers)) // not all at once
	defer next.Stop()
	var gap time.Time
	for {
		select {
		case <-p.ended:
			p.mu.Lock()
			defer p.mu.Unlock()
			if !gap.IsZero() {
				p.stats.Open++
			}
			return
		case <-next.C:
		}
		began := time.Now()
		fields := *p.held[account].Load()
		if !holds {
			var err error
			if fields, err = readFields(p.Accounts[account].Polled); err != nil {
				p.note(func(s *kindStats) { s.Unknown++; s.FirstUnknown = err.Error() })
				next.Reset(p.Every)
				continue
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), signInLimit)
		verdict, err := p.kind.signIn(ctx, p.At, fields)
		cancel()
		after := p.Every
		took := time.Since(began)
		p.note(func(s *kindStats) {
			s.SignIns++
			s.Longest = max(s.Longest, took)
			switch verdict {
			case upstream.Accepted:
				if !gap.IsZero() && holds {
					s.HeldGaps = append(s.HeldGaps, time.Since(gap))
				} else if !gap.IsZero() {
					s.Gaps = append(s.Gaps, time.Since(gap))
				}
				gap = time.Time{}
			case upstream.Refused:
				after = min(afterRefusal, p.Every)
				if gap.IsZero() {
					gap = began
				}
				if took > p.Settle {
					s.Late++
					break
				}
				if s.Refused++; s.First == "" {
					s.First = fmt.Sprintf("%s worker %d of account %d (holds: %v) as %q, version %s",
						time.Now().UTC().Format(time.RFC3339Nano), n, account+1, holds, fields["username"], fields["version"])
				}
			default:
				if s.Unknown++; s.FirstUnknown == "" {
					s.FirstUnknown = fmt.Sprint(err)
				}
			}
		})
		next.Reset(after)
	}
}

func (p *kindProcess) note(change func(*kindStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// kindClient is a running client process of a kind.
type kindClient struct {
	folder  string
	command *exec.Cmd
	stopped bool
}

// startClient starts the client process, which waits for the first delivery.
func (l *live) startClient() {
	s := l.stage
	s.t.Helper()
	folder := s.file("clients/" + l.name)
	l.shell(folder)
	settle, err := time.ParseDuration(s.plan.settle)
	if err != nil {
		s.t.Fatal(err)
	}
	p := kindPlan{Kind: l.name, At: l.at, Folder: folder, Every: l.pace, Settle: settle}
	for _, name := range l.secrets {
		files := kindFiles{Secret: name, Polled: s.file("app/" + name + ".polled.json"), Held: s.file("app/" + name + ".held.json"), Polling: s.workers}
		if s.holds {
			files.Holds = s.workers / 2
			files.Polling -= files.Holds
		}
		p.Accounts = append(p.Accounts, files)
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("clients/"+l.name+"/plan.json", string(encoded))
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &kindClient{folder: folder, command: exec.Command(self, "play-kind", filepath.Join(folder, "plan.json"))}
	c.command.Stderr = os.Stderr
	c.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if !c.stopped {
			_ = c.command.Process.Kill()
			_ = c.command.Wait()
		}
	})
	l.client = c
}

// stop ends the client process and returns what it saw.
func (c *kindClient) stop(t *testing.T) kindStats {
	t.Helper()
	var stats kindStats
	c.stopped = true
	_ = c.command.Process.Signal(syscall.SIGTERM)
	if err := c.command.Wait(); err != nil {
		t.Fatalf("client process: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(c.folder, "stats"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &stats); err != nil {
		t.Fatal(err)
	}
	return stats
}
