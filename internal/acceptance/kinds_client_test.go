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
	restFactor  = 4
	signInLimit = time.Minute
	// openLimit is how long a worker that is refused when the process is told to stop goes on.
	openLimit = 30 * time.Second
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

// TestLateIsTheClientsFault: only a refusal of what had long been replaced is the client's own.
func TestLateIsTheClientsFault(t *testing.T) {
	answered := time.Now()
	ago := func(version string, age time.Duration) delivery {
		return delivery{fields: map[string]string{"version": version}, since: answered.Add(-age)}
	}
	for _, c := range []struct {
		name string
		now  delivery
		want bool
	}{
		{"in force", ago("3.a", time.Hour), false},
		{"replaced long ago", ago("4.b", 301*time.Millisecond), true},
		{"replaced just now", ago("4.b", 299*time.Millisecond), false},
		{"replaced after the answer", ago("4.b", -time.Millisecond), false},
		{"replaced twice", ago("5.c", time.Millisecond), true},
		{"replaced twice after the answer", ago("5.c", -time.Millisecond), false},
	} {
		if got := late("3.a", c.now, answered, 300*time.Millisecond); got != c.want {
			t.Errorf("%s: late %v, want %v", c.name, got, c.want)
		}
	}
}

// kindProcess is the client process of a kind.
type kindProcess struct {
	kindPlan
	kind    kind
	held    []atomic.Pointer[delivery] // by account
	ended   chan struct{}
	stopped time.Time // before ended is closed

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
	p.kind, p.held = all[i], make([]atomic.Pointer[delivery], len(p.Accounts))
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
func (p *kindProcess) work(account, n int, holds bool) {
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
				p.note(func(s *kindStats) { s.Open = append(s.Open, *without) })
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
			ctx, cancel := context.WithTimeout(context.Background(), signInLimit)
			verdict, err = p.kind.signIn(ctx, p.At, used.fields)
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
		p.note(func(s *kindStats) {
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
	p := kindPlan{Kind: l.name, At: l.at, Folder: folder, Every: max(l.pace, s.pace), Settle: settle}
	for _, name := range l.secrets {
		files := kindFiles{Secret: name, Polled: s.file("app/" + name + ".polled.json"), Held: s.file("app/" + name + ".held.json"), Polling: s.workers(l.kind)}
		if s.holds {
			files.Holds = files.Polling / 2
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
