// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/bootstrap"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

// parts is an opened platform.
type parts struct {
	host     v1alpha1.HostSpec
	log      *slog.Logger
	state    *durable.Folder
	store    *embedded.Store
	record   *audit.Log
	platform *platform.Platform
	steps    *steps
	closers  []func() error
}

// Close lets everything go, in reverse order of opening.
func (p *parts) Close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	return errors.Join(errs...)
}

// open opens the authority, the record and the engines. It initialises an authority that never was.
func open(ctx context.Context, o Options, host v1alpha1.HostSpec) (*parts, error) {
	p := &parts{host: host, log: o.Log, steps: newSteps(o.Log)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
		p.steps = newSteps(p.log)
	}
	if err := p.open(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *parts) open(ctx context.Context) error {
	var err error
	if p.state, err = durable.Make(p.host.State); err != nil {
		return err
	}
	p.closers = append(p.closers, p.state.Close)
	if p.store, err = p.openAuthority(ctx); err != nil {
		return err
	}
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

func (p *parts) openAuthority(ctx context.Context) (*embedded.Store, error) {
	config := embedded.Config{
		Folder: filepath.Join(p.host.State, "authority"), Clock: Now, Random: Random(), Timeout: time.Second,
		Platform: p.host.Platform, Environment: p.host.Environment,
	}
	sealer, err := embedded.LoadSealer(embedded.Source{
		KeyFile: p.host.Unseal.KeyFile, IdentityFile: p.host.Unseal.Identity, Credential: p.host.Unseal.Credential, Getenv: os.Getenv,
	})
	if err != nil {
		return nil, err
	}
	config.Key = sealer
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
	if _, gone := p.state.Stat(initialised); gone == nil {
		return nil, &server.Problem{
			Class: server.Refused,
			Text:  "the authority of this state folder was initialised before and is gone; nothing is seeded anew in its place",
			Hint:  "put " + config.Folder + " back from its newest copy. If it is lost for good, move the whole state folder away: what was rotated since handover is then lost with it",
		}
	}
	if err := embedded.Initialise(ctx, config); err != nil {
		return nil, err
	}
	if store, err = embedded.Open(ctx, config); err != nil {
		return nil, err
	}
	return store, p.noteInitialised()
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
	key := []byte(signer.Verifier() + "\n")
	if held, err := p.state.Read(filepath.Base(AuditKeyPath(p.host.State))); err != nil || string(held) != string(key) {
		if err := p.state.Replace(filepath.Base(AuditKeyPath(p.host.State)), key, durable.Private); err != nil {
			return nil, err
		}
	}
	anchor := &anchor{store: p.store}
	last, err := anchor.Last(ctx)
	if err != nil {
		return nil, err
	}
	sinks := []audit.Sink{anchor}
	for _, file := range p.host.Checkpoints {
		elsewhere, err := durable.Open(filepath.Dir(file))
		if err != nil {
			return nil, fmt.Errorf("opening the folder of checkpoint %s: %w", file, err)
		}
		p.closers = append(p.closers, elsewhere.Close)
		sinks = append(sinks, audit.FileSink{Folder: elsewhere, As: filepath.Base(file)})
	}
	return audit.Open(audit.Config{Folder: folder, Signer: signer, Clock: Now, Anchor: last, Sinks: sinks})
}

const (
	seedKey   = "audit/seed"
	anchorKey = "audit/anchor"
)

func (p *parts) seed(ctx context.Context) ([]byte, error) {
	held, err := p.store.Get(ctx, seedKey)
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

// anchor keeps the newest checkpoint in the authority, so that a tail cut off together with its checkpoint shows.
type anchor struct{ store *embedded.Store }

// Name tells this place from others.
func (a *anchor) Name() string { return "authority" }

// Last returns the checkpoint kept last.
func (a *anchor) Last(ctx context.Context) ([]byte, error) {
	held, err := a.store.Get(ctx, anchorKey)
	if errors.Is(err, authority.ErrNotFound) {
		return nil, nil
	}
	return held.Data, err
}

// Put keeps a checkpoint.
func (a *anchor) Put(ctx context.Context, checkpoint []byte) error {
	held, err := a.store.Get(ctx, anchorKey)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return err
	}
	_, err = a.store.Put(ctx, anchorKey, held.Revision, checkpoint)
	return err
}

// assemble builds the engines over the opened parts.
func (p *parts) assemble(_ context.Context) error {
	identities, err := p.identities()
	if err != nil {
		return err
	}
	started := Now()
	steady := func() time.Duration { return time.Since(started) }
	entries := journal.New(p.store)
	queue := trigger.New(p.store, p.record, Now)
	clock := trigger.NewClock(p.store, Now, steady)
	decryptor := bootstrap.New(bootstrap.Config{Open: Codec(), Identities: identities, Platform: p.host.Platform})
	source := decryptor.Source(p.findBootstrap)
	engine := rotation.New(rotation.Config{
		Authority: p.store, Journal: entries, Record: p.record, Now: Now, NewRun: newRun, Observe: p.steps.observe,
	})
	conductor := orchestrator.New(orchestrator.Config{
		Journal: entries, Values: p.store, Queue: queue, Clock: clock, Record: p.record, Now: Now, NewRun: newRun, Workers: 4,
		Rotation: engine,
		Handover: handover.New(handover.Config{
			Authority: p.store, Journal: entries, Record: p.record, Source: source, Now: Now, NewRun: newRun,
		}),
	})
	estates := &estates{parts: p}
	p.platform = platform.New(platform.Config{
		Name: p.host.Platform, Environment: p.host.Environment, AuthorityType: "embedded", Authority: p.store,
		Journal: entries, Queue: queue, Clock: clock, Record: p.record, Orchestrator: conductor,
		Now: Now, NewRun: newRun, Identity: len(identities) > 0,
		Load: estates.load, Kept: estates.kept, Keep: estates.keep, Bind: p.bind,
		Readable: func(ctx context.Context, secretName string) error {
			_, err := source.Value(ctx, secretName)
			return err
		},
	})
	return nil
}

// identities loads the bootstrap identity; none is fine once nothing in Git is left to hand over.
func (p *parts) identities() ([]root.Identity, error) {
	if p.host.BootstrapIdentity == "" {
		return nil, nil
	}
	identities, err := root.Load(p.host.BootstrapIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return identities, err
}

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
	return bootstrap.Found{Raw: document.Raw, Namespace: declared.Namespace}, nil
}

// estates loads the estate, and keeps a copy of the last one that was in force.
type estates struct{ parts *parts }

const keptEstate = "estate"

func (e *estates) load() (*intent.Estate, error) { return e.from(e.parts.host.Estate) }

func (e *estates) from(dir string) (*intent.Estate, error) {
	estate, faults, err := intent.Load(dir, intent.Options{
		Environment: e.parts.host.Environment, Host: &e.parts.host, Privileged: os.Geteuid() == 0,
	})
	if err != nil {
		return nil, err
	}
	if err := faultsError(faults); err != nil {
		return nil, err
	}
	if estate.Platform.Metadata.Name != e.parts.host.Platform {
		return nil, fmt.Errorf("the estate declares platform %s, this host runs %s", estate.Platform.Metadata.Name, e.parts.host.Platform)
	}
	return estate, nil
}

func (e *estates) kept() (*intent.Estate, error) {
	dir := filepath.Join(e.parts.host.State, keptEstate)
	if _, err := os.Stat(dir); err != nil {
		return nil, nil //nolint:nilerr // nothing kept is no fault
	}
	return e.from(dir)
}

// keep copies the estate's documents, which hold no plaintext, over the copy kept before. A crash in between leaves a
// copy that does not lint, or an older one; both are only used when the estate itself does not lint.
func (e *estates) keep() error {
	next := filepath.Join(e.parts.host.State, keptEstate+".next")
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("clearing the copy: %w", err)
	}
	if err := os.CopyFS(next, os.DirFS(e.parts.host.Estate)); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	kept := filepath.Join(e.parts.host.State, keptEstate)
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("replacing the copy: %w", err)
	}
	return os.Rename(next, kept)
}
