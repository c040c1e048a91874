// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
)

// maxLooks bounds how often a mixture is linted to find out what gave way needlessly.
const maxLooks = 64

// Older is a document of which the newest form is not in force.
type Older struct {
	// Subject is KIND/NAME; "" stands for a file that cannot be read.
	Subject string `json:"subject,omitempty"`
	// InForce: an older form is. Else the document is not in force at all.
	InForce bool `json:"inForce,omitempty"`
	// Removed: the newest estate, of which every file was read, does not declare the document.
	Removed bool `json:"removed,omitempty"`
	// Since is when the newest form was first found not to fit.
	Since time.Time `json:"since,omitzero"`
	// Fault is why it does not. It may be another document's, which fits no other form of this one.
	Fault Fault `json:"fault"`
}

// LoadOver makes the estate that is to be in force where before was. Without a fault it is what Load makes. Else it is a
// mixture that lints: a document keeps its form before where the newest has a fault, or where another in force does not
// fit the newest; see Estate.Older. The faults are those of the newest estate.
//
// The estate is nil, and before stays in force whole, where nobody can say which documents are meant: for a fault of the
// Platform, a cycle, or an estate that is empty or too large. It is nil for any fault where before is.
//
// It costs a Load where nothing is wrong; else one parsing of before more, and up to maxLooks applications of the rules.
func (f *Files) LoadOver(before *Files, options Options) (*Estate, []Fault) {
	r := f.parse(options.Types)
	unread := slices.Clone(r.faults.list)
	estate, faults := f.judge(r, options)
	if before == nil || estate == nil && ofNoDocument(faults) || estate != nil && !f.leaves(before, options) {
		return estate, faults
	}
	m := newMixture(r, unread, before.parse(options.Types), options)
	m.keepLeaving()
	if !m.platform() || !m.settle() {
		return estate, faults // whole, where it is sound: what leaves does not hold it up
	}
	m.retry()
	estate = m.finish(f, before, unread)
	m.want(estate, before, unread)
	return estate, faults
}

// ofNoDocument reports whether a fault is of no single document that could give way.
func ofNoDocument(faults []Fault) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool {
		kind, _, _ := strings.Cut(f.Subject, "/")
		return f.Subject == "" && f.File == "" || kind == v1alpha1.KindPlatform || f.Rule == "admin-cycle" || f.Rule == "derived-cycle"
	})
}

// mixture chooses a form of each document, by KIND/NAME.
type mixture struct {
	options                Options
	newest, before, chosen map[string]*document
	names                  []string
	// unsound documents have a newest form that cannot be decoded.
	unsound map[string]Fault
	// same: the newest form says what the one before said.
	same map[string]bool
	// fixed: the newest form is unsound, or what is gone may be in a file that could not be read.
	fixed map[string]bool
	why   map[string]Fault
	// kept are forms before of documents that the newest estate does not have: of secrets that leave, and of what those refer to.
	kept map[string]bool
	// estate is that of the last mixture that linted, and settled are its documents.
	estate  *Estate
	settled map[string]*document
	looks   int
	shapes  *reader
}

func newMixture(newest *reader, unread []Fault, before *reader, options Options) *mixture {
	m := &mixture{options: options, chosen: map[string]*document{}, same: map[string]bool{}, fixed: map[string]bool{}, why: map[string]Fault{}, kept: map[string]bool{}, shapes: newest}
	var lost *Fault
	m.newest, m.unsound, lost = sift(newest, unread)
	m.before, _, _ = sift(before, before.faults.list)
	maps.Copy(m.chosen, m.newest)
	for name, older := range m.before {
		older.leaving = older.leaving && m.newest[name] == nil && m.unsound[name].Rule == ""
		switch {
		case m.unsound[name].Rule != "":
			m.chosen[name] = older
		case m.newest[name] != nil:
			m.same[name] = alike(m.newest[name], older)
		case lost != nil:
			m.chosen[name], m.fixed[name], m.why[name] = older, true, *lost
		}
	}
	for name, fault := range m.unsound {
		m.fixed[name], m.why[name] = true, fault
	}
	seen := map[string]bool{}
	for _, forms := range []map[string]*document{m.newest, m.before} {
		for name := range forms {
			seen[name] = true
		}
	}
	for name := range m.unsound {
		seen[name] = true
	}
	m.names = slices.Sorted(maps.Keys(seen))
	return m
}

