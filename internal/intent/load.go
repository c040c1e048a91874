// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream"
)

const (
	// maxFile bounds one file of an estate.
	maxFile = 1 << 20
	// maxEstate bounds its documents together, in bytes: about 120,000 secrets with a consumer each.
	maxEstate = 64 << 20
	// maxValues bounds the keys, texts, lists and mappings in them, of which such a secret has about fifty. Each takes up to a
	// hundred bytes of memory.
	maxValues = 6_400_000
	// maxFaults bounds what is said to be wrong, but for one fault more in each file, and maxFileFaults what of that is in one.
	maxFaults     = 10_000
	maxFileFaults = 1_000
)

// bounds are how much an estate may have: bytes in its files, and values in its documents.
type bounds struct{ bytes, values int }

func largest() bounds { return bounds{maxEstate, maxValues} }

// Options say for whom an estate is loaded.
type Options struct {
	// Environment chooses the overrides that are merged. With "" the estate holds what is declared without any, and the
	// rules are applied to every environment in turn.
	Environment string
	// Host is the host that will run the estate; nil leaves out the rules that need one.
	Host *v1alpha1.HostSpec
	// Types are the types of upstream that documents may name.
	Types upstream.Types
	// Privileged says that the host's process may change the owner of files. It counts only with a Host.
	Privileged bool
	// Check says what the rules cannot: what cannot be made of an estate in which none is broken. Nil says nothing.
	Check func(*Estate) []Fault
	// At is when newest forms that do not fit are found; see Older.
	At time.Time
	// Keeps reports whether a secret that the newest estate does not declare stays in force as it was declared before: something
	// of it may be in force outside. Nil keeps none.
	Keeps func(secret string, path authority.Path) bool
	// Runs reports whether a rotation of a secret is under way, which needs the upstream that it began at. Nil where Keeps is.
	Runs func(secret string, path authority.Path) bool
}

// valuesIn counts n and what is in it.
func valuesIn(n *yaml.Node) int {
	count := 1
	for _, part := range n.Content {
		count += valuesIn(part)
	}
	return count
}

// document is one YAML document of a known kind, decoded as far as it could be. Its nodes are let go; see trees.
type document struct {
	file         string
	line, column int
	kind, name   string
	// value points to the API type.
	value any
	// raw is the whole file.
	raw []byte
	// number is the document's among those of the file, which siblings counts, and index is the file's in Files.
	number, siblings, index int
	// override is the environment whose override is merged into value, "" without one.
	override string
	// hasSpec and hasOrigin say that spec and spec.origin are written, whatever they say.
	hasSpec, hasOrigin bool
	// sealed is what the nodes alone tell of a BootstrapSecret.
	sealed *sealedForm
	// leaving: it is a form before, of a secret that the newest estate does not declare.
	leaving bool
	// finishing: it is a form before, of a secret whose run needs the upstream that it names.
	finishing bool
}

// subject names the document in faults; a name that is not well-formed could be anything and is left out.
func (d *document) subject() string {
	if v1alpha1.WellNamed(d.name) && plaintext.Plain(d.name) == d.name {
		return d.kind + "/" + d.name
	}
	return d.kind
}

// reader turns files into documents.
type reader struct {
	documents []*document
	faults    *faults
	types     upstream.Types
	shapes    map[reflect.Type][]field
	words     words
	trees     *trees
	// own is the kind of the one document that a machine has in the file, "" where the file is one of an estate.
	own string
	// lost says that some document could not be taken in: what others refer to may have been in it.
	lost bool
	// values were read so far, of which no more than mostValues are taken; full says that the estate has too many of something, and
	// that no more is read.
	values, mostValues int
	full               bool
}

// fill notes that the estate is larger than its bounds. What was read is let go.
func (r *reader) fill(reason string) {
	r.full, r.lost, r.documents = true, true, nil
	r.faults.add(Fault{Rule: "estate-too-large", Reason: reason})
}

func newReader(types upstream.Types) *reader {
	return &reader{faults: newFaults(), types: types, shapes: map[reflect.Type][]field{}, trees: newTrees(), mostValues: maxValues}
}

// beside is a reader for other documents, which has faults of its own.
func (r *reader) beside(documents []*document) *reader {
	return &reader{documents: documents, faults: newFaults(), types: r.types, shapes: r.shapes, trees: r.trees}
}

