// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"hash/maphash"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/folderwatch"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
)

const (
	// glanceEvery is how often consumers in folders that cannot be watched are glanced at, and so how soon a file that was removed
	// there is written again. Where there are so many that this takes more than a hundredth of the time, it is less often, but
	// every glanceAtLeast. That often all consumers are glanced at, for what the kernel did not tell.
	glanceEvery   = 2 * time.Second
	glanceAtLeast = time.Minute
	// gatherFor is how long changes are gathered before they are acted on: a file is replaced in several steps.
	gatherFor = 100 * time.Millisecond
	// doubtGap is the least time between two looks at a secret's consumers that glances ask for: somebody who changes a file
	// again and again must not have its process reloaded as often.
	doubtGap = 30 * time.Second
	// watchedFor is how long after all consumers were glanced at looks at them may be rare: then a folder hangs.
	watchedFor = 3 * glanceAtLeast
)

// watch has the consumers of a secret looked at soon after something happened to what they read: a service manager that made
// a folder anew, a person who removed a file. The kernel tells it of changes; it glances, which tells those that matter from others. Its
// own deliveries count as well, and cost one more look.
type watch struct {
	seed    maphash.Seed
	glances map[authority.Path]uint64
	doubted map[authority.Path]time.Time
	// deferred are those that changed again too soon.
	deferred map[authority.Path]bool

	watcher *folderwatch.Watcher // nil where folders cannot be watched
	// declared is the number of the declaration that at and in are made of.
	declared int
	// at are the consumers of each secret, and in the secrets with a file of that name in a folder.
	at map[authority.Path][]materialize.Glancer
	in map[string]map[string][]authority.Path
	// unwatched are folders of which the kernel tells nothing.
	unwatched []string

	told sync.Mutex
	// pending are the names told since the last round, by folder; "" is the folder itself. all says that anything may have changed.
	pending map[string]map[string]bool
	all     bool
	wake    chan struct{}
}

func newWatch() *watch {
	return &watch{
		seed: maphash.MakeSeed(), glances: map[authority.Path]uint64{}, doubted: map[authority.Path]time.Time{}, deferred: map[authority.Path]bool{},
		declared: -1, pending: map[string]map[string]bool{}, wake: make(chan struct{}, 1),
	}
}

