// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/upstream"
)

// material is what acting on a secret is made of: of its own document, of those that it refers to, of those that refer to it, and of
// what is granted. What a process has all its life is left out: the host's configuration, and the parts.
type material struct {
	Name      string
	Path      authority.Path
	Former    []string
	Spec      v1alpha1.ManagedSecretSpec
	ExpiresAt time.Time
	Policy    journal.Policy
	Suspended bool

	Broken             reason.Reason
	Elsewhere, Allowed bool
	Leaving            bool
	Consumers          []string // by name: one that leaves may have fewer than its document says
	Places             []string
	Reads              []authority.Path

	Upstream *v1alpha1.Upstream
	Server   string
	Admin    string
	Opens    []opened
	Escrow   []string
	Document string
	Sealed   [sha256.Size]byte
	Demands  []upstream.Demand
	// Held says why consumers are not served, by name.
	Held map[string]string
	// Dependents are what is computed from it, and Members who rotates with it.
	Dependents []material
	Members    []string
	Stagger    *orchestrator.Stagger
}

// opened is an upstream that a secret is the admin credential of, and whether that may be asked.
type opened struct {
	Spec v1alpha1.UpstreamSpec
	Asks bool
}

// materialOf collects what bound, as described, is made of.
func (p *parts) materialOf(estate *intent.Estate, declared *intent.Secret, bound orchestrator.Secret, wanting wanting) material {
	m := material{
		Name: declared.Name, Path: declared.Path, Former: declared.Spec.FormerNames, Spec: declared.Spec, ExpiresAt: declared.ExpiresAt,
		Policy: bound.Policy, Suspended: bound.Suspended, Broken: bound.Broken, Elsewhere: bound.Elsewhere, Allowed: bound.Allowed,
		Leaving: bound.Leaving, Places: bound.Places, Reads: bound.Reads, Server: bound.Server, Admin: bound.Admin, Stagger: bound.Stagger,
	}
	if u, ok := estate.UpstreamOf(declared); ok {
		m.Upstream = &u
	}
	for _, name := range estate.Opens(declared.Name) {
		m.Opens = append(m.Opens, opened{estate.Upstreams[name].Spec, wanting.uses(estate, name)})
		m.Escrow = p.rootsGranted(estate)
	}
	if document, ok := estate.BootstrapOf(declared); ok {
		m.Document, m.Sealed, m.Demands = document.Source.File, sha256.Sum256(document.Raw), estate.Demands[declared.Name]
	}
	if bound.Group != nil {
		for _, member := range bound.Group.Members {
			m.Members = append(m.Members, string(member.Path))
		}
	}
	m.consumers(estate, declared, wanting)
	return m
}

// consumers adds what stands in the way of consumers, and those of what is computed from the secret.
func (m *material) consumers(estate *intent.Estate, declared *intent.Secret, wanting wanting) {
	m.Held = map[string]string{}
	for _, consumer := range declared.Consumers {
		m.Consumers = append(m.Consumers, consumer.Name)
		m.Held[consumer.Name] = wanting.consumers[declared.Name][consumer.Name] + "\n" + estate.Held[declared.Name][consumer.Name]
	}
	for _, dependent := range estate.Dependents(declared) {
		if wanting.cut[[2]string{declared.Name, dependent.Name}] {
			continue
		}
		theirs := material{Name: dependent.Name, Path: dependent.Path, Spec: dependent.Spec}
		theirs.consumers(estate, dependent.Secret, wanting)
		m.Dependents = append(m.Dependents, theirs)
	}
}

// materialDigest is the same for the same material: bytes, not text, since there is one for each secret.
func materialDigest(of any) string {
	encoded, err := json.Marshal(of)
	if err != nil {
		panic("wire: encoding documents cannot fail: " + err.Error())
	}
	sum := sha256.Sum256(encoded)
	return string(sum[:])
}

// jointDigest is the same for the same digests and texts in the same order. They are bytes, which JSON would not tell apart.
func jointDigest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(sum, "%d %s", len(part), part)
	}
	return string(sum.Sum(nil))
}

// joined gives each member of a group the digest of all: what one is bound to is part of what the others are.
func joined(secrets []orchestrator.Secret) {
	at := map[authority.Path]int{}
	for i, s := range secrets {
		at[s.Path] = i
	}
	together := make([]string, len(secrets))
	for i, s := range secrets {
		if s.Group == nil {
			continue
		}
		all := []string{s.Digest}
		for j, member := range s.Group.Members {
			other := secrets[at[member.Path]]
			s.Group.Members[j].Upstream = other.Upstream
			all = append(all, other.Digest)
		}
		together[i] = jointDigest(all...)
	}
	for i, digest := range together {
		if digest != "" {
			secrets[i].Digest = digest
		}
	}
}
