// SPDX-License-Identifier: Apache-2.0

// Package kube finds secrets in manifests of Kubernetes, in the values and templates of Helm charts, in the generators of
// Kustomize, and in the custom resources by which operators bring secrets: SealedSecret, ExternalSecret, PushSecret,
// SecretStore, VaultStaticSecret.
//
// Nothing is rendered: templates of Helm are read as far as their text without actions is YAML, and overlays of Kustomize are
// not applied. Not guaranteed: that a Secret whose name a template computes is found to be the one that a workload uses.
package kube

import (
	"bytes"
	"encoding/json"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/expiry"
	"custody.dev/custody/internal/lazyregexp"
)

// Readers are those of all files that end up in a cluster.
func Readers() []clue.Reader {
	return []clue.Reader{
		{Source: "kubernetes", Wants: manifests, Read: readManifests},
		{Source: "helm", Wants: isValues, Read: readValues},
		{Source: "kustomize", Wants: isKustomization, Read: readKustomization},
	}
}

func isYAML(f *clue.File) bool { return f.Ext() == ".yaml" || f.Ext() == ".yml" }

func manifests(f *clue.File) bool {
	return (isYAML(f) || f.Ext() == ".json") && bytes.Contains(f.Data, []byte("apiVersion")) && bytes.Contains(f.Data, []byte("kind")) && !isKustomization(f)
}

// object is one resource.
type object struct {
	f               *clue.File
	found           clue.Found
	doc             *clue.Node
	source          string
	kind, namespace string
	name, team      string
	// chart is the folder of the Helm chart whose template this is, "" for a plain manifest.
	chart string
}

func readManifests(f *clue.File, found clue.Found) bool {
	understood := false
	for _, doc := range f.Docs() {
		for _, doc := range append(doc.Get("items").Items(), doc) {
			if doc.Get("kind").Text() == "" || doc.Get("apiVersion").Text() == "" || doc.Get("sops", "mac") != nil {
				continue
			}
			understood = true
			read(f, doc, found)
		}
	}
	return understood
}

func read(f *clue.File, doc *clue.Node, found clue.Found) {
	o := object{f: f, found: found, doc: doc, source: "kubernetes", kind: doc.Get("kind").Text(), name: doc.Get("metadata", "name").Text(),
		namespace: doc.Get("metadata", "namespace").Text()}
	if at := strings.Index("/"+f.Path, "/templates/"); at >= 0 && bytes.Contains(f.Data, []byte("{{")) {
		o.source, o.chart = "helm", strings.TrimPrefix(f.Path[:max(at-1, 0)], "/")
		if o.namespace != "" && strings.Contains(o.namespace, "{{") {
			o.namespace = ""
		}
	}
	for _, label := range []string{"team", "owner", "app.kubernetes.io/team"} {
		if team := doc.Get("metadata", "labels", label).Text(); team != "" {
			o.team = team
		}
	}
	switch o.kind {
	case "List":
	case "Secret":
		o.secret()
	case "ConfigMap":
		o.configMap()
	case "SealedSecret":
		o.source = "sealed-secrets"
		if o.team == "" {
			o.team = doc.Get("spec", "template", "metadata", "labels", "team").Text()
		}
		doc.Get("spec", "encryptedData").Pairs(func(key string, v *clue.Node) {
			o.tell(clue.Clue{Role: clue.Sealed, Name: o.name + "/" + key, Line: v.At(), Keys: []string{o.key(o.name, key)}, Why: "encrypted for the sealed-secrets controller"}, key)
		})
	case "ExternalSecret", "ClusterExternalSecret", "PushSecret", "SecretStore", "ClusterSecretStore":
		o.source = "external-secrets"
		o.external()
	case "VaultStaticSecret", "VaultDynamicSecret", "VaultPKISecret", "VaultAuth":
		o.source = "vault-operator"
		o.vault()
	default:
		o.references(doc, 0)
		o.literals()
	}
}

// key is that of a field of a Secret in the namespace of the object.
func (o object) key(name, field string) string { return clue.KubeKey(o.namespace, name, field) }

func (o object) tell(c clue.Clue, env string) {
	c.Source, c.Team = o.source, o.team
	if c.Role == clue.Holds || c.Role == clue.Sealed || c.Role == clue.Names {
		if clue.EnvName(env) {
			c.Env = env
		}
	}
	o.found(c)
}

func (o object) by() string { return o.kind + " " + strings.ReplaceAll(o.name, "{{", "") }

