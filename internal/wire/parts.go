// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/bootstrap"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/intake"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/model"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/source"
	"custody.dev/custody/internal/trigger"
	"custody.dev/custody/internal/upstream"
)

// parts is an opened platform.
type parts struct {
	host     v1alpha1.HostSpec
	hostFile string
	// hostDigest is that of the host file when it was read.
	hostDigest [sha256.Size]byte
	log        *slog.Logger
	version    string
	state      *durable.Folder // nil while there is none
	store      store
	values     outward.Store // the same, its calls bounded
	calls      *outward.Calls
	record     record
	platform   *platform.Platform
	seeds      *seeds
	estates    *estates
	grants     *grants
	model      *model.Model // nil keeps nothing
	steps      *steps
	notifier   *notify.Notifier // nil where nobody is told
	backups    *backups         // nil before there is an authority
	hooks      []*eventHook     // that take what other systems report
	agents     *agents          // of other machines; nil where there are none
	closers    []func() error
	stopping   atomic.Bool
	anchor     *anchor // nil before there is an authority
	// current: the authority knows of all that the record says was done with it.
	current bool
	// displaced: the state folder's path leads to it no more.
	displaced atomic.Bool
	// glanced is when all consumers were last glanced at, nil before that.
	glanced atomic.Pointer[time.Time]
	// syncs and mounts are shared by all file consumers, and generators, by their rules, by all secrets that are generated.
	syncs      durable.Syncs
	mounts     file.Mounts
	generators sync.Map
	// bindings counts the secrets that adapters were made for.
	bindings int
	// looked yields after a look at a secret has ended.
	looked chan struct{}
}

// store is the opened authority, or uninitialised.
type store interface {
	authority.Store
	authority.Renewer
	Broken() string
	Close() error
}

// record is the opened record, or uninitialised.
type record interface {
	platform.Record
	recovery.Record
	Broken() string
	Close() error
}

// Close lets everything go, in reverse order of opening.
func (p *parts) Close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

// open opens the authority, the record and the engines, as the user that runs the platform: see runBy. An authority that
// never was, and its folder, are made if initialise says so; else what can be told without it can still be asked.
func open(ctx context.Context, o Options, host v1alpha1.HostSpec, initialise bool) (*parts, error) {
	p := &parts{host: host, hostFile: o.HostFile, log: o.Log, version: o.Version, steps: newSteps(o.Log), looked: make(chan struct{}, 1), model: model.New()}
	if absolute, err := filepath.Abs(o.HostFile); err == nil {
		p.hostFile = absolute
	}
	p.hostDigest = digestOf(p.hostFile)
	p.estates = newEstates(p)
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
		p.steps = newSteps(p.log)
	}
	if err := p.open(ctx, initialise); err != nil {
		return nil, p.toOpen(errors.Join(err, p.Close()))
	}
	return p, nil
}

func authorityFolder(state string) string { return filepath.Join(state, "authority") }

