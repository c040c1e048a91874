// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/server"
)

const (
	// reloadEvery is how often the estate's folder is looked at.
	reloadEvery = 5 * time.Second
	// reloadLimit is how long one look may take, and what it leads to.
	reloadLimit = 2 * time.Minute
	// stepGrace is how long a step in hand may take to finish after SIGTERM.
	stepGrace = 45 * time.Second
)

// ServeOptions say how to serve.
type ServeOptions struct {
	// Once takes everything as far as it will go now, and ends.
	Once bool
}

// Serve runs the platform of this host until SIGTERM or SIGINT, which let the step in hand finish.
func Serve(ctx context.Context, o Options, s ServeOptions) error {
	host, err := LoadHost(o.HostFile)
	if err != nil {
		return err
	}
	if err := trustState(host.State); err != nil {
		return err
	}
	p, err := open(ctx, o, host, true)
	if err != nil {
		return err
	}
	defer func() {
		if err := p.Close(); err != nil {
			p.log.Error("closing", "error", err)
		}
	}()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // which would end the process
	defer signal.Stop(hangup)
	if git := p.estates.git; git != nil && s.Once && git.failed == nil {
		git.fetch(ctx) // a server fetches beside its work
	}
	p.reload()
	for _, found := range p.machine() {
		p.log.Warn("this machine", "finding", found)
	}
	if why := p.platform.Ready(ctx); why != "" {
		p.log.Warn("not ready", "why", why)
	}
	stop, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if s.Once {
		err := p.once(ctx, stop)
		return cmp.Or(err, p.inForce(ctx))
	}
	return p.serve(ctx, stop, cancel, hangup)
}