// secret reads a Secret: everything in it is secret but names, addresses and certificates.
func (o object) secret() {
	texts := map[string]string{}
	lines := map[string]int{}
	o.doc.Get("data").Pairs(func(key string, v *clue.Node) {
		if text, ok := clue.Decoded(v.Text()); ok {
			texts[key], lines[key] = text, v.At()
		} else {
			o.templated(key, v)
		}
	})
	o.doc.Get("stringData").Pairs(func(key string, v *clue.Node) {
		if strings.Contains(v.Text(), "{{") {
			o.templated(key, v)
			return
		}
		texts[key], lines[key] = v.Text(), v.At()
	})
	for key, text := range texts {
		switch {
		case key == ".dockerconfigjson":
			text = registryPassword(text)
		case strings.Contains(text, "\n") && !strings.Contains(text, "-----BEGIN"):
			if o.embedded(o.name, text, lines[key]) {
				continue
			}
		}
		value, kind, why, ok := clue.Held(key, text, true)
		if !ok {
			continue
		}
		if why == "" {
			why = "a field of a Secret"
		}
		c := clue.Clue{Role: clue.Holds, Name: o.name + "/" + key, Line: lines[key], Kind: kind, Why: why, Value: clue.Text(value), Keys: []string{o.key(o.name, key)}}
		if stem, is := strings.CutSuffix(key, ".key"); is {
			c.Kind = "TLS key"
			c.End = expiry.Of(clue.Text(texts[stem+".crt"]))
		}
		o.tell(c, key)
	}
}

// registryPassword is the password in a file of registries, or the whole of the file.
func registryPassword(text string) string {
	var file struct {
		Auths map[string]struct {
			Password string `json:"password"`
			Auth     string `json:"auth"`
		} `json:"auths"`
	}
	if json.Unmarshal([]byte(text), &file) != nil {
		return text
	}
	for _, registry := range file.Auths {
		if registry.Password != "" {
			return registry.Password
		}
		if plain, ok := clue.Decoded(registry.Auth); ok {
			if _, password, has := strings.Cut(plain, ":"); has {
				return password
			}
		}
	}
	return text
}

var (
	property = lazyregexp.New(`^\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*["']?(.*?)["']?\s*,?$`)
	values   = lazyregexp.New(`\.Values\.([A-Za-z0-9_.]+)`)
	makers   = lazyregexp.New(`\b(randAlphaNum|randAlpha|randAscii|randNumeric|randBytes|genPrivateKey|genSelfSignedCert|genCA|genSignedCert|derivePassword|htpasswd|bcrypt|uuidv4)\b`)
	kubeName = lazyregexp.New(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	option   = lazyregexp.New(`^--?([A-Za-z][A-Za-z0-9.-]*)=(.+)$`)
)

// embedded reads a file within a field, line by line, and reports whether it has secrets.
func (o object) embedded(name, text string, line int) bool {
	told := false
	for i, row := range strings.Split(text, "\n") {
		parts := property.FindStringSubmatch(row)
		if parts == nil {
			continue
		}
		if value, kind, why, ok := clue.Held(parts[1], parts[2], false); ok {
			told = true
			if why == "" {
				why = "the name of the setting"
			}
			full := name + "/" + parts[1]
			o.tell(clue.Clue{Role: clue.Holds, Name: full, Line: line + i + 1, Kind: kind, Why: why + ", in a file within the " + o.kind, Value: clue.Text(value),
				Keys: []string{clue.FileKey(o.f.Path, full)}}, parts[1])
		}
	}
	return told
}

// templated reads a field whose value a template of Helm fills in.
func (o object) templated(key string, v *clue.Node) {
	name := simplified(o.name) + "/" + key
	if match := makers.FindStringSubmatch(v.Text()); match != nil {
		o.tell(clue.Clue{Role: clue.Makes, Name: name, Line: v.At(), Keys: []string{clue.FileKey(o.f.Path, name)},
			Why: "the template makes a new value with " + match[1] + " each time it is rendered, unless it looks up the old one"}, "")
		return
	}
	for _, match := range values.FindAllStringSubmatch(v.Text(), -1) {
		o.tell(clue.Clue{Role: clue.Uses, Name: match[1], Line: v.At(), By: "Secret " + simplified(o.name), Why: "the template puts this value into a Secret",
			Keys: []string{"helm:" + o.chart + "#" + match[1]}}, "")
	}
}

// simplified is a name with * for what a template computes.
func simplified(name string) string {
	if at := strings.Index(name, "{{"); at >= 0 {
		end := strings.LastIndex(name, "}}")
		return name[:at] + "*" + name[max(end+2, at):]
	}
	return name
}

func (o object) configMap() {
	o.doc.Get("data").Pairs(func(key string, v *clue.Node) {
		if strings.Contains(v.Text(), "\n") && !strings.Contains(v.Text(), "-----BEGIN") {
			o.embedded(o.name, v.Text(), v.At())
			return
		}
		o.literal(o.name, key, v.Text(), v.At(), "the name of the field")
	})
}

func (o object) literal(name, last, text string, line int, why string) {
	value, kind, because, ok := clue.Held(last, text, false)
	if !ok {
		return
	}
	if because != "" {
		why = because
	}
	full := name + "/" + last
	o.tell(clue.Clue{Role: clue.Holds, Name: full, Line: line, By: o.by(), Kind: kind, Why: why + ", in a " + o.kind, Value: clue.Text(value),
		Keys: []string{clue.FileKey(o.f.Path, full)}}, last)
}