// sift sorts documents out: those that could be read, why others could not, and a fault by which some document may have been
// missed, nil without one. A fault that names no document is of each in its file.
func sift(r *reader, faults []Fault) (sound map[string]*document, unsound map[string]Fault, lost *Fault) {
	sound, unsound = map[string]*document{}, map[string]Fault{}
	files := map[string]Fault{}
	for _, f := range faults {
		into, key := unsound, f.Subject
		if !strings.Contains(f.Subject, "/") {
			into, key = files, f.File
			if r.lost && lost == nil {
				lost = &f
			}
		}
		if _, known := into[key]; !known {
			into[key] = f
		}
	}
	for _, d := range r.documents {
		name := d.subject()
		inFile, broken := files[d.file]
		switch {
		case ofMachine(d.kind):
		case !strings.Contains(name, "/"):
			if lost == nil {
				lost = &Fault{File: d.file, Line: d.line, Column: 1, Rule: "name-form", Reason: "a document without a readable name", Fix: fixOf("name-form")}
			}
		case broken:
			unsound[name] = inFile
		case sound[name] != nil:
			unsound[name] = Fault{File: d.file, Line: d.line, Column: 1, Rule: "name-duplicate", Subject: name, Reason: "the name is taken by " + sound[name].position(), Fix: fixOf("name-duplicate")}
		default:
			sound[name] = d
		}
	}
	for name := range unsound {
		delete(sound, name)
	}
	return sound, unsound, lost
}

// alike reports whether two forms say the same. What decrypts an encrypted document is the bytes of its file.
func alike(a, b *document) bool {
	if a.kind == v1alpha1.KindBootstrapSecret {
		return bytes.Equal(a.raw, b.raw) && a.siblings == b.siblings
	}
	one, err := json.Marshal(a.value)
	two, other := json.Marshal(b.value)
	return err == nil && other == nil && bytes.Equal(one, two)
}

// platform reports whether the newest Platform can be read. Without it the estate stays whole.
func (m *mixture) platform() bool {
	return slices.ContainsFunc(m.names, func(name string) bool {
		return m.newest[name] != nil && m.newest[name].kind == v1alpha1.KindPlatform
	})
}

// set chooses a form; nil chooses none.
func (m *mixture) set(name string, form *document) {
	if form == nil {
		delete(m.chosen, name)
		return
	}
	m.chosen[name] = form
}

// give has the form before take the place of the newest, and reports whether it was not there yet.
func (m *mixture) give(name string, why Fault) bool {
	if m.chosen[name] == m.before[name] {
		return false
	}
	m.set(name, m.before[name])
	m.why[name] = why
	return true
}

// settle has documents give way until the mixture lints. It reports false where it never does.
func (m *mixture) settle() bool {
	for {
		faults := m.lint()
		switch {
		case len(faults) == 0:
			return true
		case !ofNoDocument(faults) && (m.giveOwn(faults) || m.giveRelated(faults)):
		case m.giveAll(faults[0]):
		case ofNoDocument(faults) || !m.drop(faults):
			return false
		}
	}
}

func (m *mixture) giveOwn(faults []Fault) (gave bool) {
	for _, f := range faults {
		gave = m.give(f.Subject, f) || gave
	}
	return gave
}

func (m *mixture) giveRelated(faults []Fault) (gave bool) {
	for _, f := range faults {
		if d := m.chosen[f.Subject]; d != nil {
			for _, name := range m.pulled(d) {
				gave = m.give(name, f) || gave
			}
		}
	}
	return gave
}