// once takes everything as far as it will go now, or until it is told to stop, and logs what is left to wait for.
func (p *parts) once(ctx, stop context.Context) error {
	working, abandon := p.outliving(ctx, stop)
	defer abandon()
	context.AfterFunc(stop, p.platform.Nudge)
	err := p.platform.Settle(working, func() bool { return stop.Err() != nil })
	if err == nil && stop.Err() == nil {
		err = p.platform.ClearLeft(working, true)
	}
	if stop.Err() != nil {
		p.log.Info("stopping")
		if errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	if unnoted := p.platform.Orchestrator.Note(ctx); unnoted != nil {
		p.log.Warn("noting what runs wait for", "error", unnoted)
	}
	p.seeds.retire(ctx)
	states := p.platform.Orchestrator.States()
	for _, path := range slices.Sorted(maps.Keys(states)) {
		if state := states[path]; !state.Waiting.None() {
			p.log.Info("waiting", "secret", state.Secret, "code", state.Waiting.Code, "why", state.Waiting.Text())
		}
	}
	return err
}

// inForce says what a script must know after once: that nothing, or an older estate, was acted on.
func (p *parts) inForce(ctx context.Context) error {
	const hint = "run `custody lint` and fix the faults that it lists"
	var refused []string
	if p.estates.git != nil {
		for _, found := range p.estates.git.Findings() {
			refused = append(refused, found.Text())
		}
	}
	fault, older := p.platform.Fault(), p.platform.Older()
	switch why := p.platform.Ready(ctx); {
	case p.platform.Estate() == nil:
		return &server.Problem{Class: server.Refused, Text: "nothing was done: no estate is in force: " + fault, Hint: hint}
	case why != "":
		return &server.Problem{Class: server.Refused, Text: "nothing was done: " + why, Hint: "see what is missing: `custody status`"}
	case fault != "":
		return &server.Problem{Class: server.Found, Text: "the previous estate stays in force; the newest one is not: " + fault, Hint: hint}
	case len(refused) > 0:
		return &server.Problem{Class: server.Found, Text: "the commit in force is not the newest one: " + strings.Join(refused, "; "), Hint: "see where it stands: `custody status`"}
	case len(older) > 0:
		return &server.Problem{Class: server.Found, Text: "not all of the newest estate is in force: " + strings.Join(older, "; "), Hint: hint}
	}
	return nil
}

// watchEstate checks the estate every reloadEvery, at each hangup and after each fetch, until stop comes, and ends soon after it. A folder that hangs
// delays only these checks: the estate in force stays.
func (p *parts) watchEstate(stop context.Context, hangup <-chan os.Signal, manager *notifier) {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	var fetched chan struct{}
	if p.estates.git != nil {
		fetched = p.estates.git.news
	}
	said := ""
	for {
		told := func() {}
		select {
		case <-stop.Done():
			return
		case <-hangup:
			told = manager.reloading()
			p.reread()
			p.estates.forget()
			if p.estates.git != nil {
				wake(p.estates.git.woken)
			}
		case <-fetched:
		case <-ticker.C:
		}
		_, err := outward.Do(stop, p.calls, outward.Call{Part: "the estate", Limit: reloadLimit}, func(context.Context) (struct{}, error) {
			p.reload()
			return struct{}{}, nil
		})
		if err == nil {
			said = ""
		} else if said == "" && stop.Err() == nil {
			said = err.Error()
			p.log.Error("looking at the estate", "folder", p.host.Estate, "error", err)
		}
		told()
	}
}

func (p *parts) reload() {
	before, said := p.platform.Fault(), p.platform.Older()
	switch changed, fault := p.platform.Reload(), p.platform.Fault(); {
	case changed:
		p.platform.Nudge()
		p.log.Info("estate in force", "digest", p.platform.Estate().Digest[:12], "secrets", len(p.platform.Estate().Secrets))
	case fault != "" && fault != before:
		p.log.Error("estate not in force", "reason", fault)
	}
	for _, older := range p.platform.Older() {
		if !slices.Contains(said, older) {
			p.log.Error("not all of the estate in force", "reason", older)
		}
	}
	p.seeds.retire(context.Background())
	if err := p.platform.ClearLeft(context.Background(), false); err != nil { // its calls are bounded, and it is tried again
		p.log.Warn("removing files of consumers that the estate no longer has", "error", err)
	}
	if estate := p.platform.Estate(); p.seeds.changed() && estate != nil {
		p.log.Info("the bootstrap identity changed")
		for _, declared := range estate.Secrets {
			p.platform.Orchestrator.Wake(declared.Path)
		}
		p.platform.Nudge()
	}
}

// serve listens and ticks until it is told to stop. It calls cancel, which ends stop, when it can no longer listen.
func (p *parts) serve(ctx, stop context.Context, cancel func(), hangup <-chan os.Signal) error {
	if p.estates.folder != nil {
		unwatch, err := p.estates.folder.watch.start()
		if err != nil {
			p.log.Warn("the estate's folder is not watched: it is read at each look", "error", err)
		}
		defer unwatch()
	}
	manager := newNotifier(os.Getenv, os.Getpid(), p.log)
	gate, err := newGate(os.Geteuid(), p.host.Socket)
	if err != nil {
		return err
	}
	var doors []*door
	for i, path := range sockets(p.host) {
		mode := fs.FileMode(0o600)
		if i > 0 {
			mode = 0o666 // who connects is asked of the kernel
		}
		doors = append(doors, &door{path: path, mode: mode, who: gate.who, folder: p.state, log: p.log})
	}
	open, shut, err := p.openAll(ctx, doors)
	if err != nil {
		return err
	}
	defer shut()
	loopback, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.host.Listen)
	if err != nil {
		return fmt.Errorf("listening for health and metrics: %w", err)
	}
	agents, forAgents, err := p.agents.listen(ctx)
	if err != nil {
		return errors.Join(err, loopback.Close())
	}
	p.platform.Serving()
	servers := []*http.Server{
		{Handler: server.Handler(p.platform), ConnContext: gate.note, ReadHeaderTimeout: 10 * time.Second},
		{Handler: p.loopback(), ReadHeaderTimeout: 10 * time.Second},
	}
	listen := func(on *http.Server, listener net.Listener) {
		if err := on.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("listening", "address", listener.Addr().String(), "error", err)
			cancel()
		}
	}
	var listening sync.WaitGroup
	for _, socket := range open {
		listening.Go(func() { listen(servers[0], socket) })
	}
	listening.Go(func() { listen(servers[1], loopback) })
	if agents != nil {
		servers = append(servers, agents)
		listening.Go(func() { listen(agents, forAgents) })
		p.log.Info("serving agents", "address", forAgents.Addr().String())
	}
	p.log.Info("serving", "socket", SocketPath(p.host.State), "address", loopback.Addr().String(), "pid", os.Getpid())
	manager.turned()
	manager.say("READY=1")
	context.AfterFunc(stop, func() { manager.say("STOPPING=1") })
	go manager.watchdog(stop)
	go p.watchConsumers(stop) // not waited for: a folder may hang
	if p.backups != nil && p.host.Backup != nil {
		go p.backups.watch(stop) // not waited for: the folder for backups may hang
	}
	if p.estates.git != nil {
		wake(p.estates.git.woken)
		go p.estates.git.poll(stop) // not waited for: a server may hang
	}
	for _, door := range doors {
		go p.watchDoor(stop, reloadEvery, door, func(again net.Listener) { go listen(servers[0], again) })
	}
	var watching sync.WaitGroup
	watching.Go(func() { p.watchEstate(stop, hangup, manager) })
	watching.Go(func() { p.watchStatus(stop) })
	err = p.loop(ctx, stop, manager.turned)
	cancel()
	watching.Wait()
	if p.notifier != nil {
		p.notifier.Wait()
	}
	if err != nil {
		p.log.Error("leaving", "error", err)
	}
	p.log.Info("stopping")
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(closing))
	}
	listening.Wait()
	return err
}

