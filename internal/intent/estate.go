// SPDX-License-Identifier: Apache-2.0

// Package intent loads an estate (configuration) and reports everything that is wrong with it.
//
// Guaranteed: it returns an estate only if no rule is broken, except by faults of one machine, which stop only the
// consumer that they concern. In what it returns, every default is set, every reference is resolved and every override
// of the environment is merged. Each fault says where it is and what to do. No fault contains text that looks like a
// secret. The same documents give the same digest, in whichever files they are.
//
// It contains no type of upstream: the caller passes them in Options, with their parameters, defaults and checks.
//
// Not guaranteed: that names in the host file (folders, reloads, checks) exist, unless a host is given; that a path on
// the host contains no symbolic links (the adapter that writes checks that); that encrypted documents can be decrypted,
// or belong where they were found (that needs the key). Plaintext secrets are recognised by their form: a password that
// looks like a word passes.
//
// Cost: loading reads every file once. It keeps the bytes of all files and what each document says, about eight times their size
// while it runs; the YAML nodes of a file are let go before the next file is read, and made again for a fault. The rules are applied
// once for each environment, in nearly linear time in the number of documents. Bounds on bytes and values refuse an estate that is
// larger than about 120,000 secrets with a consumer each.
package intent

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/upstream"
)

// Estate is what Git declares for one environment. It is read-only once loaded.
type Estate struct {
	// Environment is the one that the overrides were merged for; "" when none was.
	Environment string
	// Platform is the estate's own document, defaults applied.
	Platform v1alpha1.Platform
	// Secrets by name.
	Secrets map[string]*Secret
	// Policies by name.
	Policies map[string]Policy
	// Upstreams by name, defaults applied.
	Upstreams map[string]v1alpha1.Upstream
	// Bootstrap documents by name.
	Bootstrap map[string]Bootstrap
	// Held says why consumers cannot be served on the host that the estate was loaded for, by secret and consumer.
	Held map[string]map[string]string
	// Demands are the fields without which first values are not handed over, by secret: what documents in force want, and what
	// the newest forms of those want that are not.
	Demands map[string][]upstream.Demand
	// Types are the types of upstream that its documents were read by.
	Types upstream.Types
	// Digest is SHA-256 over the documents, in hexadecimal. It depends neither on files and order nor on Environment.
	Digest string
	// Files are what it was made of.
	Files *Files
	// Older are the documents of which another form than the newest is in force, or none, in the order of names.
	Older []Older
	// Leaving are the secrets that the newest estate does not declare, and that stay in force as they were declared before; see
	// Options.Keeps.
	Leaving map[string]bool
	// Finishing are the secrets that stay in force as they were declared before until their run has ended; see Options.Runs.
	Finishing map[string]bool

	byOlder   map[string]*Secret
	relations *relations // nil before Relate
}

// hold notes what this machine alone gets wrong.
func (e *Estate) hold(f Fault) {
	if !f.Here {
		return
	}
	_, name, _ := strings.Cut(f.Subject, "/")
	if e.Held == nil {
		e.Held = map[string]map[string]string{}
	}
	if e.Held[name] == nil {
		e.Held[name] = map[string]string{}
	}
	if e.Held[name][f.Consumer] == "" {
		e.Held[name][f.Consumer] = f.Reason
	}
}

// Source is where a document begins.
type Source struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// Secret is one managed secret as it holds in the estate's environment.
type Secret struct {
	Name      string
	Namespace string
	Labels    map[string]string
	Path      authority.Path
	// Spec has its override merged and its defaults applied; its Environments are left out.
	Spec v1alpha1.ManagedSecretSpec
	// ExpiresAt is zero when the issuer says nothing.
	ExpiresAt time.Time
	Consumers []Consumer
	Source    Source
}

// Consumer is one consumer of a secret.
type Consumer struct {
	v1alpha1.ConsumerSpec
	// Needs is the proof level that revocation waits for; materialize.None means the highest the consumer can give.
	Needs materialize.Level
}

// Bootstrap is one encrypted document.
type Bootstrap struct {
	Name     string
	Document v1alpha1.BootstrapSecret
	// Raw is the file as it was read: decryption needs the exact bytes.
	Raw    []byte
	Source Source
}

// Same reports whether e declares what other does, and demands as much of first values.
func (e *Estate) Same(other *Estate) bool {
	return e.Digest == other.Digest && maps.Equal(e.Leaving, other.Leaving) && maps.EqualFunc(e.Demands, other.Demands, func(a, b []upstream.Demand) bool {
		return slices.EqualFunc(a, b, upstream.Demand.Equal)
	})
}

// ByName returns the secret that has this name, or had it before.
func (e *Estate) ByName(name string) (*Secret, bool) {
	if s, ok := e.Secrets[name]; ok {
		return s, true
	}
	s, ok := e.byOlder[name]
	return s, ok
}

// PolicyOf returns the secret's policy: StaticPolicy when it names none.
func (e *Estate) PolicyOf(s *Secret) Policy {
	if s.Spec.Rotation == nil {
		return StaticPolicy()
	}
	return e.Policies[s.Spec.Rotation.PolicyRef]
}

// UpstreamOf returns the upstream that honours the secret, false when nothing outside does.
func (e *Estate) UpstreamOf(s *Secret) (v1alpha1.Upstream, bool) {
	if s.Spec.Rotation == nil || s.Spec.Rotation.UpstreamRef == "" {
		return v1alpha1.Upstream{}, false
	}
	u, ok := e.Upstreams[s.Spec.Rotation.UpstreamRef]
	return u, ok
}

