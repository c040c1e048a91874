// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/server"
)

// grantsCopy is where a platform keeps a copy of what is granted, for commands that seal without asking it.
const grantsCopy = "grants.yaml"

// maxGrants bounds a grants file, in bytes.
const maxGrants = 1 << 20

// grants is what this platform's operator has granted: the authority's record, which follows the host's grants file.
type grants struct {
	parts *parts
	book  grant.Book
	// estate is the folder that the grants file must not lie in.
	estate *estateFolder

	// refreshing is held while the grants file and the record are read, which may hang. Nobody who only wants to know waits for it.
	refreshing sync.Mutex
	// amended: what the record says was revoked was taken back.
	amended bool
	// uncopied: the copy beside the state is older than entries.
	uncopied bool

	mu       sync.Mutex
	entries  []grant.Entry
	known    bool // entries were read
	places   grant.Known
	file     []byte
	fault    error
	answered *answeredNeeds

	// recovering says why nothing may be changed; see platform.Platform.Recovering.
	recovering func() string
	// pause is the time between two looks at a file that changed.
	pause func()
}

// looksApart is how long a grants file must stay as it is before it is taken up.
const looksApart = 200 * time.Millisecond

// Refresh takes up the grants file where it changed, and the record. It reports whether what is granted is another than
// before; what cannot be read changes nothing, and is a fault.
func (g *grants) Refresh(ctx context.Context) bool {
	g.refreshing.Lock()
	defer g.refreshing.Unlock()
	fault := errors.Join(g.amend(ctx), g.follow(ctx))
	entries, err := g.book.Load(ctx)
	if err != nil {
		g.blame(err)
		return false
	}
	if g.parts.store == (uninitialised{}) { // nothing can be recorded yet: the file is all there is
		entries = g.ofFile()
	}
	changed := g.take(entries)
	if changed || g.uncopied {
		err := g.copy(entries)
		if g.uncopied = err != nil; fault == nil {
			fault = err
		}
	}
	g.blame(fault)
	return changed
}

// take has these be what is granted, and reports whether that is another than before.
func (g *grants) take(entries []grant.Entry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := !g.known || !slices.Equal(entries, g.entries)
	g.entries, g.known = entries, true
	return changed
}

// blame notes what is wrong with where the grants are read from, nil for nothing.
func (g *grants) blame(fault error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = fault
}

// amend revokes, once for each start, what the record says was revoked, and puts on record what is owed to it. Its cost is one
// reading, at the start, of what the record holds beyond what was compared before, then one read of what is granted.
func (g *grants) amend(ctx context.Context) error {
	if g.parts.store == (uninitialised{}) {
		return nil
	}
	var revoked grant.Revoked
	if !g.amended {
		compared, err := g.parts.compared(ctx)
		if err != nil {
			return err
		}
		if revoked, err = grant.RevokedIn(g.parts.record.Events(ctx, audit.Filter{Workflow: audit.Operation, Skip: compared})); err != nil {
			return err
		}
	}
	err := g.book.Amend(ctx, revoked)
	g.amended = g.amended || err == nil
	if g.amended && g.parts.current {
		g.parts.anchor.settled.Store(true)
	}
	return err
}

// follow takes up what the grants file says, if that is another than what is on record. It is looked at twice: whoever writes
// it may not be done, and what a checkout brings is tracked by Git at its end alone.
func (g *grants) follow(ctx context.Context) error {
	name := g.parts.host.Grants
	if name == "" {
		return nil
	}
	data, wanted, err := readGrants(name, g.estate)
	if err != nil || g.file != nil && bytes.Equal(data, g.file) {
		return err
	}
	known, err := g.book.Load(ctx)
	if err != nil {
		return err
	}
	if !says(known, wanted) {
		g.pause()
		again, _, err := readGrants(name, g.estate)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, again) {
			return fmt.Errorf("the grants file %s is being changed: what it granted before stays in force until the file is stable", name)
		}
	}
	if g.parts.store != (uninitialised{}) {
		if why := g.recovering(); why != "" && !says(known, wanted) { // it would be in force, and the record takes no event of it
			return fmt.Errorf("the grants file %s is read again once the platform is no longer recovering; what it granted before stays in force:  %s", name, why)
		}
		if err := g.book.Follow(ctx, "file "+name, wanted); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.file = data
	return nil
}

// says reports whether following a file that grants what is wanted would change nothing.
func says(known []grant.Entry, wanted []grant.Grant) bool {
	held := grant.Set{}
	for _, entry := range known {
		held[entry.Grant] = true
		if entry.File && !slices.Contains(wanted, entry.Grant) {
			return false
		}
	}
	return !slices.ContainsFunc(wanted, func(g grant.Grant) bool { return !held[g] })
}

