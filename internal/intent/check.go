// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"reflect"
	"slices"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
)

// checker applies the rules that look at decoded documents.
type checker struct {
	*reader
	options Options
}

func newChecker(r *reader, options Options) *checker { return &checker{r, options} }

// view is the estate as it holds in one environment.
type view struct {
	environment string
	platform    *document
	// each in order of file and line; a name that is taken twice is kept twice.
	secrets, policies, upstreams, bootstraps []*document
	secret, policy, upstream, bootstrap      map[string]*document
}

// run applies every rule and returns the estate, nil when a rule is broken.
func (c *checker) run() *Estate {
	base := c.view("")
	c.identity(base)
	if base.platform == nil {
		c.environmentRules(base)
		return nil
	}
	if c.options.Environment != "" {
		v := c.view(c.options.Environment)
		c.environmentRules(v)
		c.overrides(base)
		return c.result(v)
	}
	c.environmentRules(base)
	c.overrides(base)
	result := c.result(base)
	for _, environment := range overridden(base) {
		sub := &checker{c.beside(c.documents), c.options}
		sub.lost = c.lost
		v := sub.view(environment)
		sub.environmentRules(v)
		if result != nil {
			sub.result(v)
		}
		c.faults.only(environment, sub.faults.sorted())
	}
	if c.faults.everywhere() {
		return nil
	}
	return result
}

// result is the estate, nil when a rule is broken or something cannot be made of it.
func (c *checker) result(v *view) *Estate {
	if c.faults.everywhere() {
		return nil
	}
	estate := build(c.types, v, c.documents)
	estate.Demands = c.demands(v)
	if c.options.Check != nil {
		for _, fault := range c.options.Check(estate) {
			c.faults.add(fault)
		}
	}
	if c.faults.everywhere() {
		return nil
	}
	return estate
}

// environmentRules are those whose answer may differ between environments.
func (c *checker) environmentRules(v *view) {
	if v.platform != nil {
		c.platformRules(v)
	}
	paths := newClaims()
	names := newClaims()
	for _, d := range v.secrets {
		c.secretRules(v, d, paths, names)
	}
	for _, d := range v.policies {
		_, problems := parsePolicy(d.value.(*v1alpha1.RotationPolicy).Spec)
		for _, p := range problems {
			c.fault(d, p.rule, p.at, p.reason, "")
		}
	}
	for _, d := range v.upstreams {
		c.upstreamRules(v, d)
	}
	c.adminCycles(v)
	c.accountRules(v)
	c.relationRules(v)
	c.derivedCycles(v)
	c.consumerRules(v)
	c.bootstrapRules(v)
	c.unsealedRules(v)
}

// view sorts the documents and merges the overrides of an environment.
func (c *checker) view(environment string) *view {
	v := &view{
		environment: environment,
		secret:      map[string]*document{}, policy: map[string]*document{},
		upstream: map[string]*document{}, bootstrap: map[string]*document{},
	}
	keep := func(list *[]*document, index map[string]*document, d *document) {
		*list = append(*list, d)
		if index[d.name] == nil {
			index[d.name] = d
		}
	}
	for _, d := range c.documents {
		switch d.kind {
		case v1alpha1.KindPlatform:
			if v.platform == nil {
				v.platform = d
			}
		case v1alpha1.KindManagedSecret:
			keep(&v.secrets, v.secret, c.merged(d, environment))
		case v1alpha1.KindRotationPolicy:
			keep(&v.policies, v.policy, d)
		case v1alpha1.KindUpstream:
			keep(&v.upstreams, v.upstream, d)
		case v1alpha1.KindBootstrapSecret:
			keep(&v.bootstraps, v.bootstrap, d)
		}
	}
	return v
}

// environments are those the platform declares, nil when it declares none that can be read.
func (v *view) environments() []string {
	if v.platform == nil {
		return nil
	}
	return v.platform.value.(*v1alpha1.Platform).Spec.Environments
}

// overridden lists the declared environments that some secret overrides.
func overridden(v *view) []string {
	var out []string
	for _, environment := range v.environments() {
		for _, d := range v.secrets {
			if _, ok := d.value.(*v1alpha1.ManagedSecret).Spec.Environments[environment]; ok && !slices.Contains(out, environment) {
				out = append(out, environment)
			}
		}
	}
	return out
}

