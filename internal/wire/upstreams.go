// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
)

// binding is what an adapter is made from. Parameters of the adapter's own type are set in both specs, except those of
// the account where its kind lets them be left out.
type binding struct {
	server  v1alpha1.UpstreamSpec
	account v1alpha1.Account
	// admin returns the admin credentials to try, in order; nil when the upstream names none.
	admin func(context.Context) ([]secret.Value, error)
	// known returns what the secret has: its value of record, and the candidate of its live run.
	known func(context.Context) ([]secret.Value, error)
	// claim names the owner of the account, for kinds that can mark it: platform, environment and secret.
	claim string
	// password makes one by the secret's own rule.
	password func(io.Reader) (string, error)
}

// adapter makes the upstream of one secret.
type adapter func(*parts, binding) (upstream.Upstream, error)

// adapters are all types of upstream, by the name of their parameters.
func adapters() map[string]adapter {
	return map[string]adapter{
		"postgres": postgresUpstream,
		"mysql":    mysqlUpstream,
		"redis":    redisUpstream,
		"rabbitmq": rabbitmqUpstream,
		"ldap":     ldapUpstream,
		"mail":     mailUpstream,
		"http":     httpUpstream,
		"oidc":     oidcUpstream,
		"github":   githubUpstream,
		"aws":      awsUpstream,
		"minio":    minioUpstream,
		"exec":     execUpstream,
	}
}

// upstreamOf makes the upstream that honours the secret; nil when nothing can make a successor.
func (p *parts) upstreamOf(estate *intent.Estate, declared *intent.Secret) (upstream.Upstream, error) {
	rule := declared.Spec.Origin.Generated
	document, ok := estate.UpstreamOf(declared)
	if !ok {
		if rule == nil {
			return nil, nil
		}
		return generated.New(*rule, Random())
	}
	b := binding{
		server: document.Spec, account: declared.Spec.Rotation.Account,
		known: p.adminCredentials(declared.Path),
		claim: p.host.Platform + "/" + p.host.Environment + "/" + declared.Name,
	}
	if rule == nil {
		rule = &v1alpha1.GenerateRule{Type: "password"}
	}
	b.password = func(random io.Reader) (string, error) { return generated.Password(random, *rule) }
	if admin, ok := estate.AdminOf(document); ok {
		b.admin = p.adminCredentials(admin.Path)
	}
	made, err := adapters()[intent.TypeOf(document.Spec)](p, b)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", document.Metadata.Name, err)
	}
	return made, nil
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
		pending, err := authority.PendingPaths(ctx, p.store.Paths, path)
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
			return nil, fmt.Errorf("the admin credential at %s is not in the authority yet", path)
		}
		return credentials, nil
	}
}