// openAll listens on every socket, or on none; shut closes and removes them, which http.Server may have closed already.
func (p *parts) openAll(ctx context.Context, doors []*door) (open []net.Listener, shut func(), err error) {
	var made []*door
	shut = func() {
		for i, door := range made {
			_ = open[i].Close()
			door.remove()
		}
	}
	if err := trustShared(p.host); err != nil {
		return nil, nil, err
	}
	for _, door := range doors {
		socket, err := door.open(ctx)
		if err != nil {
			shut()
			return nil, nil, err
		}
		made, open = append(made, door), append(open, socket)
	}
	return open, shut, nil
}

// outliving is a context for looks that are under way when stop comes: their step may finish, for stepGrace at most, and no
// other begins.
func (p *parts) outliving(ctx, stop context.Context) (working context.Context, abandon context.CancelFunc) {
	working, abandon = context.WithCancel(ctx)
	context.AfterFunc(stop, func() {
		p.stopping.Store(true)
		timer := time.AfterFunc(stepGrace, abandon)
		context.AfterFunc(working, func() { timer.Stop() })
	})
	return working, abandon
}

// loop ticks until stop comes. Its error is that of a store that broke: only a process that starts again and checks the
// files can go on, so this one leaves, and what watches over it starts the next. It calls turned in each turn.
func (p *parts) loop(ctx, stop context.Context, turned func()) error {
	working, abandon := p.outliving(ctx, stop)
	defer abandon()
	for stop.Err() == nil {
		turned()
		if why := p.broken(); why != "" {
			abandon()
			p.platform.Orchestrator.Wait()
			return &server.Problem{
				Class: server.Unavailable, Text: why + ": nothing more can be written by this process",
				Hint: "check the disk and the kernel's log; then restart custody (a service manager does it with Restart=always): it checks both files and continues where it was",
			}
		}
		p.notice(Now())
		next, err := p.platform.Orchestrator.Begin(working)
		if err != nil && stop.Err() == nil {
			p.log.Error("tick", "error", err)
			next = Now().Add(time.Second)
		}
		select {
		case <-stop.Done():
		case <-p.platform.Woken():
		case <-time.After(min(max(time.Until(next), time.Millisecond), reloadEvery)):
		}
	}
	p.platform.Orchestrator.Wait()
	if err := p.platform.Orchestrator.Note(working); err != nil {
		p.log.Warn("noting what runs wait for", "error", err)
	}
	return nil
}

// steps logs each step as it begins, and counts them.
type steps struct {
	log *slog.Logger

	mu     sync.Mutex
	counts map[journal.Step]int
}

func newSteps(log *slog.Logger) *steps { return &steps{log: log, counts: map[journal.Step]int{}} }

func (s *steps) observe(secretName string, run authority.RunID, step journal.Step, resumed bool) {
	s.log.Info("step", "secret", secretName, "run", string(run), "step", string(step), "resumed", resumed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[step]++
}

func (s *steps) snapshot() map[journal.Step]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[journal.Step]int, len(s.counts))
	for step, count := range s.counts {
		counts[step] = count
	}
	return counts
}