// identity checks what documents are called, and that there is one platform.
func (c *checker) identity(v *view) {
	if len(c.documents) == 0 {
		if len(c.faults.list) == 0 {
			c.faults.add(Fault{Rule: "estate-empty", Reason: "there is no document in the folder"})
		}
		return
	}
	taken := newClaims()
	var platforms []*document
	for _, d := range c.documents {
		if ofMachine(d.kind) {
			c.fault(d, "kind-unknown", at("kind"), d.kind+" documents are not part of an estate",
				"Move it out of the estate's folder: it is the configuration of one machine.")
			continue
		}
		if d.kind == v1alpha1.KindPlatform {
			platforms = append(platforms, d)
		}
		if d.name != "" && !v1alpha1.WellNamed(d.name) {
			c.fault(d, "name-form", at("metadata", "name"), fmt.Sprintf("the name %s is not well-formed", plaintext.Show(d.name)), "")
		}
		if namespace := d.namespace(); namespace != "" && !v1alpha1.WellNamed(namespace) {
			c.fault(d, "name-form", at("metadata", "namespace"), fmt.Sprintf("the namespace %s is not well-formed", plaintext.Show(namespace)), "")
		}
		if d.kind == v1alpha1.KindPlatform || d.name == "" {
			continue
		}
		if first := taken.claim(d.kind+"/"+d.name, d); first != nil {
			c.fault(d, "name-duplicate", at("metadata", "name"), "the name is taken by "+first.position(), "")
		}
	}
	switch {
	case len(platforms) == 0 && !c.lost:
		c.faults.add(Fault{Rule: "platform-single", Reason: "there is no Platform document"})
	case len(platforms) > 1:
		for _, d := range platforms[1:] {
			c.fault(d, "platform-single", nil, "there is another Platform at "+platforms[0].position(), "")
		}
	}
	former := newClaims()
	for _, d := range v.secrets {
		for i, name := range d.value.(*v1alpha1.ManagedSecret).Spec.FormerNames {
			t := at("spec", "formerNames", i)
			switch other, first := v.secret[name], former.claim(name, d); {
			case !v1alpha1.WellNamed(name):
				c.fault(d, "name-form", t, fmt.Sprintf("the former name %s is not well-formed", plaintext.Show(name)), "")
			case other != nil:
				c.fault(d, "former-name", t, fmt.Sprintf("the former name %s is the name of the secret at %s", plaintext.Show(name), other.position()), "")
			case first != nil:
				c.fault(d, "former-name", t, fmt.Sprintf("the former name %s is claimed at %s too", plaintext.Show(name), first.position()), "")
			}
		}
	}
}

// overrides checks what overrides may say at all.
func (c *checker) overrides(v *view) {
	for _, d := range v.secrets {
		for environment, patch := range d.value.(*v1alpha1.ManagedSecret).Spec.Environments {
			t := at("spec", "environments", environment)
			if !slices.Contains(v.environments(), environment) {
				c.fault(d, "override-environment", t, fmt.Sprintf("the platform has no environment %s", plaintext.Show(environment)), "")
			}
			for _, fixed := range []string{"path", "class", "origin", "formerNames", "environments"} {
				if _, ok := patch[fixed]; ok {
					c.fault(d, "override-fixed", t.to(fixed), fixed+" is the same in every environment", "")
				}
			}
		}
	}
}

// namespace is what the document says of its own.
func (d *document) namespace() string {
	return reflect.ValueOf(d.value).Elem().FieldByName("Header").Interface().(v1alpha1.Header).Metadata.Namespace
}

// position is FILE:LINE of a document.
func (d *document) position() string { return fmt.Sprintf("%s:%d", d.file, d.line) }

// claims remembers who took a name first.
type claims struct{ by map[string]*document }

func newClaims() *claims { return &claims{map[string]*document{}} }

// claim returns whoever took key before, nil when d is the first.
func (c *claims) claim(key string, d *document) *document {
	if first, ok := c.by[key]; ok {
		return first
	}
	c.by[key] = d
	return nil
}
