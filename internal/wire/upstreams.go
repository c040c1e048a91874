// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
)

// upstreamOf makes the upstream that honours the secret; nil when nothing can make a successor.
func (p *parts) upstreamOf(estate *intent.Estate, declared *intent.Secret) (upstream.Upstream, error) {
	rule := declared.Spec.Origin.Generated
	document, ok := estate.UpstreamOf(declared)
	if !ok {
		if rule == nil {
			return nil, nil
		}
		return p.generator(*rule)
	}
	b := p.binding(declared.Name)
	b.Known = p.adminCredentials(declared.Path)
	if rule == nil {
		rule = &v1alpha1.GenerateRule{Type: "password"}
	}
	b.Password = func(random io.Reader) (string, error) { return generated.Password(random, *rule) }
	if admin, ok := estate.AdminOf(document); ok {
		b.Admin = p.adminCredentials(admin.Path)
	}
	t, server := estate.TypeOf(document.Spec)
	made, err := t.Open(b, server, declared.Spec.Rotation.Account[t.Name()])
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", document.Metadata.Name, err)
	}
	return made, nil
}

// generator makes values by a rule. It keeps nothing of the secrets that it makes them for, so that all with the same rule share it.
func (p *parts) generator(rule v1alpha1.GenerateRule) (upstream.Upstream, error) {
	key := fmt.Sprintf("%#v", rule)
	if made, known := p.generators.Load(key); known {
		return made.(*generated.Upstream), nil
	}
	made, err := generated.New(rule, Random())
	if err != nil {
		return nil, err
	}
	p.generators.Store(key, made)
	return made, nil
}

// binding is what every upstream is made with. It claims the account for the secret of that name.
func (p *parts) binding(name string) upstream.Binding {
	return upstream.Binding{
		Claim: p.host.Platform + "/" + p.host.Environment + "/" + name,
		Host:  picked{p.host}, Clock: Now, Random: Random(), Log: p.log,
	}
}

// picked answers for what the host's own configuration names.
type picked struct{ host v1alpha1.HostSpec }

// Program returns a program that only root and this user can change.
func (h picked) Program(name string) (upstream.Program, error) {
	program, ok := h.host.Upstreams[name]
	if !ok {
		return upstream.Program{}, fmt.Errorf("the host has no upstream program %q", name)
	}
	if err := trustProgram(program.Argv); err != nil {
		return upstream.Program{}, err
	}
	timeout, err := duration.Parse(cmp.Or(program.Timeout, "0s"))
	return upstream.Program{Argv: program.Argv, Timeout: timeout}, err
}

// Folder returns a folder's path.
func (h picked) Folder(name string) (string, error) {
	folder, ok := h.host.Folders[name]
	if !ok {
		return "", fmt.Errorf("the host's configuration names no folder %q", name)
	}
	return folder, nil
}

// adminCredentials reads an upstream's admin credential: the value of record, then the candidate of its own live run, or of
// one of an older state, which may be honoured already.
func (p *parts) adminCredentials(path authority.Path) func(context.Context) ([]secret.Value, error) {
	return func(ctx context.Context) ([]secret.Value, error) {
		var credentials []secret.Value
		held, err := p.store.Read(ctx, path)
		if err == nil {
			credentials = append(credentials, held.Value)
		} else if !errors.Is(err, authority.ErrNotFound) {
			return nil, err
		}
		document, err := journal.New(p.store).LoadHeld(ctx, path)
		if err != nil {
			return nil, err
		}
		credentials = append(credentials, document.Candidates()...)
		if len(credentials) == 0 {
			return nil, fmt.Errorf("the admin credential at %s is not in the authority yet", path)
		}
		return credentials, nil
	}
}
