// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"unique"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/derivation"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/handover"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// bind makes what acting on the estate needs: each secret with its upstream and its consumers. What this machine gets wrong
// holds the consumer, or the secret, that it is about, and no other. A secret that is bound already, by the same material, is not
// bound again.
func (p *parts) bind(estate *intent.Estate) ([]orchestrator.Secret, error) {
	secrets := make([]orchestrator.Secret, 0, len(estate.Secrets))
	if err := p.grants.look(context.Background()); err != nil {
		return nil, err
	}
	wanting := p.grants.wanting(estate)
	for _, name := range estate.Order() {
		declared := estate.Secrets[name]
		bound := p.describe(estate, declared, wanting)
		digest := materialDigest(p.materialOf(estate, declared, bound, wanting))
		if before, is := p.platform.Orchestrator.At(declared.Path); is && before.Digest == digest && before.Group == nil {
			secrets = append(secrets, before)
			continue
		}
		p.bindings++
		bound, err := p.bindSecret(estate, declared, wanting)
		switch {
		case !bound.Broken.None():
		case err != nil: // what this machine gets wrong is tried again each time
			bound.Broken = reason.New(reason.MachineCannotAct, nil).Because(err.Error())
			digest = jointDigest(digest, err.Error())
		}
		bound.Watched, bound.Digest = watchable(bound), digest
		secrets = append(secrets, bound)
	}
	joined(secrets)
	return secrets, nil
}

// describe makes what acting on a secret needs but for its adapters: what documents and grants say.
func (p *parts) describe(estate *intent.Estate, declared *intent.Secret, wanting wanting) orchestrator.Secret {
	policy := inventory.JournalPolicy(estate.PolicyOf(declared))
	bound := orchestrator.Secret{
		Subject: rotation.Subject{
			Secret: declared.Name, Path: declared.Path, Policy: policy, Suspended: declared.Spec.Suspend,
			AllowInterruption: declared.Spec.Rotation != nil && declared.Spec.Rotation.AllowInterruption,
		},
		First:     declared.Spec.Origin.Generated != nil || declared.Spec.Origin.Issued != nil,
		Elsewhere: declared.Spec.Rotation != nil && !estate.RotatedHere(declared),
		Places:    grant.Places(estate, declared, wanting.missing),
		Former:    declared.Spec.FormerNames, Reads: reads(estate, declared), ExpiresAt: declared.ExpiresAt,
		Leaving: estate.Leaving[declared.Name],
	}
	if need, held := wanting.secrets[declared.Name]; held {
		bound.Broken = need.Waiting()
	}
	if members := estate.GroupOf(declared); len(members) > 0 {
		bound.Group = &rotation.Group{Name: declared.Spec.Rotation.Group, Leader: members[0].Path}
		for _, member := range members {
			bound.Group.Members = append(bound.Group.Members, rotation.Member{Secret: member.Name, Path: member.Path})
		}
	}
	if gap := estate.GapOf(declared); gap > 0 {
		bound.Stagger = &orchestrator.Stagger{Set: declared.Spec.Rotation.Stagger.Set, Gap: gap}
	}
	if document, ok := estate.BootstrapOf(declared); ok {
		bound.Handover = &handover.Subject{Secret: declared.Name, Path: declared.Path, Document: document.Source.File, Policy: policy, Demands: estate.Demands[declared.Name]}
	}
	if server, ok := estate.UpstreamOf(declared); ok {
		bound.SentTo = server.Metadata.Name
		bound.Allowed = p.grants.set()[grant.ToUpstream(declared.Name, bound.SentTo)]
		bound.Server = serverGroup(estate, server)
		if admin, ok := estate.AdminOf(server); ok {
			bound.Admin = admin.Name
		}
	}
	return bound
}

// bindSecret is describe with the adapters. None is made of what may not be reached.
func (p *parts) bindSecret(estate *intent.Estate, declared *intent.Secret, wanting wanting) (orchestrator.Secret, error) {
	bound := p.describe(estate, declared, wanting)
	if _, held := wanting.secrets[declared.Name]; held {
		return bound, nil
	}
	var err error
	if bound.Upstream, err = p.upstreamOf(estate, declared); err != nil {
		return bound, err
	}
	bound.Opens = p.opens(estate, declared, wanting)
	if len(estate.Opens(declared.Name)) > 0 {
		bound.Escrow = &escrow{state: p.state, recipients: p.rootsGranted(estate), journal: p.entries()}
	}
	if bound.Handover != nil {
		bound.Handover.Server = bound.Server
		if bound.Upstream != nil {
			bound.Handover.Upstream = bound.Upstream
		}
	}
	if bound.Consumers, err = p.consumers(estate, declared, wanting); err != nil {
		return bound, err
	}
	if derived := declared.Spec.Origin.Derived; derived != nil {
		bound.Derived, err = derivedSubject(estate, declared)
	}
	return bound, err
}

