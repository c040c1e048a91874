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

	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/upstream"
)

// clientsPlan tells the client process of one kind what to do. Workers that hold keep what they read until SIGHUP; the
// others read the file before each sign-in.
type clientsPlan struct {
	Kind, At string
	Folder   string // of pid, stats, and running.SECRET
	Accounts []clientFiles
	Every    time.Duration
	// Settle is how long a credential may be held before it is used, see late.
	Settle time.Duration
}

// clientFiles are the files of one account and how many workers read each.
type clientFiles struct {
	Secret         string
	Polled, Held   string
	Polling, Holds int
}

// seen is what the client process of a kind has seen.
type seen struct {
	SignIns, Refused int64
	// Late sign-ins were refused because the client was too slow, see late.
	Late int64
	// Unknown answers are neither.
	Unknown      int64
	First        event // refusal that was not late
	FirstUnknown string
	Longest      time.Duration
	// Gaps are each worker's times without a sign-in: from sending the first that was refused to the answer to the next
	// that was accepted. Open ones had not ended long after the process was told to stop.
	Gaps, Open []gap
}

// event is something that a worker saw.
type event struct {
	Secret string
	At     time.Time
	Text   string // without the credential
}

// gap is a worker's time without a sign-in; those that hold wait for a reload.
type gap struct {
	Secret       string
	Holds        bool
	Began, Ended time.Time
}

// delivery is a version as it lies in a file, or as a process holds it.
type delivery struct {
	fields map[string]string
	since  time.Time
}

const (
	// afterRefusal is how soon a refused worker tries again at first, and a tenth of its gap later on.
	afterRefusal = 10 * time.Millisecond
	// restFactor is how many times as long as its sign-in took a worker rests at least: a machine that has become slow is
	// not kept so by its clients.
	restFactor = 4
	// SignInLimit ends a sign-in that hangs: the slowest server here takes three seconds to answer a wrong one.
	SignInLimit = time.Minute
	// openLimit is how long a worker that is refused when the process is told to stop goes on. By then every run has ended,
	// so that one sign-in is enough, and there is time for several that hang.
	openLimit = 2 * time.Minute
)

// readDelivery reads a delivered JSON file. It lies there since its inode last changed, by the rename that put it there.
func readDelivery(name string) (delivery, error) {
	file, err := os.Open(name)
	if err != nil {
		return delivery{}, err
	}
	defer func() { _ = file.Close() }()
	var status syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &status); err != nil {
		return delivery{}, err
	}
	made := delivery{fields: map[string]string{}, since: time.Unix(status.Ctim.Unix())}
	return made, json.NewDecoder(file).Decode(&made.fields)
}

// readFields reads a delivered JSON file.
func readFields(file string) (map[string]string, error) {
	made, err := readDelivery(file)
	return made.fields, err
}

// late tells a client that was too slow from a credential that was refused too early: the version that it used had been
// replaced for longer than the settle time when the answer came. Now is what it would use now. Where that is a further
// version, the one between was there for the settle time before now came.
func late(used string, now delivery, answered time.Time, settle time.Duration) bool {
	switch behind := number(now.fields["version"]) - number(used); {
	case behind <= 0:
		return false
	case behind == 1:
		return answered.Sub(now.since) > settle
	}
	return answered.After(now.since)
}

// process is the client process of a kind.
type process struct {
	clientsPlan
	kind    Kind
	held    []atomic.Pointer[delivery] // by account
	ended   chan struct{}
	stopped time.Time // before ended is closed

	mu    sync.Mutex
	stats seen
}

// playClients is the main of a client process.
func playClients(kinds []Kind, planFile string) int {
	p := &process{ended: make(chan struct{})}
	data, err := os.ReadFile(planFile)
	if err != nil || json.Unmarshal(data, &p.clientsPlan) != nil {
		return 2
	}
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == p.Kind })
	if i < 0 {
		return 2
	}
	p.kind, p.held = kinds[i], make([]atomic.Pointer[delivery], len(p.Accounts))
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
	if client.Replace(filepath.Join(p.Folder, "pid"), fmt.Sprintln(os.Getpid())) != nil {
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
	p.stopped = time.Now()
	close(p.ended)
	workers.Wait()
	encoded, err := json.Marshal(p.stats)
	if err != nil || client.Replace(filepath.Join(p.Folder, "stats"), string(encoded)) != nil {
		return 2
	}
	return 0
}

