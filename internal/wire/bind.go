// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/upstream/postgres"
)

// bind makes what acting on the estate needs: each secret with its upstream and its consumers.
func (p *parts) bind(estate *intent.Estate) ([]orchestrator.Secret, error) {
	secrets := make([]orchestrator.Secret, 0, len(estate.Secrets))
	for _, name := range estate.Order() {
		bound, err := p.bindSecret(estate, estate.Secrets[name])
		if err != nil {
			return nil, fmt.Errorf("binding %s: %w", name, err)
		}
		secrets = append(secrets, bound)
	}
	return secrets, nil
}

func (p *parts) bindSecret(estate *intent.Estate, declared *intent.Secret) (orchestrator.Secret, error) {
	policy := inventory.JournalPolicy(estate.PolicyOf(declared))
	bound := orchestrator.Secret{
		Subject: rotation.Subject{
			Secret: declared.Name, Path: declared.Path, Policy: policy, Suspended: declared.Spec.Suspend,
			AllowInterruption: declared.Spec.Rotation != nil && declared.Spec.Rotation.AllowInterruption,
		},
		Generated: declared.Spec.Origin.Generated != nil,
		Elsewhere: declared.Spec.Rotation != nil && !estate.RotatedHere(declared),
	}
	var err error
	if bound.Upstream, err = p.upstreamOf(estate, declared); err != nil {
		return bound, err
	}
	if len(estate.Opens(declared.Name)) > 0 {
		bound.Escrow = &escrow{state: p.state, recipients: estate.Platform.Spec.RootRecipients}
	}
	if document, ok := estate.BootstrapOf(declared); ok {
		bound.Handover = &handover.Subject{Secret: declared.Name, Path: declared.Path, Document: document.Source.File, Policy: policy}
		if bound.Upstream != nil && bound.Upstream.Kind().Verifies {
			bound.Handover.Upstream = bound.Upstream
		}
	}
	for _, consumer := range declared.Consumers {
		adapter, err := p.consumer(consumer.ConsumerSpec)
		if err != nil {
			return bound, fmt.Errorf("consumer %s: %w", consumer.Name, err)
		}
		needs := consumer.Needs
		if needs == 0 {
			needs = adapter.Highest()
		}
		bound.Consumers = append(bound.Consumers, rotation.Consumer{Consumer: adapter, Needs: needs})
	}
	return bound, nil
}

// upstreamOf chooses the adapter of the upstream that honours the secret; nil when nothing can make a successor.
func (p *parts) upstreamOf(estate *intent.Estate, declared *intent.Secret) (upstream.Upstream, error) {
	rule := declared.Spec.Origin.Generated
	document, ok := estate.UpstreamOf(declared)
	switch {
	case ok && document.Spec.Postgres != nil:
		return p.postgres(estate, declared, document)
	case rule != nil:
		return generated.New(*rule, Random())
	}
	return nil, nil
}

func (p *parts) postgres(estate *intent.Estate, declared *intent.Secret, document v1alpha1.Upstream) (upstream.Upstream, error) {
	spec, account := document.Spec.Postgres, declared.Spec.Rotation.Postgres
	admin, ok := estate.AdminOf(document)
	if !ok {
		return nil, fmt.Errorf("upstream %s names no admin secret", document.Metadata.Name)
	}
	rule := v1alpha1.GenerateRule{Type: "password"}
	if declared.Spec.Origin.Generated != nil {
		rule = *declared.Spec.Origin.Generated
	}
	config := postgres.Config{
		Server: postgres.Server{Host: spec.Host, Port: spec.Port, Database: spec.Database, TLS: spec.TLS, CACertificate: spec.CACertificate},
		Admin:  p.adminCredentials(admin.Path), Mode: postgres.Mode(account.Mode), Owner: account.Owner, User: account.User,
		NewPassword:  func(random io.Reader) (string, error) { return generated.Password(random, rule) },
		SendPassword: spec.SendPassword, Claim: p.host.Platform + "/" + p.host.Environment + "/" + declared.Name,
		Clock: Now, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	return postgres.New(config)
}

// adminCredentials reads an upstream's admin credential: the value of record, then the candidate of its own live run,
// which may be honoured already.
func (p *parts) adminCredentials(path authority.Path) func(context.Context) ([]secret.Value, error) {
	return func(ctx context.Context) ([]secret.Value, error) {
		var credentials []secret.Value
		held, err := p.store.Read(ctx, path)
		if err == nil {
			credentials = append(credentials, held.Value)
		} else if !errors.Is(err, authority.ErrNotFound) {
			return nil, err
		}
		pending, err := p.store.Paths(ctx, string(authority.PendingPath(path, "")))
		if err != nil {
			return nil, err
		}
		for _, entry := range pending {
			kept, err := p.store.Read(ctx, entry)
			if err != nil {
				continue // its run ended in between
			}
			candidate, err := rotation.Candidate(kept.Value)
			if err != nil {
				return nil, err
			}
			credentials = append(credentials, candidate)
		}
		if len(credentials) == 0 {
			return nil, fmt.Errorf("the admin credential at %s is not in the authority yet: %w", path, upstream.ErrNotApplied)
		}
		return credentials, nil
	}
}

// consumer chooses the adapter of one consumer. Folders, reloads and checks are the host's, chosen by name.
func (p *parts) consumer(spec v1alpha1.ConsumerSpec) (*file.Consumer, error) {
	if spec.File == nil {
		return nil, errors.New("only files are delivered on a host")
	}
	uid, gid, err := file.LookupOwner(spec.File.User, spec.File.Group)
	if err != nil {
		return nil, err
	}
	config := file.Config{
		Name: spec.Name, Folder: p.host.Folders[spec.File.Folder], Path: spec.File.Path, Format: format.Name(spec.File.Format),
		Field: spec.File.Field, Keys: spec.File.Keys, VersionKey: spec.File.VersionKey, UID: uid, GID: gid, Clock: Now,
	}
	if spec.File.Mode != "" {
		mode, err := strconv.ParseUint(spec.File.Mode, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("reading mode: %w", err)
		}
		config.Mode = fs.FileMode(mode)
	}
	if name := spec.File.Reload; name != "" {
		if config.Reload, err = reloader(p.host.Reloads[name]); err != nil {
			return nil, fmt.Errorf("reload %s: %w", name, err)
		}
	}
	if name := spec.File.Check; name != "" {
		if config.Check, err = command(p.host.Checks[name]); err != nil {
			return nil, fmt.Errorf("check %s: %w", name, err)
		}
	}
	return file.New(config)
}

func reloader(spec v1alpha1.Reload) (file.Reloader, error) {
	if spec.Signal != "" {
		return file.NewSignal(file.SignalConfig{Signal: spec.Signal, PIDFile: spec.PIDFile, Clock: Now})
	}
	return command(v1alpha1.Command{Argv: spec.Argv, Timeout: spec.Timeout})
}

func command(spec v1alpha1.Command) (*file.Command, error) {
	timeout := time.Duration(0)
	if spec.Timeout != "" {
		var err error
		if timeout, err = intent.ParseDuration(spec.Timeout); err != nil {
			return nil, err
		}
	}
	return file.NewCommand(file.CommandConfig{Argv: spec.Argv, Timeout: timeout})
}