// reads are the paths of the other secrets whose values are used when the secret is acted on.
func reads(estate *intent.Estate, declared *intent.Secret) []authority.Path {
	var paths []authority.Path
	for _, input := range inventory.Inputs(declared) {
		paths = append(paths, estate.Secrets[input].Path)
	}
	if server, ok := estate.UpstreamOf(declared); ok {
		if admin, ok := estate.AdminOf(server); ok && admin.Name != declared.Name {
			paths = append(paths, admin.Path)
		}
	}
	return paths
}

// consumers are the declared ones, and the secrets that are computed from this one: they have taken a version once they
// were rebuilt on it and all of their own consumers have.
//
// A secret that is computed from this one and may not read it is no consumer of it: somebody who can only write to the estate
// would otherwise keep this one's old credential from being revoked.
func (p *parts) consumers(estate *intent.Estate, declared *intent.Secret, wanting wanting) ([]rotation.Consumer, error) {
	var bound []rotation.Consumer
	for _, consumer := range declared.Consumers {
		adapter := p.servedOrHeld(consumer.ConsumerSpec, cmp.Or(wanting.consumers[declared.Name][consumer.Name], estate.Held[declared.Name][consumer.Name]))
		needs := consumer.Needs
		if needs == 0 {
			needs = adapter.Highest()
		}
		bound = append(bound, rotation.Consumer{Consumer: adapter, Needs: needs, Group: failsWith(consumer.ConsumerSpec)})
	}
	for _, dependent := range estate.Dependents(declared) {
		if wanting.cut[[2]string{declared.Name, dependent.Name}] {
			continue
		}
		theirs, err := p.consumers(estate, dependent.Secret, wanting)
		if err != nil {
			return nil, fmt.Errorf("secret %s, computed from it: %w", dependent.Name, err)
		}
		adapter := &derivation.Dependent{
			Secret: dependent.Name, Path: dependent.Path, Input: dependent.Input,
			Authority: p.values, Journal: p.entries(), Wake: func(path authority.Path) { p.platform.Orchestrator.Wake(path) },
			Calls: p.calls,
		}
		for _, consumer := range theirs {
			adapter.Consumers = append(adapter.Consumers, derivation.Consumer(consumer))
		}
		bound = append(bound, rotation.Consumer{Consumer: adapter, Needs: adapter.Highest()})
	}
	return bound, nil
}

// serverGroup names the accounts that an account fails with: all at the same server, whichever documents name it.
func serverGroup(estate *intent.Estate, server v1alpha1.Upstream) string {
	if at := estate.ServerOf(server.Spec); at != "" {
		return "server " + at
	}
	return "upstream " + server.Metadata.Name
}

// failsWith names the consumers that a consumer fails with: those in the same folder of the same machine that are told in the same way.
func failsWith(spec v1alpha1.ConsumerSpec) string {
	if spec.File == nil {
		return ""
	}
	group := "consumers in folder " + spec.File.Folder
	if spec.Machine != "" {
		group = "consumers on machine " + spec.Machine + " in folder " + spec.File.Folder
	}
	for _, command := range []string{spec.File.Reload, spec.File.Check} {
		if command != "" {
			group += " with " + command
		}
	}
	return unique.Make(group).Value() // it is the same for very many
}

func derivedSubject(estate *intent.Estate, declared *intent.Secret) (*derivation.Subject, error) {
	spec := declared.Spec.Origin.Derived
	names := slices.Sorted(maps.Keys(spec.Inputs))
	compiled, err := formula.Compile(spec.Fields, names)
	if err != nil {
		return nil, err
	}
	subject := &derivation.Subject{Secret: declared.Name, Path: declared.Path, Formula: compiled}
	for _, name := range names {
		input := estate.Secrets[spec.Inputs[name]]
		subject.Inputs = append(subject.Inputs, derivation.Input{Name: name, Secret: input.Name, Path: input.Path})
	}
	return subject, nil
}

// fileConfig is what the documents say of a file consumer; what is the host's is left out.
func fileConfig(spec v1alpha1.ConsumerSpec) (file.Config, error) {
	if spec.File == nil {
		return file.Config{}, errors.New("only files are delivered on a host")
	}
	config := file.Config{
		Name: spec.Name, Path: spec.File.Path, Format: format.Name(spec.File.Format), Reader: format.Reader(spec.File.Reader), Field: spec.File.Field,
		Keys: spec.File.Keys, VersionKey: spec.File.VersionKey, UID: durable.Keep, GID: durable.Keep, Clock: Now, InPlace: spec.File.InPlace,
	}
	if spec.File.Mode != "" {
		mode, err := strconv.ParseUint(spec.File.Mode, 8, 32)
		if err != nil {
			return file.Config{}, fmt.Errorf("reading mode: %w", err)
		}
		config.Mode = fs.FileMode(mode)
	}
	return config, nil
}

// consumer makes the adapter of one consumer on this machine.
func (p *parts) consumer(spec v1alpha1.ConsumerSpec) (*file.Consumer, error) {
	return machine{p.host.Folders, p.host.Reloads, p.host.Checks, &p.syncs, &p.mounts}.consumer(spec)
}
