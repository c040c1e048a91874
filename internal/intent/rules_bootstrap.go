// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
)

// bootstrapRules check the encrypted documents, as far as that goes without a key.
func (c *checker) bootstrapRules(v *view) {
	for _, d := range v.bootstraps {
		document := d.value.(*v1alpha1.BootstrapSecret)
		c.seedRules(v, d, document.Spec.Seeds)
		if d.siblings > 1 {
			c.fault(d, "sops-alone", nil, "there are other documents in the file", "")
		}
		for _, f := range d.sealed.faults {
			c.faults.add(f)
		}
		if len(document.Sops) > 0 {
			c.sopsRules(v, d, document.Sops)
		}
	}
}

// sealedForm is what the nodes of an encrypted document tell that its decoded form does not.
type sealedForm struct {
	// faults are what is wrong with how it is encrypted and ordered; of very many, the first.
	faults []Fault
	// fields are those of the value.
	fields []string
}

func (r *reader) sealedForm(d *document, n *yaml.Node) *sealedForm {
	form := &sealedForm{}
	c := sealedChecker{func(rule string, t trail, reason string) {
		if m := r.find(d, t); len(form.faults) <= maxFileFaults {
			form.faults = append(form.faults, Fault{File: d.file, Line: m.line, Column: m.column, Rule: rule, Subject: d.subject(), Reason: reason})
		}
	}}
	if data := lookup(n, at("data")); data != nil {
		c.encryptedRules(data, at("data"))
	}
	c.orderRules(n)
	if values := lookup(n, at("data", "values")); values != nil && values.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(values.Content); i += 2 {
			if name := values.Content[i].Value; fieldForm.MatchString(name) {
				form.fields = append(form.fields, name)
			}
		}
	}
	return form
}

// sealedChecker applies the rules that look at the nodes of an encrypted document.
type sealedChecker struct {
	report func(rule string, t trail, reason string)
}

// seedRules want the document and its secret to name each other.
func (c *checker) seedRules(v *view, d *document, name string) {
	if name == "" {
		return
	}
	t := at("spec", "seeds")
	target := v.secret[name]
	if target == nil {
		c.missing(d, "bootstrap-seeds", t, "there is no ManagedSecret "+plaintext.Show(name))
		return
	}
	var named *document
	if origin := target.value.(*v1alpha1.ManagedSecret).Spec.Origin.Bootstrap; origin != nil {
		named = v.bootstrap[origin.SecretRef]
	}
	switch {
	case named == d:
	case named != nil && named.value.(*v1alpha1.BootstrapSecret).Spec.Seeds == name:
		c.fault(d, "bootstrap-twice", t, "the secret is seeded by the document at "+named.position()+" already", "")
	default:
		c.fault(d, "bootstrap-seeds", t, "the secret at "+target.position()+" does not name this document as its origin", "")
	}
}

// encryptedRules want every scalar below data encrypted. SOPS leaves an empty string as it is: that it is empty shows.
func (c sealedChecker) encryptedRules(n *yaml.Node, t trail) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			c.encryptedRules(n.Content[i+1], t.to(n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			c.encryptedRules(item, t.to(i))
		}
	case yaml.ScalarNode:
		switch of := plaintext.EncryptedType(n.Value); {
		case n.Value == "" && textual(n):
		case of == "":
			c.report("sops-plaintext", t, t.describe()+" is not encrypted")
		case of != "str":
			c.report("sops-type", t, fmt.Sprintf("%s decrypts to type %s, not to text", t.describe(), of))
		}
	}
}

// orderRules want keys sorted at the top and wherever SOPS's MAC covers them. SOPS itself writes its metadata last.
func (c sealedChecker) orderRules(root *yaml.Node) {
	c.sorted(root, nil, "sops")
	var below func(n *yaml.Node, t trail)
	below = func(n *yaml.Node, t trail) {
		c.sorted(n, t, "")
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			below(n.Content[i+1], t.to(n.Content[i].Value))
		}
	}
	if data := lookup(root, at("data")); data != nil {
		below(data, at("data"))
	}
}

func (c sealedChecker) sorted(n *yaml.Node, t trail, except string) {
	last := ""
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if key == except {
			continue
		}
		if key < last {
			c.report("sops-order", t.to(key), fmt.Sprintf("%s stands after %s", plaintext.Plain(key), plaintext.Plain(last)))
			return
		}
		last = key
	}
}

// otherKeys are the ways besides age by which SOPS could let somebody decrypt.
var otherKeys = []string{"kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp", "key_groups"}

// sopsRules check SOPS's metadata: who can decrypt, and what the MAC covers.
func (c *checker) sopsRules(v *view, d *document, sops map[string]any) {
	t := at("sops")
	if mac, _ := sops["mac"].(string); plaintext.EncryptedType(mac) == "" {
		c.fault(d, "sops-mac", t.to("mac"), "there is no encrypted MAC", "")
	}
	if only, _ := sops["mac_only_encrypted"].(bool); !only {
		c.fault(d, "sops-mac", t.to("mac_only_encrypted"), "mac_only_encrypted is not true", "")
	}
	for _, key := range otherKeys {
		if list, ok := sops[key].([]any); sops[key] != nil && (!ok || len(list) > 0) {
			c.fault(d, "sops-foreign", t.to(key), "somebody else may decrypt it, by "+key, "")
		}
	}
	if v.platform == nil {
		return
	}
	var have []string
	list, _ := sops["age"].([]any)
	for _, item := range list {
		entry, _ := item.(map[string]any)
		recipient, _ := entry["recipient"].(string)
		have = append(have, recipient)
	}
	platform := v.platform.value.(*v1alpha1.Platform).Spec
	allowed := slices.Clone(platform.RootRecipients)
	for i, recipient := range platform.RootRecipients {
		if !slices.Contains(have, recipient) {
			c.fault(d, "sops-recipients", t.to("age"), fmt.Sprintf("root recipient number %d cannot decrypt it", i+1), "")
		}
	}
	// One environment that can read it is enough: where another one cannot, its handover waits there.
	var barred []string
	for _, environment := range platform.Environments {
		if recipient, ok := platform.BootstrapRecipients[environment]; ok {
			allowed = append(allowed, recipient)
			barred = append(barred, environment)
		}
	}
	reads := func(environment string) bool { return slices.Contains(have, platform.BootstrapRecipients[environment]) }
	retired := func(recipient string) bool { return slices.Contains(platform.RetiredRecipients, recipient) }
	allowed = append(allowed, platform.RetiredRecipients...)
	if !slices.ContainsFunc(barred, reads) && !slices.ContainsFunc(have, retired) {
		for _, environment := range barred {
			if c.options.Environment != "" && c.options.Environment != environment {
				continue
			}
			c.fault(d, "sops-recipients", t.to("age"), fmt.Sprintf("the bootstrap recipient of environment %s cannot decrypt it", environment), "")
		}
	}
	for i, recipient := range have {
		if !slices.Contains(allowed, recipient) {
			c.fault(d, "sops-foreign", t.to("age", i), "the platform does not know the recipient", "")
		}
	}
}