// ofFile is what the grants file says, as it was read last.
func (g *grants) ofFile() []grant.Entry {
	g.mu.Lock()
	data := g.file
	g.mu.Unlock()
	if data == nil {
		return nil
	}
	wanted, _ := grant.Parse(data) // it was parsed before it was kept
	entries := make([]grant.Entry, 0, len(wanted))
	for _, one := range wanted {
		entries = append(entries, grant.Entry{Grant: one, By: "file " + g.parts.host.Grants, File: true})
	}
	return entries
}

// copy keeps what is granted beside the state, which is nobody else's to write.
func (g *grants) copy(entries []grant.Entry) error {
	if g.parts.store == (uninitialised{}) {
		return nil
	}
	var all []grant.Grant
	for _, entry := range entries {
		all = append(all, entry.Grant)
	}
	const comment = "# A copy of what is granted, written by custody serve. To change it: custody grant --help\n"
	return g.parts.state.Replace(grantsCopy, grant.Format(comment, all), durable.Private)
}

// Entries returns what is granted, and what is wrong with where that is read from.
func (g *grants) Entries() ([]grant.Entry, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.entries), g.fault
}

// set is what is granted.
func (g *grants) set() grant.Set {
	entries, _ := g.Entries()
	set := grant.Set{}
	for _, entry := range entries {
		set[entry.Grant] = true
	}
	return set
}

// wanting is what waits for a grant: secrets, and consumers by secret and name with why they are held.
type wanting struct {
	places    grant.Known
	missing   []grant.Need
	secrets   map[string]grant.Need
	consumers map[string]map[string]string
	// cut are the secrets that may not read another one, by both.
	cut map[[2]string]bool
}

// uses reports whether some secret of the upstream waits for no grant: where the upstream is, and whose admin credential it
// takes, is granted then.
func (w wanting) uses(estate *intent.Estate, upstreamName string) bool {
	for name, declared := range estate.Secrets {
		if _, held := w.secrets[name]; held {
			continue
		}
		if server, ok := estate.UpstreamOf(declared); ok && server.Metadata.Name == upstreamName {
			return true
		}
	}
	return false
}

// Known implements platform.Grants. It is linear in the estate where that, what is granted or where values may be known is
// another than when it was called last.
func (g *grants) Known(estate *intent.Estate) []grant.Need {
	entries, _ := g.Entries()
	g.mu.Lock()
	k := g.answered
	g.mu.Unlock()
	if placed := g.parts.model.Placed(); k == nil || k.estate != estate || k.placed != placed || !slices.Equal(k.entries, entries) {
		places, placed := g.parts.model.Places()
		k = &answeredNeeds{estate, placed, entries, grant.Missing(estate, g.set(), places)}
		g.mu.Lock()
		g.answered = k
		g.mu.Unlock()
	}
	return k.missing
}

// answeredNeeds are what Known answered last, and what that was of.
type answeredNeeds struct {
	estate  *intent.Estate
	placed  uint64
	entries []grant.Entry
	missing []grant.Need
}

// Missing implements platform.Grants. It costs one listing of the journal.
func (g *grants) Missing(ctx context.Context, estate *intent.Estate) ([]grant.Need, error) {
	if err := g.look(ctx); err != nil {
		return nil, err
	}
	return g.wanting(estate).missing, nil
}