// load reads what the holding workers hold, and notes which version of each secret the process runs on.
func (p *process) load() error {
	for i, account := range p.Accounts {
		file := account.Held
		if account.Holds == 0 {
			file = account.Polled
		}
		fields, err := readFields(file)
		if err != nil {
			return err
		}
		if before := p.held[i].Load(); before == nil || before.fields["version"] != fields["version"] {
			p.held[i].Store(&delivery{fields, time.Now()})
		}
		if err := client.Replace(filepath.Join(p.Folder, "running."+account.Secret), fields["version"]+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// work signs in to one account until the end, and after it until it is let in.
func (p *process) work(account, n int, holds bool) {
	files := p.Accounts[account]
	next := time.NewTimer(p.Every * time.Duration(n) / time.Duration(files.Polling+files.Holds)) // not all at once
	defer next.Stop()
	read := func() (delivery, error) {
		if holds {
			return *p.held[account].Load(), nil
		}
		return readDelivery(files.Polled)
	}
	var without *gap
	for {
		select {
		case <-p.ended:
			if without == nil {
				return
			}
			if time.Since(p.stopped) > openLimit {
				p.note(func(s *seen) { s.Open = append(s.Open, *without) })
				return
			}
			<-next.C
		case <-next.C:
		}
		used, err := read()
		// Some take their time between reading and signing in, which is what the settle time is for.
		if n%2 == 1 && !holds && without == nil {
			time.Sleep(p.Settle / 2)
		}
		began, after := time.Now(), p.Every
		verdict := upstream.Unknown
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), SignInLimit)
			verdict, err = p.kind.SignIn(ctx, p.At, used.fields)
			cancel()
		}
		answered := time.Now()
		after = max(after, restFactor*answered.Sub(began))
		var slow bool
		if verdict == upstream.Refused {
			var now delivery
			if now, err = read(); err == nil {
				slow = late(used.fields["version"], now, answered, p.Settle)
			}
		}
		p.note(func(s *seen) {
			s.SignIns++
			s.Longest = max(s.Longest, answered.Sub(began))
			switch verdict {
			case upstream.Accepted:
				if without != nil {
					without.Ended = answered
					s.Gaps = append(s.Gaps, *without)
				}
				without = nil
			case upstream.Refused:
				if without == nil {
					without = &gap{Secret: files.Secret, Holds: holds, Began: began}
				}
				after = min(max(afterRefusal, answered.Sub(without.Began)/10), after)
				if slow {
					s.Late++
					break
				}
				if s.Refused++; s.Refused == 1 {
					s.First = event{files.Secret, answered, fmt.Sprintf("worker %d of account %d (holds: %v) as %q, version %s, answered after %s",
						n, account+1, holds, used.fields["username"], used.fields["version"], answered.Sub(began).Round(time.Millisecond))}
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

func (p *process) note(change func(*seen)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}

// clients is a running client process of a kind.
type clients struct {
	folder  string
	command *exec.Cmd
	stopped bool
}

// crew is what a kind's client process does in a part of a test: so many workers sign in to each of the accounts, half of
// which hold what they read until they are reloaded. The other accounts' files are followed, as the check wants.
type crew struct {
	accounts []string
	workers  int
	pace     time.Duration
}

// startClient starts the client process, which waits for the first delivery.
func (l *live) startClient(of crew) {
	s := l.stage
	s.t.Helper()
	folder := s.file("clients/" + l.Name)
	l.shell(folder)
	settle, err := time.ParseDuration(s.plan.settle)
	if err != nil {
		s.t.Fatal(err)
	}
	p := clientsPlan{Kind: l.Name, At: l.At, Folder: folder, Every: max(l.Pace, of.pace), Settle: settle}
	for _, name := range l.secrets {
		files := clientFiles{Secret: name, Polled: s.file("app/" + name + ".polled.json"), Held: s.file("app/" + name + ".held.json")}
		if slices.Contains(of.accounts, name) {
			files.Holds = of.workers / 2
			files.Polling = of.workers - files.Holds
		}
		p.Accounts = append(p.Accounts, files)
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("clients/"+l.Name+"/plan.json", string(encoded))
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &clients{folder: folder, command: exec.Command(self, "play-clients", filepath.Join(folder, "plan.json"))}
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
func (c *clients) stop(t *testing.T) seen {
	t.Helper()
	var stats seen
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
