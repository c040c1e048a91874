// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

func isValues(f *clue.File) bool {
	return isYAML(f) && (strings.HasPrefix(f.Base(), "values") || strings.HasSuffix(strings.TrimSuffix(f.Base(), f.Ext()), "-values") || strings.HasSuffix(strings.TrimSuffix(f.Base(), f.Ext()), ".values"))
}

// readValues reads values of a Helm chart.
func readValues(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		if doc.Get("sops", "mac") != nil {
			continue
		}
		doc.Leaves(func(path []string, leaf *clue.Node) {
			if len(path) == 0 || leaf.Text() == "" {
				return
			}
			name, last := clue.Dotted(path), path[len(path)-1]
			if parts := option.FindStringSubmatch(leaf.Text()); parts != nil {
				last = parts[1]
			}
			if named := last == "existingSecret" || last == "secretName" || namesSecret(last, leaf.Text()); named && kubeName.MatchString(leaf.Text()) {
				found(clue.Clue{Source: "helm", Role: clue.Uses, Name: leaf.Text() + "/*", Line: leaf.Line, By: "chart " + f.Dir(), Why: "the name of a Secret that the chart uses",
					Set: clue.KubeKey("", leaf.Text(), "")})
				return
			}
			value, kind, why, ok := clue.Held(last, leaf.Text(), false)
			if !ok {
				return
			}
			if why == "" {
				why = "the name of the value"
			}
			c := clue.Clue{Source: "helm", Role: clue.Holds, Name: name, Line: leaf.Line, Kind: kind, Why: why, Value: clue.Text(value), Keys: []string{clue.FileKey(f.Path, name)}}
			if f.Base() == "values.yaml" {
				c.Keys = append(c.Keys, "helm:"+f.Dir()+"#"+name)
			}
			if clue.EnvName(last) {
				c.Env = last
			}
			found(c)
		})
	}
	return true
}

func isKustomization(f *clue.File) bool {
	return f.Base() == "kustomization.yaml" || f.Base() == "kustomization.yml" || f.Base() == "Kustomization"
}

// readKustomization reads the generators of a kustomization.
func readKustomization(f *clue.File, found clue.Found) bool {
	for _, doc := range f.Docs() {
		namespace := doc.Get("namespace").Text()
		for _, kind := range []string{"secretGenerator", "configMapGenerator"} {
			for _, item := range doc.Get(kind).Items() {
				generate(f, item, kind == "secretGenerator", namespace, found)
			}
		}
	}
	return true
}

func generate(f *clue.File, n *clue.Node, secret bool, namespace string, found clue.Found) {
	name := n.Get("name").Text()
	if own := n.Get("namespace").Text(); own != "" {
		namespace = own
	}
	for _, item := range n.Get("literals").Items() {
		key, text, _ := strings.Cut(item.Text(), "=")
		value, kind, why, ok := clue.Held(key, strings.Trim(text, `"'`), secret)
		if !ok {
			continue
		}
		if why == "" {
			why = "a literal of a generator"
		}
		c := clue.Clue{Source: "kustomize", Role: clue.Holds, Name: name + "/" + key, Line: item.At(), Kind: kind, Why: why, Value: clue.Text(value),
			Keys: []string{clue.KubeKey(namespace, name, key), clue.FileKey(f.Path, name+"/"+key)}}
		if clue.EnvName(key) {
			c.Env = key
		}
		found(c)
	}
	if !secret {
		return
	}
	for _, kind := range []string{"envs", "files"} {
		for _, item := range n.Get(kind).Items() {
			field, file, has := strings.Cut(item.Text(), "=")
			if !has {
				file = field
			}
			within := f.Within(file)
			if within == "" {
				continue
			}
			c := clue.Clue{Source: "kustomize", Role: clue.Uses, Name: within, Line: item.At(), By: "Secret " + name, Set: clue.FileKey(within, ""), Why: "a generator makes a Secret of the file"}
			found(c)
		}
	}
}