func (p *parts) open(ctx context.Context, initialise bool) error {
	err := p.runBy(os.Geteuid(), ownerOf)
	if err != nil {
		return err
	}
	folder := durable.Open
	if initialise {
		folder = durable.Make
	}
	p.state, err = folder(p.host.State)
	switch {
	case err == nil:
		p.closers = append(p.closers, p.state.Close)
	case initialise || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if initialise && p.estates.git != nil && p.estates.git.head == "" {
		p.estates.git.fetch(ctx) // there is no authority before there is an estate; why it failed is said where that is missing
	}
	if err := p.unfinished(); err != nil {
		return err
	}
	opened, err := p.openAuthority(ctx, initialise)
	if errors.Is(err, embedded.ErrUninitialised) {
		p.store, p.record = uninitialised{}, uninitialised{}
		return p.assemble(ctx)
	}
	if err != nil {
		return err
	}
	p.store = opened
	p.closers = append(p.closers, p.store.Close)
	if p.record, err = p.openRecord(ctx); err != nil {
		return err
	}
	p.closers = append(p.closers, p.record.Close)
	return p.assemble(ctx)
}

// initialised is the note beside the authority that says it was made: an authority that is gone is then not taken for
// one that never was.
const initialised = "initialised"

// sourceOf is where an unseal key is read from.
func sourceOf(unseal v1alpha1.Unseal) embedded.Source {
	return embedded.Source{KeyFile: unseal.KeyFile, IdentityFile: unseal.Identity, Credential: unseal.Credential, Getenv: os.Getenv}
}

func (p *parts) openAuthority(ctx context.Context, initialise bool) (*embedded.Store, error) {
	config := embedded.Config{
		Folder: authorityFolder(p.host.State), Clock: Now, Random: Random(), Timeout: time.Second,
		Platform: p.host.Platform, Environment: p.host.Environment,
	}
	source := sourceOf(p.host.Unseal)
	var err error
	if config.Key, err = embedded.LoadSealer(source); err != nil {
		return nil, p.notKeyed(p.noKey(err))
	}
	store, err := embedded.Open(ctx, config)
	if !errors.Is(err, embedded.ErrUninitialised) {
		if errors.Is(err, embedded.ErrInUse) {
			problem := server.Problems(err)
			problem.Class = server.Unavailable
			return nil, problem
		}
		if err == nil {
			err = p.noteInitialised()
		}
		return store, err
	}
	if p.state == nil {
		return nil, err
	}
	if p.wasThere() {
		return nil, &server.Problem{
			Class: server.Refused,
			Text:  "the authority of this state folder was initialised before and is gone; Custody does not create a new one in its place",
			Hint:  "put " + config.Folder + " back from its newest copy. If it is lost for good, move the whole state folder away: what was rotated since handover is then lost with it",
		}
	}
	if !initialise {
		return nil, err
	}
	if source.Recipients, err = p.rootRecipients(); err != nil {
		return nil, notBegun(err)
	}
	if config.Key, err = embedded.LoadSealer(source); err != nil {
		return nil, err
	}
	if err := embedded.Initialise(ctx, config); err != nil {
		return nil, err
	}
	if store, err = embedded.Open(ctx, config); err != nil {
		return nil, err
	}
	return store, p.noteInitialised()
}

// wasThere reports whether the state folder had an authority: the note says so, and so does a record, which begins after one.
func (p *parts) wasThere() bool {
	return slices.ContainsFunc([]string{initialised, filepath.Base(AuditKeyPath(p.host.State)), filepath.Base(AuditFolder(p.host.State))}, func(name string) bool {
		_, err := p.state.Stat(name)
		return err == nil
	})
}

// rootRecipients are the estate's: phases are entered in order, so there is an estate before there is an authority, and
// the root can open what the unseal key opens.
func (p *parts) rootRecipients() ([]age.Recipient, error) {
	estate, err := p.estates.load(nil)
	if err != nil {
		return nil, fmt.Errorf("making the authority: %w", err)
	}
	var granted grant.Set
	if p.host.Grants != "" {
		_, wanted, err := readGrants(p.host.Grants, p.estates.folder)
		if err != nil {
			return nil, fmt.Errorf("making the authority: %w", err)
		}
		granted = grant.SetOf(wanted...)
	} else {
		p.log.Warn("no grants file: the root recipients that the estate names are believed", "recipients", estate.Platform.Spec.RootRecipients)
	}
	var recipients []age.Recipient
	for _, text := range estate.Platform.Spec.RootRecipients {
		if asked := (grant.Grant{Kind: grant.Recipient, Of: grant.Root, To: text}); granted != nil && !granted[asked] {
			return nil, &server.Problem{
				Class: server.Refused, Text: "making the authority: the estate names a root recipient that the grants file does not: " + text,
				Hint: "take it out of the Platform document; if it is right, write it into " + p.host.Grants,
			}
		}
		recipient, err := age.ParseX25519Recipient(text)
		if err != nil {
			return nil, fmt.Errorf("making the authority: root recipient %s: %w", text, err)
		}
		recipients = append(recipients, recipient)
	}
	return recipients, nil
}

func (p *parts) noteInitialised() error {
	err := p.state.Create(initialised, []byte(Now().UTC().Format(time.RFC3339)+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// openRecord opens the record, whose signing seed the authority keeps, and which the authority anchors.
func (p *parts) openRecord(ctx context.Context) (*audit.Log, error) {
	seed, err := p.seed(ctx)
	if err != nil {
		return nil, err
	}
	signer, err := audit.NewSigner("custody.dev/"+p.host.Platform+"/"+p.host.Environment, seed)
	if err != nil {
		return nil, err
	}
	folder, err := durable.Make(AuditFolder(p.host.State))
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, folder.Close)
	p.anchor = &anchor{store: p.store}
	last, err := p.anchor.Last(ctx)
	if err != nil {
		return nil, err
	}
	sinks := []audit.Sink{p.anchor}
	for _, file := range p.host.Checkpoints {
		sinks = append(sinks, checkpointFile(file))
	}
	accepted, err := recovery.Last(ctx, p.store)
	if err != nil {
		return nil, err
	}
	record, err := audit.Open(audit.Config{Folder: folder, Signer: signer, Clock: Now, Anchor: last, Sinks: sinks, GivenUp: accepted.GivenUp})
	if err != nil {
		return nil, err
	}
	if err := p.notePublicKey(signer); err != nil {
		return nil, errors.Join(err, record.Close())
	}
	return record, nil
}

// notePublicKey keeps the key that verifies the record beside it, once the record was found to be signed with it: the key of
// another record is needed by whoever has that one.
func (p *parts) notePublicKey(signer *audit.Signer) error {
	name, key := filepath.Base(AuditKeyPath(p.host.State)), []byte(signer.Verifier()+"\n")
	if held, err := p.state.Read(name); err == nil && string(held) == string(key) {
		return nil
	}
	return p.state.Replace(name, key, durable.Private)
}

// checkpointFile keeps checkpoints in a file elsewhere, mostly on a mount. Its folder is opened for each call: one that is
// not there yet is a finding, and keeps nobody from starting.
type checkpointFile string

var (
	_ audit.Sink       = checkpointFile("")
	_ audit.Rememberer = checkpointFile("")
)

// Name is the file's path.
func (c checkpointFile) Name() string { return string(c) }

// Put implements audit.Sink.
func (c checkpointFile) Put(ctx context.Context, checkpoint []byte) error {
	return c.in(func(file audit.FileSink) error { return file.Put(ctx, checkpoint) })
}

// Last implements audit.Rememberer.
func (c checkpointFile) Last(ctx context.Context) (checkpoint []byte, err error) {
	err = c.in(func(file audit.FileSink) error {
		checkpoint, err = file.Last(ctx)
		return err
	})
	return checkpoint, err
}

func (c checkpointFile) in(do func(audit.FileSink) error) error {
	folder, err := durable.Open(filepath.Dir(string(c)))
	if err != nil {
		return fmt.Errorf("opening the folder of the checkpoint: %w", err)
	}
	return errors.Join(do(audit.FileSink{Folder: folder, As: filepath.Base(string(c))}), folder.Close())
}

const (
	seedKey   = "audit/seed"
	anchorKey = "audit/anchor"
)

func (p *parts) seed(ctx context.Context) ([]byte, error) {
	held, err := p.store.Get(ctx, seedKey)
	if err == nil && len(held.Data) != audit.SeedSize {
		return nil, fmt.Errorf("reading the key that signs the record: %w %q: it has %d bytes, want %d", journal.ErrUnreadable, seedKey, len(held.Data), audit.SeedSize)
	}
	if err == nil {
		return held.Data, nil
	}
	if !errors.Is(err, authority.ErrNotFound) {
		return nil, err
	}
	seed, err := audit.NewSeed(Random())
	if err != nil {
		return nil, err
	}
	_, err = p.store.Put(ctx, seedKey, 0, seed)
	return seed, err
}

// behind says how the authority is older than the record, "" when it is not.
func (p *parts) behind(ctx context.Context) (string, error) {
	known, err := p.watched(journal.New(p.store)).All(ctx)
	if err != nil {
		return "", err
	}
	accepted, err := recovery.Last(ctx, p.store)
	if err != nil {
		return "", err
	}
	compared, err := p.compared(ctx)
	if err != nil {
		return "", err
	}
	cut := slices.ContainsFunc(p.record.Ahead(), func(o audit.Outside) bool { return o.Cut })
	behind, err := platform.Behind(known, p.record.Events(ctx, audit.Filter{Skip: max(accepted.Events, compared)}), cut)
	p.current = err == nil && behind == "" && !slices.ContainsFunc(known, func(entry *journal.Entry) bool { return entry.Fault != nil })
	return behind, err
}

// assemble builds the engines over the opened parts.
func (p *parts) assemble(ctx context.Context) error {
	behind, err := p.behind(ctx)
	if err != nil {
		return err
	}
	restored, err := recovery.RestoredFrom(ctx, p.store)
	if err != nil {
		return err
	}
	p.calls = outward.New(Now)
	p.values = outward.NewStore(p.store, p.calls)
	record := boundedRecord{p.record, p.calls}
	entries := p.entries()
	queue := trigger.New(p.values, record, Now)
	clock := trigger.NewClock(p.values, Now, steady)
	if p.estates.git != nil && p.store != (uninitialised{}) {
		p.estates.git.book = &source.Book{Records: p.values, Events: record, Now: Now, NewRun: newRun}
	}
	p.grants = &grants{
		parts: p, estate: p.estates.folder, book: grant.Book{Records: p.values, Events: record, Now: Now, NewRun: newRun}, pause: func() { time.Sleep(looksApart) },
		recovering: func() string { return p.platform.Recovering() },
	}
	p.seeds = &seeds{parts: p}
	p.seeds.changed()
	engine := rotation.New(rotation.Config{
		Authority: p.values, Journal: entries, Record: record, Now: Now, NewRun: newRun, Observe: p.steps.observe,
		Stopping: p.stopping.Load, Calls: p.calls, Clock: clock,
	})
	recoveries := recovery.New(recovery.Config{
		Authority: outward.NewRenewing(p.store, p.calls), Journal: entries, Record: record, Calls: p.calls, Now: Now, NewRun: newRun,
		Requests: trigger.Prefix, Open: trigger.Open,
		Check: func(ctx context.Context, s recovery.Secret, v secret.Value) (upstream.Verdict, error) {
			return engine.Check(ctx, rotation.Subject{Secret: s.Name, Path: s.Path, Upstream: s.Upstream, Server: s.Server}, authority.Versioned{Value: v})
		},
	})
	if err := recoveries.Settle(ctx); err != nil && !errors.Is(err, audit.ErrBehind) { // behind again: that is accepted first
		return err
	}
	conductor := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: p.values, Queue: queue, Clock: clock, Record: record, Now: Now, NewRun: newRun,
		Workers: workers, Finished: p.finished,
		Rotation: engine, Stopping: p.stopping.Load, Barred: func() string { return p.platform.Recovering() },
		Derivation: derivation.New(derivation.Config{Authority: p.values, Journal: entries, Record: record, Now: Now, NewRun: newRun}),
		Handover: handover.New(handover.Config{
			Authority: p.values, Journal: entries, Record: record, Source: p.seeds, Now: Now, NewRun: newRun, Calls: p.calls,
		}),
	})
	backups, err := p.openBackups(ctx)
	if err != nil {
		return err
	}
	p.notifier, p.hooks, p.agents = p.notifications(), p.eventHooks(), p.openAgents()
	p.platform = platform.New(platform.Config{
		Name: p.host.Platform, Environment: p.host.Environment, AuthorityType: "embedded", Authority: p.values,
		Journal: entries, Queue: queue, Clock: clock, Record: record, Orchestrator: conductor, Model: p.model, Now: Now, NewRun: newRun,
		Identity: p.seeds.there, Seeds: p.seeds, Initialised: p.store != uninitialised{}, Recovery: recoveries, Behind: behind, Restored: restored.String(), Later: p.store.Later, Broken: p.broken,
		Unanswered: p.unanswered, Machine: p.machine, Notifier: p.notifier, Backups: backups, Fleet: p.agents.fleet(),
		Intake: &intake.Book{Records: p.values, Now: Now},
		Grants: p.grants, Load: p.estates.load, SavedEstate: p.estates.saved, SaveEstate: p.estates.save, Bind: p.bind, Leftovers: leftovers{p},
		Source: p.estates.source(),
		Readable: func(ctx context.Context, secretName string) error {
			if p.platform.Served() { // nobody who asks a question has documents decrypted
				return p.seeds.last(secretName)
			}
			_, err := p.seeds.Value(ctx, secretName)
			return err
		},
	})
	return nil
}

// watched has the model told of what the journal reads and writes.
func (p *parts) watched(j *journal.Journal) *journal.Journal {
	if p.model == nil {
		return j
	}
	return j.Watch(p.model.Saw)
}

// entries are the journal over the opened authority.
func (p *parts) entries() *journal.Journal { return p.watched(journal.New(p.values)) }

// finished tells whoever waits for it that a look at a secret has ended.
func (p *parts) finished() {
	p.platform.Nudge()
	select {
	case p.looked <- struct{}{}:
	default:
	}
}

// broken says why only a restart helps, "" when none is needed; see Broken of the authority and of the record.
func (p *parts) broken() string { return cmp.Or(p.store.Broken(), p.record.Broken()) }

// workers is how many secrets are worked on at once. Those that wait for something outside are not among them; package
// outward bounds these.
const workers = 16

// findBootstrap finds a secret's encrypted document in the estate in force.
func (p *parts) findBootstrap(_ context.Context, secretName string) (bootstrap.Found, error) {
	estate := p.platform.Estate()
	if estate == nil {
		return bootstrap.Found{}, errors.New("no estate is in force")
	}
	declared, ok := estate.ByName(secretName)
	if !ok {
		return bootstrap.Found{}, fmt.Errorf("%s is not declared", secretName)
	}
	document, ok := estate.BootstrapOf(declared)
	if !ok {
		return bootstrap.Found{}, fmt.Errorf("%s has no bootstrap document", secretName)
	}
	if stranger := p.grants.set().Stranger(secretName, document.Document); stranger != "" {
		return bootstrap.Found{}, fmt.Errorf("waiting for %s", stranger)
	}
	return bootstrap.Found{Raw: document.Raw, Namespace: declared.Namespace, Path: string(declared.Path)}, nil
}
