// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream"
)

// upstreamDefaults returns spec with what it may leave out; its own parts stay as they are.
func upstreamDefaults(types upstream.Types, spec v1alpha1.UpstreamSpec) v1alpha1.UpstreamSpec {
	spec.Server = withDefaults(types, spec.Server, upstream.Type.Defaults)
	return spec
}

func accountDefaults(types upstream.Types, spec v1alpha1.RotationSpec) v1alpha1.RotationSpec {
	spec.Account = withDefaults(types, spec.Account, upstream.Type.AccountDefaults)
	return spec
}

func withDefaults(types upstream.Types, given v1alpha1.Parameters, fill func(upstream.Type, any) any) v1alpha1.Parameters {
	out := maps.Clone(given)
	for _, t := range types.Given(given) {
		out[t.Name()] = fill(t, given[t.Name()])
	}
	return out
}

func names(types upstream.Types) []string {
	var out []string
	for _, t := range types {
		out = append(out, t.Name())
	}
	return out
}

// upstreamRules check one upstream.
func (c *checker) upstreamRules(v *view, d *document) {
	spec := d.value.(*v1alpha1.Upstream).Spec
	given := c.types.Given(spec.Server)
	if len(given) != 1 {
		if d.hasSpec {
			reason := "the upstream has no type"
			if len(given) > 1 {
				reason = "the upstream has several types: " + strings.Join(names(given), ", ")
			}
			c.fault(d, "upstream-type", at("spec"), reason, "")
		}
		return
	}
	t := given[0]
	switch {
	case spec.AdminRef == "" && t.Admin() == upstream.AdminNeeded:
		c.fault(d, upstream.RuleAdmin, at("spec"), "an upstream of type "+t.Name()+" without an adminRef", "")
	case spec.AdminRef != "" && t.Admin() == upstream.AdminNone:
		c.fault(d, upstream.RuleAdmin, at("spec", "adminRef"), "an upstream of type "+t.Name()+" has no use for an adminRef", "")
	case spec.AdminRef != "" && v.secret[spec.AdminRef] == nil:
		c.missing(d, "admin-dangling", at("spec", "adminRef"), "there is no ManagedSecret "+plaintext.Show(spec.AdminRef))
	}
	server := t.Defaults(spec.Server[t.Name()])
	t.Check(server, spec.AdminRef != "", c.under(d, at("spec", t.Name())))
	c.picks(d, t, server)
	c.adminFields(v, d, t, server, spec.AdminRef)
}

// adminFields wants the admin credential to have what the server asks for, where its fields can be told from the documents.
func (c *checker) adminFields(v *view, d *document, t upstream.Type, server any, admin string) {
	named := v.secret[admin]
	if named == nil {
		return
	}
	have := v.fieldsOf(named.value.(*v1alpha1.ManagedSecret).Spec)
	if len(have) == 0 {
		return
	}
	for _, missing := range upstream.Missing(t.AdminFields(server), have) {
		c.fault(d, upstream.RuleFields, at("spec", "adminRef"), fmt.Sprintf("an upstream of type %s signs in with the field %s of its admin credential, and %s has none (it has: %s)",
			t.Name(), strings.Join(missing, " or "), plaintext.Show(admin), listed(have)), fixUnsealed(upstream.RuleFields, named, missing))
	}
}

// fieldsOf are the fields that a value of the secret has, in its sealed document where that is its origin; nil when that cannot
// be told.
func (v *view) fieldsOf(spec v1alpha1.ManagedSecretSpec) []string {
	if spec.Origin.Bootstrap == nil {
		return fields(spec)
	}
	document := v.bootstrap[spec.Origin.Bootstrap.SecretRef]
	if document == nil {
		return nil
	}
	return document.sealed.fields
}

// picks hold an upstream to what the host names.
func (c *checker) picks(d *document, t upstream.Type, server any) {
	if c.options.Host == nil {
		return
	}
	for _, pick := range t.Picks(server) {
		known := slices.Sorted(maps.Keys(c.options.Host.Folders))
		if pick.From == upstream.HostProgram {
			known = slices.Sorted(maps.Keys(c.options.Host.Upstreams))
		}
		if pick.Name != "" && !slices.Contains(known, pick.Name) {
			c.fault(d, "host-name", at("spec", t.Name()).to(pick.At...),
				fmt.Sprintf("the host has no %s %s (it has: %s)", pick.From, plaintext.Show(pick.Name), listed(known)), "")
		}
	}
}

// under reports faults in one part of d.
func (c *checker) under(d *document, base trail) upstream.Report {
	return func(rule string, where upstream.Trail, reason string) {
		c.fault(d, rule, base.to(where...), reason, "")
	}
}

// accountOf checks that the account given is of the upstream's type, and then its form.
func (c *checker) accountOf(v *view, d *document, spec v1alpha1.RotationSpec) {
	t := at("spec", "rotation")
	accounts := names(c.types.Given(spec.Account))
	if spec.UpstreamRef == "" {
		for _, name := range accounts {
			c.fault(d, "account-kind", t.to(name), "an account is given, and no upstream", "")
		}
		return
	}
	if v.upstream[spec.UpstreamRef] == nil {
		c.missing(d, "upstream-dangling", t.to("upstreamRef"), "there is no Upstream "+plaintext.Show(spec.UpstreamRef))
		return
	}
	k, server := c.serverOf(v, spec)
	if k == nil {
		return // reported at the upstream
	}
	name := k.Name()
	for _, other := range accounts {
		if other != name {
			c.fault(d, "account-kind", t.to(other), fmt.Sprintf("the upstream is of type %s, and an account of type %s is given", name, other), "")
		}
	}
	account := accountDefaults(c.types, spec).Account[name]
	switch {
	case account != nil:
		k.CheckAccount(server, account, c.under(d, t.to(name)))
	case !k.AccountOptional():
		c.fault(d, "account-kind", t, fmt.Sprintf("the upstream is of type %s, and no %s account is given", name, name), "")
		return
	}
	if k.Interrupts(server, account) && !spec.AllowInterruption {
		c.fault(d, "account-interrupts", t, "rotating this account refuses sign-ins for a moment, and allowInterruption: true is not set", "")
	}
}

// serverOf is the type of the upstream that spec names, with its parameters; nil when there is none.
func (c *checker) serverOf(v *view, spec v1alpha1.RotationSpec) (t upstream.Type, server any) {
	d := v.upstream[spec.UpstreamRef]
	if d == nil {
		return nil, nil
	}
	given := d.value.(*v1alpha1.Upstream).Spec.Server
	types := c.types.Given(given)
	if len(types) == 0 {
		return nil, nil
	}
	return types[0], types[0].Defaults(given[types[0].Name()])
}

// accountRules find two secrets on one account. Accounts are the server's, whichever Upstream document names it.
func (c *checker) accountRules(v *view) {
	taken := newClaims()
	for _, d := range v.secrets {
		rotation := d.value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil {
			continue
		}
		t, server := c.serverOf(v, *rotation)
		if t == nil {
			continue
		}
		account := accountDefaults(c.types, *rotation).Account[t.Name()]
		if account == nil && !t.AccountOptional() {
			continue
		}
		owned := t.Claims(server, account)
		slices.Sort(owned)
		for _, one := range slices.Compact(owned) {
			if first := taken.claim(t.Name()+":"+one, d); first != nil {
				c.fault(d, "account-shared", at("spec", "rotation", t.Name()),
					fmt.Sprintf("%s belongs to the secret at %s", plaintext.Show(one), first.position()), "")
			}
		}
	}
}