func (r *reader) file(rule, name, reason, fix string) {
	r.lost = true
	r.faults.add(Fault{File: name, Rule: rule, Reason: reason, Fix: fix})
}

// read takes in one file.
func (r *reader) read(name string, data []byte) {
	switch {
	case len(data) > maxFile:
		r.file("file-too-large", name, fmt.Sprintf("more than %d bytes", maxFile), "")
		return
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		r.file("file-not-text", name, "not UTF-8 text", "")
		return
	}
	r.lines(name, data)
	before := len(r.documents)
	count := 0
	for root := range roots(data, func(err error) { r.syntax(name, err) }) {
		values := valuesIn(root)
		if r.values += values; r.values > r.mostValues {
			r.fill(fmt.Sprintf("the documents have more than %d keys, texts, lists and mappings together", r.mostValues))
			return
		}
		r.trees.add(data, root, values)
		r.document(&document{file: name, line: root.Line, column: root.Column, raw: data, number: count}, root)
		count++
		if r.faults.crowded(name) {
			r.lost, r.documents = true, r.documents[:before]
			return
		}
	}
	for _, d := range r.documents[before:] {
		d.siblings = count
	}
}

// lines looks for known forms of credentials in the text itself, comments and all.
func (r *reader) lines(name string, data []byte) {
	if plaintext.Credential(string(data)) == "" {
		return // no pattern spans lines, so that one look at the whole is enough for most files
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if kind := plaintext.Credential(line); kind != "" {
			r.faults.add(Fault{File: name, Line: number, Column: 1, Rule: "plaintext", Reason: "the line has what looks like " + kind})
		}
	}
}

// secretKeys looks for text that is too random to be a name under keys that name secrets.
func (r *reader) secretKeys(d *document, n *yaml.Node, t trail) {
	if d.kind == v1alpha1.KindBootstrapSecret && len(t) == 1 && (t[0] == "data" || t[0] == "sops") {
		return
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, part := n.Content[i].Value, n.Content[i+1]
		if part.Kind == yaml.ScalarNode && plaintext.Suspicious(key, part.Value) {
			r.fault(d, "plaintext", t.to(key), "the text under a key that names a secret looks like one", "")
		}
		r.secretKeys(d, part, t.to(key))
	}
	for i := 0; n.Kind == yaml.SequenceNode && i < len(n.Content); i++ {
		r.secretKeys(d, n.Content[i], t.to(i))
	}
}

var (
	syntaxLine = lazyregexp.New(`^yaml: line ([0-9]+): `)
	// wordInQuotes tells a message that may repeat the file's own text: the parser's own quotes hold single characters.
	wordInQuotes = lazyregexp.New(`['"\x60][^'"\x60\s]{2,}['"\x60]`)
)