// tell notes what the kernel told.
func (w *watch) tell(folder, name string) {
	w.told.Lock()
	switch {
	case folder == "":
		w.all = true
	case w.pending[folder] == nil:
		w.pending[folder] = map[string]bool{name: true}
	default:
		w.pending[folder][name] = true
	}
	w.told.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns what was told since it was called last.
func (w *watch) take() (pending map[string]map[string]bool, all bool) {
	w.told.Lock()
	defer w.told.Unlock()
	pending, all = w.pending, w.all
	w.pending, w.all = map[string]map[string]bool{}, false
	return pending, all
}

// learn notes the consumers of the secrets that are declared.
func (w *watch) learn(secrets []orchestrator.Secret, declared int) {
	w.declared, w.at, w.in = declared, map[authority.Path][]materialize.Glancer{}, map[string]map[string][]authority.Path{}
	for _, s := range secrets {
		for _, consumer := range s.Consumers {
			glancer, can := consumer.Consumer.(materialize.Glancer)
			if !can {
				continue
			}
			w.at[s.Path] = append(w.at[s.Path], glancer)
			folder, name := filepath.Split(glancer.Place())
			folder = filepath.Clean(folder)
			if w.in[folder] == nil {
				w.in[folder] = map[string][]authority.Path{}
			}
			w.in[folder][name] = append(w.in[folder][name], s.Path)
		}
	}
	gone := func(path authority.Path) bool { _, there := w.at[path]; return !there }
	maps.DeleteFunc(w.glances, func(path authority.Path, _ uint64) bool { return gone(path) })
	maps.DeleteFunc(w.doubted, func(path authority.Path, _ time.Time) bool { return gone(path) })
	maps.DeleteFunc(w.deferred, func(path authority.Path, _ bool) bool { return gone(path) })
}

// follow watches the folders of all consumers, and returns the secrets whose folder was not watched until now.
func (w *watch) follow() (paths []authority.Path) {
	folders := slices.Collect(maps.Keys(w.in))
	if w.watcher == nil {
		w.unwatched = folders
		return nil
	}
	fresh, unwatched := w.watcher.Follow(folders)
	w.unwatched = unwatched
	return w.below(fresh)
}

// below are the secrets with a file in one of these folders.
func (w *watch) below(folders []string) (paths []authority.Path) {
	for _, folder := range folders {
		for _, of := range w.in[folder] {
			paths = append(paths, of...)
		}
	}
	return paths
}

// about are the secrets that what was told is about. Folders of which that was the last that is told are watched anew.
func (w *watch) about(pending map[string]map[string]bool, all bool) (paths []authority.Path) {
	lost := all
	for folder, names := range pending {
		if names[""] {
			lost = true
			paths = append(paths, w.below([]string{folder})...)
			continue
		}
		for name := range names {
			paths = append(paths, w.in[folder][name]...)
		}
	}
	if lost {
		paths = append(paths, w.follow()...)
	}
	if all {
		return slices.Collect(maps.Keys(w.at))
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// changed glances at the consumers of the secret at path, and reports whether they are to be looked at. The first glance has nothing
// to compare with.
func (w *watch) changed(path authority.Path, now time.Time) bool {
	var hash maphash.Hash
	hash.SetSeed(w.seed)
	for _, glancer := range w.at[path] {
		_, _ = hash.WriteString(glancer.Place() + ": " + glancer.Glance() + "\n")
	}
	glance := hash.Sum64()
	before, known := w.glances[path]
	delete(w.deferred, path)
	switch last, ever := w.doubted[path]; {
	case known && before == glance:
		return false
	case !known:
		w.glances[path] = glance
		return false
	case ever && now.Sub(last) < doubtGap:
		w.deferred[path] = true // and is glanced at again once the time has passed
		return false
	}
	w.glances[path], w.doubted[path] = glance, now
	return true
}

// round returns the secrets whose consumers are to be looked at: of those that the kernel told something of; when tick, also of those
// that it tells nothing of, and of those that changed too soon; when sweep, of all.
func (w *watch) round(now time.Time, tick, sweep bool) (doubted []authority.Path) {
	paths := w.about(w.take())
	if tick {
		if len(w.unwatched) > 0 {
			paths = append(paths, w.follow()...) // a folder may have been made
			paths = append(paths, w.below(w.unwatched)...)
		}
		paths = append(paths, slices.Collect(maps.Keys(w.deferred))...)
	}
	if sweep {
		w.follow()
		paths = slices.Collect(maps.Keys(w.at))
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if w.changed(path, now) {
			doubted = append(doubted, path)
		}
	}
	return doubted
}

// watchConsumers watches and glances at consumers until stop comes. A folder that hangs holds up no more than the glances: after
// watchedFor each consumer is looked at every ten minutes again.
func (p *parts) watchConsumers(stop context.Context) {
	seen := newWatch()
	watcher, err := folderwatch.New(seen.tell)
	if err != nil {
		p.log.Warn("folders are not watched: files that others change are seen later", "error", err)
	} else {
		seen.watcher = watcher
		defer func() { _ = watcher.Close() }()
	}
	swept := Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		tick := false
		select {
		case <-stop.Done():
			return
		case <-timer.C:
			tick = true
		case <-seen.wake:
			select {
			case <-stop.Done():
				return
			case <-time.After(gatherFor):
			}
		}
		began := Now()
		fresh := false
		if declared := p.platform.Orchestrator.Declarations(); declared != seen.declared {
			seen.learn(p.platform.Orchestrator.Secrets(), declared)
			seen.follow()
			fresh = true // what was never glanced at is compared with this
		}
		sweep := fresh || began.Sub(swept) >= glanceAtLeast
		for _, path := range seen.round(began, tick, sweep) {
			p.platform.Orchestrator.Doubt(path)
			p.platform.Nudge()
		}
		if sweep {
			swept = began
			p.glanced.Store(&began)
			p.platform.Orchestrator.Watching(true)
		}
		if tick {
			timer.Reset(glanceAfter(time.Since(began)))
		}
	}
}

// notice has looks at consumers come often again where nobody has glanced at them for long.
func (p *parts) notice(now time.Time) {
	if last := p.glanced.Load(); last != nil && now.Sub(*last) > watchedFor {
		p.platform.Orchestrator.Watching(false)
	}
}

// watchable reports whether glances at the consumers of a secret see all that a look at them would: each is a file that no check
// answers for.
func watchable(s orchestrator.Secret) bool {
	return s.Derived == nil && !slices.ContainsFunc(s.Consumers, func(c rotation.Consumer) bool {
		glanced, is := c.Consumer.(*file.Consumer)
		return !is || glanced.Highest() > materialize.Delivered
	})
}

// glanceAfter is how long after a round of glances, which took so long, the next one begins.
func glanceAfter(took time.Duration) time.Duration {
	return min(max(glanceEvery, 100*took), glanceAtLeast)
}
