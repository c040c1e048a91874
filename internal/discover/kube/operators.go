// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"custody.dev/custody/internal/discover/clue"
)

// external reads the custom resources of the External Secrets Operator.
func (o object) external() {
	spec := o.doc.Get("spec")
	if o.kind == "ClusterExternalSecret" {
		spec = spec.Get("externalSecretSpec")
	}
	switch o.kind {
	case "SecretStore", "ClusterSecretStore":
		o.references(spec, 0)
		return
	case "PushSecret":
		name := spec.Get("selector", "secret", "name").Text()
		for _, item := range spec.Get("data").Items() {
			field := item.Get("match", "secretKey").Text()
			remote := item.Get("match", "remoteRef")
			c := clue.Clue{Role: clue.Uses, Name: name + "/" + field, Line: item.At(), By: o.by(), Why: "pushed to " + remote.Get("remoteKey").Text() + " of a store",
				Keys: []string{o.key(name, field), "remote:" + remote.Get("remoteKey").Text() + "#" + remote.Get("property").Text()}}
			if field == "" {
				c.Name, c.Keys, c.Set = name+"/*", nil, o.key(name, "")
			}
			o.tell(c, "")
		}
		return
	}
	target := spec.Get("target", "name").Text()
	if target == "" {
		target = o.name
	}
	store := spec.Get("secretStoreRef", "name").Text()
	for _, item := range spec.Get("data").Items() {
		field, remote := item.Get("secretKey").Text(), item.Get("remoteRef")
		o.tell(clue.Clue{Role: clue.Names, Name: target + "/" + field, Line: item.At(), Why: "fetched from " + remote.Get("key").Text() + " of store " + store,
			Keys: []string{o.key(target, field), "remote:" + remote.Get("key").Text() + "#" + remote.Get("property").Text()}}, field)
	}
	for _, item := range spec.Get("dataFrom").Items() {
		from := item.Get("extract", "key").Text()
		if from == "" {
			from = item.Get("find", "path").Text()
		}
		why := "all of " + from + " of store " + store
		if generator := item.Get("sourceRef", "generatorRef", "kind").Text(); generator != "" {
			why = "made by a generator, " + generator
		}
		o.tell(clue.Clue{Role: clue.Names, Name: target + "/*", Line: item.At(), Why: why, Set: o.key(target, "")}, "")
	}
}

// vault reads the custom resources of the Vault Secrets Operator.
func (o object) vault() {
	spec := o.doc.Get("spec")
	name := spec.Get("destination", "name").Text()
	if name == "" {
		o.references(spec, 0)
		return
	}
	o.tell(clue.Clue{Role: clue.Names, Name: name + "/*", Line: o.doc.At(), Set: o.key(name, ""),
		Why: "fetched from " + spec.Get("mount").Text() + "/" + spec.Get("path").Text() + " of Vault"}, "")
}