// AdminOf returns the secret that opens the upstream.
func (e *Estate) AdminOf(u v1alpha1.Upstream) (*Secret, bool) {
	s, ok := e.Secrets[u.Spec.AdminRef]
	return s, ok
}

// BootstrapOf returns the encrypted document that seeds the secret, false when its origin is another.
func (e *Estate) BootstrapOf(s *Secret) (Bootstrap, bool) {
	if s.Spec.Origin.Bootstrap == nil {
		return Bootstrap{}, false
	}
	b, ok := e.Bootstrap[s.Spec.Origin.Bootstrap.SecretRef]
	return b, ok
}

// RotatedHere reports whether this platform in this environment is the one that rotates the secret.
func (e *Estate) RotatedHere(s *Secret) bool {
	if s.Spec.Rotation == nil {
		return false
	}
	by := s.Spec.Rotation.RotatedBy
	return by == "" || by == e.Platform.Metadata.Name+"/"+e.Environment
}

// Order returns the names of all secrets such that the admin of an upstream comes before the secrets it opens the
// upstream for, and in the order of names otherwise.
func (e *Estate) Order() []string {
	var out []string
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if done[name] {
			return
		}
		done[name] = true // before its admin: a secret may be its own
		if u, ok := e.UpstreamOf(e.Secrets[name]); ok {
			if admin, ok := e.AdminOf(u); ok {
				visit(admin.Name)
			}
		}
		out = append(out, name)
	}
	for _, name := range e.SecretNames() {
		visit(name)
	}
	return out
}

// digest hashes the documents as JSON, sorted by kind and name: a list of texts, of which one at a time is in memory.
func digest(documents []*document) string {
	sorted := slices.Clone(documents)
	slices.SortFunc(sorted, func(a, b *document) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	sum := sha256.New()
	add := func(before string, value any) {
		_, _ = io.WriteString(sum, before)
		_, _ = sum.Write(asJSON(value))
	}
	add("[", v1alpha1.APIVersion)
	for _, d := range sorted {
		add(",", d.kind+"/"+d.name+"\n"+string(asJSON(d.value)))
	}
	_, _ = io.WriteString(sum, "]")
	return hex.EncodeToString(sum.Sum(nil))
}

// asJSON encodes what cannot fail to be encoded: a decoded document, or a text.
func asJSON(value any) []byte {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic("intent: encoding a decoded document cannot fail: " + err.Error())
	}
	return encoded
}

// build makes the estate of documents in which no rule is broken.
func build(types upstream.Types, v *view, all []*document) *Estate {
	e := &Estate{
		Environment: v.environment,
		Platform:    *v.platform.value.(*v1alpha1.Platform),
		Secrets:     map[string]*Secret{},
		Policies:    map[string]Policy{},
		Upstreams:   map[string]v1alpha1.Upstream{},
		Bootstrap:   map[string]Bootstrap{},
		Types:       types,
		Digest:      digest(all),
		byOlder:     map[string]*Secret{},
		Leaving:     map[string]bool{},
		Finishing:   map[string]bool{},
	}
	e.Platform.Spec = platformDefaults(e.Platform.Spec)
	for _, d := range v.policies {
		policy, _ := parsePolicy(d.value.(*v1alpha1.RotationPolicy).Spec)
		policy.Name = d.name
		e.Policies[d.name] = policy
	}
	for _, d := range v.upstreams {
		declared := *d.value.(*v1alpha1.Upstream)
		declared.Spec = upstreamDefaults(types, declared.Spec)
		e.Upstreams[d.name] = declared
	}
	for _, d := range v.bootstraps {
		e.Bootstrap[d.name] = Bootstrap{d.name, *d.value.(*v1alpha1.BootstrapSecret), d.raw, d.source()}
	}
	for _, d := range v.secrets {
		s := newSecret(types, d)
		e.Secrets[d.name] = s
		if d.leaving {
			e.Leaving[d.name] = true
		}
		if d.finishing {
			e.Finishing[d.name] = true
		}
		for _, older := range s.Spec.FormerNames {
			e.byOlder[older] = s
		}
	}
	e.giveFiles()
	e.Relate()
	return e
}

func newSecret(types upstream.Types, d *document) *Secret {
	declared := d.value.(*v1alpha1.ManagedSecret)
	s := &Secret{
		Name:      d.name,
		Namespace: declared.Metadata.Namespace,
		Labels:    declared.Metadata.Labels,
		Path:      authority.Path(declared.Spec.Path),
		Spec:      secretDefaults(types, declared.Spec),
		Source:    d.source(),
	}
	if declared.Spec.ExpiresAt != "" {
		s.ExpiresAt, _ = time.Parse(time.RFC3339, declared.Spec.ExpiresAt) // checked by its rule
		s.ExpiresAt = s.ExpiresAt.UTC()
	}
	for _, spec := range s.Spec.Consumers {
		c := Consumer{ConsumerSpec: spec}
		if spec.Proof != "" {
			c.Needs, _ = materialize.ParseLevel(spec.Proof) // checked by its rule
		}
		s.Consumers = append(s.Consumers, c)
	}
	return s
}

func (d *document) source() Source { return Source{d.file, d.line} }