func (m *mixture) giveAll(why Fault) (gave bool) {
	for _, name := range m.names {
		gave = m.give(name, why) || gave
	}
	return gave
}

// drop leaves out forms before that do not fit any more: a newer custody has another rule, or the host another name.
func (m *mixture) drop(faults []Fault) (dropped bool) {
	for _, f := range faults {
		if m.chosen[f.Subject] != nil {
			delete(m.chosen, f.Subject)
			delete(m.before, f.Subject)
			m.why[f.Subject], dropped = f, true
		}
	}
	return dropped
}

// pulled are the documents that the form d is judged with: those that it refers to, those that have a name it had, and the
// members of its group.
func (m *mixture) pulled(d *document) []string {
	names := m.refers(d)
	group := m.groupOf(d)
	for _, name := range m.names {
		if group != "" && (m.groupOf(m.before[name]) == group || m.groupOf(m.chosen[name]) == group) {
			names = append(names, name)
		}
	}
	return names
}

// refers lists the documents that d names.
func (m *mixture) refers(d *document) []string {
	var names []string
	add := func(kind, name string) {
		if name != "" {
			names = append(names, kind+"/"+name)
		}
	}
	switch declared := m.here(d).value.(type) {
	case *v1alpha1.Upstream:
		add(v1alpha1.KindManagedSecret, declared.Spec.AdminRef)
	case *v1alpha1.BootstrapSecret:
		add(v1alpha1.KindManagedSecret, declared.Spec.Seeds)
	case *v1alpha1.ManagedSecret:
		spec := declared.Spec
		if spec.Rotation != nil {
			add(v1alpha1.KindRotationPolicy, spec.Rotation.PolicyRef)
			add(v1alpha1.KindUpstream, spec.Rotation.UpstreamRef)
		}
		if spec.Origin.Bootstrap != nil {
			add(v1alpha1.KindBootstrapSecret, spec.Origin.Bootstrap.SecretRef)
		}
		if spec.Origin.Derived != nil {
			for _, input := range slices.Sorted(maps.Values(spec.Origin.Derived.Inputs)) {
				add(v1alpha1.KindManagedSecret, input)
			}
		}
		for _, former := range spec.FormerNames {
			add(v1alpha1.KindManagedSecret, former)
		}
	}
	return names
}

// here is d as it holds in the environment that is looked at.
func (m *mixture) here(d *document) *document {
	if d == nil || d.kind != v1alpha1.KindManagedSecret {
		return d
	}
	return m.shapes.beside(nil).merged(d, m.options.Environment)
}

func (m *mixture) groupOf(d *document) string {
	if d == nil {
		return ""
	}
	secret, is := m.here(d).value.(*v1alpha1.ManagedSecret)
	if !is || secret.Spec.Rotation == nil {
		return ""
	}
	return secret.Spec.Rotation.Group
}

// lint applies the rules to what is chosen and returns what is wrong with it everywhere.
func (m *mixture) lint() []Fault {
	m.looks++
	r := m.shapes.beside(m.ordered())
	estate := newChecker(r, m.options).run()
	var faults []Fault
	for _, f := range r.faults.sorted() {
		if !f.Alone() {
			faults = append(faults, f)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	for _, f := range r.faults.list {
		estate.hold(f)
	}
	m.estate, m.settled = estate, maps.Clone(m.chosen)
	return nil
}

// ordered lists what is chosen so that whoever has a claim already makes it first: forms before and what did not change, then what
// changed, then what is new.
func (m *mixture) ordered() []*document {
	rank := func(d *document) int {
		name := d.kind + "/" + d.name
		switch {
		case d == m.before[name] || m.same[name]:
			return 0
		case m.before[name] != nil:
			return 1
		}
		return 2
	}
	documents := slices.Collect(maps.Values(m.chosen))
	slices.SortFunc(documents, func(a, b *document) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line), cmp.Compare(a.name, b.name))
	})
	return documents
}