// look takes up what the histories name.
func (g *grants) look(ctx context.Context) error {
	entries, err := g.parts.entries().All(ctx)
	if err != nil {
		return fmt.Errorf("finding out where values may be known: %w", err)
	}
	places := grant.Known{}
	for _, entry := range entries {
		if entry.Begun() {
			places[entry.Path] = entry.Places
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.places = places
	return nil
}

// wanting is what waits by the histories as they were looked at last.
func (g *grants) wanting(estate *intent.Estate) wanting {
	granted := g.set()
	g.mu.Lock()
	places := g.places // it is replaced, not changed
	g.mu.Unlock()
	missing := grant.Missing(estate, granted, places)
	for i := range missing {
		missing[i].NeverRan = g.parts.store == (uninitialised{})
	}
	w := wanting{places, missing, grant.Held(missing), map[string]map[string]string{}, map[[2]string]bool{}}
	for _, need := range missing {
		if need.Consumer == "" {
			for _, reader := range need.Holds {
				w.cut[[2]string{need.Of, reader}] = need.Kind == grant.Reader
			}
			continue
		}
		if w.consumers[need.Of] == nil {
			w.consumers[need.Of] = map[string]string{}
		}
		w.consumers[need.Of][need.Consumer] = need.Waiting().Text()
	}
	return w
}

// Add implements platform.Grants. Over a document that is damaged it begins another one, with what is in force.
func (g *grants) Add(ctx context.Context, by, reason string, wanted []grant.Grant) ([]grant.Entry, error) {
	added, err := g.book.Add(ctx, by, reason, wanted)
	if errors.Is(err, grant.ErrUnreadable) {
		entries, _ := g.Entries()
		return g.book.Anew(ctx, by, reason, entries, wanted)
	}
	return added, err
}

// Revoke implements platform.Grants. What the grants file says is revoked there: it would be granted again by it.
func (g *grants) Revoke(ctx context.Context, by, reason string, unwanted []grant.Grant) ([]grant.Entry, error) {
	for _, entry := range g.ofFile() {
		if slices.Contains(unwanted, entry.Grant) {
			return nil, &server.Problem{
				Class: server.Refused, Text: fmt.Sprintf("the grants file %s says it: %s", g.parts.host.Grants, entry.Grant),
				Hint: "take it out of that file; it is revoked within seconds, on record",
			}
		}
	}
	return g.book.Revoke(ctx, by, reason, unwanted)
}

// readGrants reads an operator's grants file, if it is believed as a host file is, before and after it was read; it must lie
// outside of the estate, which would otherwise grant to itself.
func readGrants(name string, estate *estateFolder) ([]byte, []grant.Grant, error) {
	if err := outside(name, estate); err != nil {
		return nil, nil, err
	}
	trusted := func() error { return refused("the grants file "+name+" is not used", trustHost(name)) }
	if err := trusted(); err != nil {
		return nil, nil, err
	}
	data, err := readAtMost(name, maxGrants)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the grants file: %w", err)
	}
	if err := trusted(); err != nil {
		return nil, nil, err
	}
	wanted, err := grant.Parse(data)
	if err != nil {
		return nil, nil, &server.Problem{Class: server.Found, Text: name + ": " + err.Error(), Hint: "`custody grant --help` shows such a file"}
	}
	return data, wanted, nil
}

func readAtMost(name string, most int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > most || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", name, most)
	}
	return os.ReadFile(name)
}

// ReadGrants reads an operator's grants file. Estate is the folder that it must not lie in, "" when there is none.
func ReadGrants(name, estate string) ([]grant.Grant, error) {
	_, wanted, err := readGrants(name, newEstateFolder(estate))
	return wanted, err
}

// outside refuses a file that lies in the estate, through whichever links.
func outside(name string, estate *estateFolder) error {
	if estate == nil {
		return nil
	}
	file, err := filepath.EvalSymlinks(name)
	if err != nil {
		return fmt.Errorf("reading the grants file: %w", err)
	}
	folder, err := estate.resolved()
	if problem, hangs := errors.AsType[*server.Problem](err); hangs {
		return problem
	}
	if err != nil {
		return nil //nolint:nilerr // an estate that is not there holds no file
	}
	if relative, err := filepath.Rel(absolute(folder), absolute(file)); err == nil && filepath.IsLocal(relative) {
		return &server.Problem{
			Class: server.Refused, Text: "the grants file " + name + " is inside the estate, which would grant to itself",
			Hint: "keep it where only the platform's operator can write",
		}
	}
	return nil
}

func absolute(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// NeverRan reports whether the host's platform has no authority yet, which its first `custody serve` makes.
func NeverRan(host v1alpha1.HostSpec) bool {
	_, err := os.Stat(authorityFolder(host.State))
	return errors.Is(err, fs.ErrNotExist)
}

// Granted is what is granted on a host, for commands that do not ask the platform: the copy beside its state, and the
// grants file, which is ahead of it while no server runs. It is nil where neither can be read.
func Granted(host v1alpha1.HostSpec) (grant.Set, error) {
	var set grant.Set
	take := func(wanted []grant.Grant) {
		if set == nil {
			set = grant.Set{}
		}
		for _, one := range wanted {
			set[one] = true
		}
	}
	if err := trustState(host.State); err != nil {
		return nil, err
	}
	copied, err := readAtMost(filepath.Join(host.State, grantsCopy), maxGrants)
	if err == nil {
		wanted, err := grant.Parse(copied)
		if err != nil {
			return nil, err
		}
		take(wanted)
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if host.Grants != "" {
		_, wanted, err := readGrants(host.Grants, newEstateFolder(host.Estate))
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		if err == nil {
			take(wanted)
		}
	}
	return set, nil
}
