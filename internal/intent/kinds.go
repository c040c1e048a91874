// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// adminNeed says whether a type of upstream wants an adminRef.
type adminNeed int

const (
	adminOptional adminNeed = iota
	adminNeeded
	adminNone
)

// report notes a fault; at is relative to the parameters of the type.
type report func(rule string, at trail, reason string)

// kind is what the rules know of one type of upstream. Each has a file of its own. Functions that are nil have nothing
// to check; those that check are given documents with their defaults applied, and are not called without parameters.
type kind struct {
	// name is the key of its parameters, in an Upstream and in rotation.
	name  string
	admin adminNeed
	// serverDefaults and accountDefaults fill in what may be left out, in a copy that they put in place.
	serverDefaults  func(*v1alpha1.UpstreamSpec)
	accountDefaults func(*v1alpha1.RotationSpec)
	// server checks the form of the upstream's parameters, account that of the account's.
	server  func(v1alpha1.UpstreamSpec, report)
	account func(v1alpha1.UpstreamSpec, v1alpha1.RotationSpec, report)
	// accountOptional: rotation may leave the parameters out.
	accountOptional bool
	// interrupts reports whether rotating the account refuses sign-ins for a moment; nil means never.
	interrupts func(v1alpha1.RotationSpec) bool
	// endpoints lists where credentials are sent, each with how the server is identified; see Endpoints.
	endpoints func(v1alpha1.UpstreamSpec) []string
	// claims lists what belongs to this secret alone, each with its server (see claimsAt).
	claims func(v1alpha1.UpstreamSpec, v1alpha1.RotationSpec) []string
}

// allKinds lists every type of upstream.
func allKinds() []kind {
	return []kind{
		postgresKind(), mysqlKind(), redisKind(), rabbitmqKind(), ldapKind(), mailKind(),
		httpKind(), oidcKind(), githubKind(), awsKind(), minioKind(), execKind(),
	}
}

func findKind(name string) kind {
	kinds := allKinds()
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

// claimsAt names each part of a server that belongs to one secret.
func claimsAt(server string, parts ...string) []string {
	var out []string
	for _, part := range parts {
		if part != "" {
			out = append(out, server+"/"+part)
		}
	}
	return out
}

// given lists the YAML keys of the pointers that are set in a union.
func given(union any) []string {
	v := reflect.ValueOf(union)
	var out []string
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, name)
		}
	}
	return out
}

// TypeOf returns the type of an upstream, "" when it has none.
func TypeOf(spec v1alpha1.UpstreamSpec) string {
	if types := given(spec); len(types) > 0 {
		return types[0]
	}
	return ""
}

func upstreamDefaults(spec v1alpha1.UpstreamSpec) v1alpha1.UpstreamSpec {
	if name := TypeOf(spec); name != "" && findKind(name).serverDefaults != nil {
		findKind(name).serverDefaults(&spec)
	}
	return spec
}

func accountDefaults(spec v1alpha1.RotationSpec) v1alpha1.RotationSpec {
	for _, name := range given(spec.Account) {
		if k := findKind(name); k.accountDefaults != nil {
			k.accountDefaults(&spec)
		}
	}
	return spec
}

// upstreamRules check one upstream.
func (c *checker) upstreamRules(v *view, d *document) {
	spec := d.value.(*v1alpha1.Upstream).Spec
	types := given(spec)
	if len(types) != 1 {
		if lookup(d.root, at("spec")) != nil {
			reason := "the upstream has no type"
			if len(types) > 1 {
				reason = "the upstream has several types: " + strings.Join(types, ", ")
			}
			c.fault(d, "upstream-type", at("spec"), reason, "")
		}
		return
	}
	k := findKind(types[0])
	switch {
	case spec.AdminRef == "" && k.admin == adminNeeded:
		c.fault(d, "admin-needed", at("spec"), "an upstream of type "+k.name+" without an adminRef", "")
	case spec.AdminRef != "" && k.admin == adminNone:
		c.fault(d, "admin-needed", at("spec", "adminRef"), "an upstream of type "+k.name+" has no use for an adminRef", "")
	case spec.AdminRef != "" && v.secret[spec.AdminRef] == nil:
		c.missing(d, "admin-dangling", at("spec", "adminRef"), "there is no ManagedSecret "+show(spec.AdminRef))
	}
	if k.server != nil {
		k.server(upstreamDefaults(spec), c.under(d, at("spec", k.name)))
	}
	c.programRule(d, spec)
	c.mailFolderRule(d, spec)
}

// under reports faults in one part of d.
func (c *checker) under(d *document, base trail) report {
	return func(rule string, where trail, reason string) { c.fault(d, rule, base.to(where...), reason, "") }
}

// accountOf checks that the account given is of the upstream's type, and then its form.
func (c *checker) accountOf(v *view, d *document, spec v1alpha1.RotationSpec) {
	t := at("spec", "rotation")
	accounts := given(spec.Account)
	if spec.UpstreamRef == "" {
		for _, name := range accounts {
			c.fault(d, "account-kind", t.to(name), "an account is given, and no upstream", "")
		}
		return
	}
	upstream := v.upstream[spec.UpstreamRef]
	if upstream == nil {
		c.missing(d, "upstream-dangling", t.to("upstreamRef"), "there is no Upstream "+show(spec.UpstreamRef))
		return
	}
	server := upstreamDefaults(upstream.value.(*v1alpha1.Upstream).Spec)
	name := TypeOf(server)
	if name == "" {
		return // reported at the upstream
	}
	k, own := findKind(name), false
	for _, other := range accounts {
		if other == name {
			own = true
			continue
		}
		c.fault(d, "account-kind", t.to(other), fmt.Sprintf("the upstream is of type %s, and an account of type %s is given", name, other), "")
	}
	spec = accountDefaults(spec)
	switch {
	case own:
		if k.account != nil {
			k.account(server, spec, c.under(d, t.to(name)))
		}
	case !k.accountOptional:
		c.fault(d, "account-kind", t, fmt.Sprintf("the upstream is of type %s, and no %s account is given", name, name), "")
		return
	}
	if k.interrupts != nil && k.interrupts(spec) && !spec.AllowInterruption {
		c.fault(d, "account-interrupts", t, "rotating this account refuses sign-ins for a moment, and allowInterruption: true is not set", "")
	}
}

// accountRules find two secrets on one account. Accounts are the server's, whichever Upstream document names it.
func (c *checker) accountRules(v *view) {
	taken := newClaims()
	for _, d := range v.secrets {
		rotation := d.value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil || v.upstream[rotation.UpstreamRef] == nil {
			continue
		}
		server := upstreamDefaults(v.upstream[rotation.UpstreamRef].value.(*v1alpha1.Upstream).Spec)
		name := TypeOf(server)
		if name == "" || findKind(name).claims == nil {
			continue
		}
		if k := findKind(name); k.accountOptional || slices.Contains(given(rotation.Account), name) {
			owned := k.claims(server, accountDefaults(*rotation))
			slices.Sort(owned)
			for _, one := range slices.Compact(owned) {
				if first := taken.claim(name+":"+one, d); first != nil {
					c.fault(d, "account-shared", at("spec", "rotation", name),
						fmt.Sprintf("%s belongs to the secret at %s", show(one), first.position()), "")
				}
			}
		}
	}
}
