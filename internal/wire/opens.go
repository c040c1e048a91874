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
		if spec := estate.Upstreams[name].Spec; signsIn(estate, spec) && wanting.uses(estate, name) {
			askable = append(askable, spec)
		}
	}
	if len(askable) == 0 {
		return nil
	}
	estate = &intent.Estate{Types: estate.Types} // what is bound may be used long after its estate is
	return func(ctx context.Context, v secret.Value) (upstream.Verdict, error) {
		var found upstream.Verdict
		for _, spec := range askable {
			verdict, err := p.signIn(ctx, estate, spec, v)
			if verdict == upstream.Refused || verdict == upstream.Unknown {
				return verdict, err
			}
			found = verdict
		}
		return found, nil
	}
}

// signsIn reports whether an upstream is opened by signing in as an account.
func signsIn(estate *intent.Estate, spec v1alpha1.UpstreamSpec) bool {
	t, _ := estate.TypeOf(spec)
	return t.SignsIn("") != nil
}

// signIn signs in at an upstream with an account that it never changes.
func (p *parts) signIn(ctx context.Context, estate *intent.Estate, spec v1alpha1.UpstreamSpec, v secret.Value) (upstream.Verdict, error) {
	name := v.ExposeText("username")
	if name == "" || v.ExposeText("password") == "" {
		return "", nil
	}
	b := p.binding("none")
	b.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{v}, nil }
	b.Known = func(context.Context) ([]secret.Value, error) { return nil, nil }
	b.Password = func(io.Reader) (string, error) { return "", errors.New("this account is not changed") }
	t, server := estate.TypeOf(spec)
	made, err := t.Open(b, server, t.SignsIn(name))
	if err != nil {
		return "", nil //nolint:nilerr // an account of this type cannot be made from the name alone
	}
	return made.Verify(ctx, v)
}