// syntax reports what the parser says. The parser has no typed errors: the line is taken from the text, for display
// alone, and a text that may quote the file is replaced.
func (r *reader) syntax(name string, err error) {
	r.lost = true
	text, line := err.Error(), 0
	if found := syntaxLine.FindStringSubmatch(text); found != nil {
		line, _ = strconv.Atoi(found[1])
		text = text[len(found[0]):]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	if wordInQuotes.MatchString(text) {
		text = "an alias names no anchor"
	}
	column := 0
	if line > 0 {
		column = 1
	}
	r.faults.add(Fault{File: name, Line: line, Column: column, Rule: "yaml-syntax", Reason: "reading YAML: " + text})
}

// document takes in one document.
func (r *reader) document(d *document, n *yaml.Node) {
	sound := scan(n, func(rule string, n *yaml.Node, reason string) {
		r.faults.add(Fault{File: d.file, Line: n.Line, Column: n.Column, Rule: rule, Reason: reason})
	})
	if sound && n.Kind != yaml.MappingNode {
		r.faults.add(Fault{File: d.file, Line: n.Line, Column: n.Column, Rule: "document-form", Reason: "the document is not a mapping"})
		sound = false
	}
	if !sound {
		r.lost = true
		return
	}
	d.kind, d.name = textAt(n, "kind"), textAt(n, "metadata", "name")
	r.secretKeys(d, n, nil)
	d.value = blankOf(d.kind)
	if d.value == nil {
		r.unknownKind(d)
		return
	}
	if r.own != "" && d.kind != r.own {
		r.fault(d, "kind-unknown", at("kind"), "the file must contain one "+r.own+" document and nothing else", "Move the document to the estate.")
		return
	}
	if version := textAt(n, "apiVersion"); version != "" && version != v1alpha1.APIVersion {
		r.fault(d, "api-version", at("apiVersion"), "the apiVersion is "+plaintext.Show(version), "")
	}
	r.decode(d, n, reflect.ValueOf(d.value).Elem(), nil)
	d.hasSpec, d.hasOrigin = lookup(n, at("spec")) != nil, lookup(n, at("spec", "origin")) != nil
	if d.kind == v1alpha1.KindBootstrapSecret {
		d.sealed = r.sealedForm(d, n)
	}
	r.documents = append(r.documents, d)
}

// decode fills v from n, reporting at d's place; under says where in the document n stands.
func (r *reader) decode(d *document, n *yaml.Node, v reflect.Value, under trail) {
	(&decoder{shapes: r.shapes, types: r.types, words: r.words, report: func(rule string, t trail, reason, fix string) {
		r.fault(d, rule, t, reason, fix)
	}}).value(n, v, under)
}

// Decode fills a document from YAML that nobody checked, and reports whether each of its fields is one that the document has,
// and of its type. What is missing is not looked for.
func Decode(types upstream.Types, n *yaml.Node, document any) bool {
	known := true
	d := &decoder{types: types, shapes: map[reflect.Type][]field{}, report: func(rule string, _ trail, _, _ string) {
		known = known && rule == "field-missing"
	}}
	for n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	d.value(n, reflect.ValueOf(document).Elem(), nil)
	return known
}

func (r *reader) unknownKind(d *document) {
	r.lost = true
	fix, reason := "", "the kind is "+plaintext.Show(d.kind)
	t := at("kind")
	switch {
	case d.kind == "":
		reason = "the document has no kind"
	case plaintext.EncryptedType(d.kind) != "":
		reason, fix = "the kind is encrypted", "Encrypt data alone: set encrypted_regex: ^data$ in .sops.yaml, then encrypt again."
	}
	m := r.find(d, t)
	r.faults.add(Fault{File: d.file, Line: m.line, Column: m.column, Rule: "kind-unknown", Reason: reason, Fix: fix})
}

func (r *reader) fault(d *document, rule string, t trail, reason, fix string) {
	if r.faults.crowded(d.file) {
		return
	}
	m := r.find(d, t)
	r.faults.add(Fault{File: d.file, Line: m.line, Column: m.column, Rule: rule, Subject: d.subject(), Reason: reason, Fix: fix})
}

// here reports what this machine alone gets wrong about a consumer.
func (r *reader) here(d *document, consumer v1alpha1.ConsumerSpec, rule string, t trail, reason string) {
	m := r.find(d, t)
	r.faults.add(Fault{
		File: d.file, Line: m.line, Column: m.column, Rule: rule, Subject: d.subject(), Reason: reason, Here: true, Consumer: consumer.Name,
	})
}

// missing reports a reference to what is not there. While something could not be read, nobody can tell.
func (r *reader) missing(d *document, rule string, t trail, reason string) {
	if !r.lost {
		r.fault(d, rule, t, reason, "")
	}
}

// blankOf returns a pointer to the zero document of a kind, nil when there is no such kind.
func blankOf(kind string) any {
	switch kind {
	case v1alpha1.KindPlatform:
		return &v1alpha1.Platform{}
	case v1alpha1.KindManagedSecret:
		return &v1alpha1.ManagedSecret{}
	case v1alpha1.KindRotationPolicy:
		return &v1alpha1.RotationPolicy{}
	case v1alpha1.KindUpstream:
		return &v1alpha1.Upstream{}
	case v1alpha1.KindBootstrapSecret:
		return &v1alpha1.BootstrapSecret{}
	case v1alpha1.KindHost:
		return &v1alpha1.Host{}
	case v1alpha1.KindAgent:
		return &v1alpha1.Agent{}
	}
	return nil
}

// textAt returns the text of the scalar that steps lead to, or "".
func textAt(n *yaml.Node, steps ...any) string {
	found := lookup(n, steps)
	if found == nil || found.Kind != yaml.ScalarNode || !textual(found) {
		return ""
	}
	return found.Value
}
