// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// opens asks whether a value opens the upstreams that the secret is the admin credential of, for those types where signing in
// as an account is all that opening is; nil where none of them is such a one. A value that another type needs is not asked
// about: "" is no verdict. Nor is an upstream asked that no secret may use yet: nobody has granted that this value goes there.
func (p *parts) opens(estate *intent.Estate, declared *intent.Secret, wanting wanting) func(context.Context, secret.Value) (upstream.Verdict, error) {
	var askable []v1alpha1.UpstreamSpec
	for _, name := range estate.Opens(declared.Name) {
		if spec := estate.Upstreams[name].Spec; accountOf(spec, "") != nil && wanting.uses(estate, name) {
			askable = append(askable, spec)
		}
	}
	if len(askable) == 0 {
		return nil
	}
	return func(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
		var found upstream.Verdict
		for _, spec := range askable {
			verdict, err := p.signIn(ctx, spec, v)
			if verdict == upstream.Refused || verdict == upstream.Unknown {
				return verdict, err
			}
			found = verdict
		}
		return found, nil
	}
}

// signIn signs in at an upstream with an account that it never changes.
func (p *parts) signIn(ctx context.Context, spec v1alpha1.UpstreamSpec, v secret.Value) (upstream.Verdict, error) {
	name := v.ExposeText("username")
	if name == "" || v.ExposeText("password") == "" {
		return "", nil
	}
	made, err := adapters()[intent.TypeOf(spec)](p, binding{
		server: spec, account: *accountOf(spec, name), claim: p.host.Platform + "/" + p.host.Environment + "/none",
		admin: func(context.Context) ([]secret.Value, error) { return []secret.Value{v}, nil },
		known: func(context.Context) ([]secret.Value, error) { return nil, nil },
		password: func(io.Reader) (string, error) {
			return "", errors.New("this account is not changed")
		},
	})
	if err != nil {
		return "", nil //nolint:nilerr // an account of this type cannot be made from the name alone
	}
	return made.Verify(ctx, v)
}

// otherAccount is the name of no account: whichever host part a server knows an admin by, signing in is right.
const otherAccount = "-"

// accountOf is the account of that name, for upstreams that are opened by signing in; nil for every other type.
func accountOf(spec v1alpha1.UpstreamSpec, name string) *v1alpha1.Account {
	overwrite := string(upstream.Overwrite)
	switch {
	case spec.Postgres != nil:
		return &v1alpha1.Account{Postgres: &v1alpha1.PostgresAccount{Mode: overwrite, User: name}}
	case spec.MySQL != nil:
		return &v1alpha1.Account{MySQL: &v1alpha1.MySQLAccount{Mode: overwrite, User: otherAccount}}
	case spec.Redis != nil:
		return &v1alpha1.Account{Redis: &v1alpha1.RedisAccount{Mode: string(upstream.Dual), User: name}}
	case spec.RabbitMQ != nil:
		return &v1alpha1.Account{RabbitMQ: &v1alpha1.RabbitMQAccount{Mode: overwrite, User: name}}
	case spec.LDAP != nil:
		return &v1alpha1.Account{LDAP: &v1alpha1.LDAPAccount{Mode: overwrite, DN: name}}
	}
	return nil
}
