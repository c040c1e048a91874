// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"path/filepath"
	"slices"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
)

// A secret whose document was removed stays in force as it was declared before, with what it refers to, for as long as
// Options.Keeps says so: then it can be ended in order. A file that cannot be read removes nothing; see newMixture.

// leavingKey is under which name a copy notes that a secret leaves; no document and no file is called so.
func leavingKey(secret string) string { return "leaving " + secret }

// declaredAs is where a secret's value lies, and the upstream that it is rotated at, "" for none.
type declaredAs struct {
	path     authority.Path
	upstream string
}

func asDeclared(s *v1alpha1.ManagedSecret) declaredAs {
	as := declaredAs{path: authority.Path(s.Spec.Path)}
	if s.Spec.Rotation != nil {
		as.upstream = s.Spec.Rotation.UpstreamRef
	}
	return as
}

// declares notes which secrets are declared, and which of them were noted to leave.
func (f *Files) declares(documents []*document) {
	f.secrets = map[string]declaredAs{}
	for _, d := range documents {
		if declared, is := d.value.(*v1alpha1.ManagedSecret); is {
			f.secrets[d.name] = asDeclared(declared)
			_, d.leaving = f.since[leavingKey(d.name)]
		}
	}
}

// leaves reports whether some secret stays as before declares it: one that the files do not declare, or whose run needs
// another upstream. It parses before where nobody has.
func (f *Files) leaves(before *Files, options Options) bool {
	if options.Keeps == nil || options.Runs == nil {
		return false
	}
	if before.secrets == nil {
		before.parse(options.Types)
	}
	for name, was := range before.secrets {
		switch is, declared := f.secrets[name]; {
		case !declared && options.Keeps(name, was.path):
			return true
		case declared && was.needs(is) && options.Runs(name, was.path):
			return true
		}
	}
	return false
}

// needs reports whether a run that began as was declared cannot end as is.
func (was declaredAs) needs(is declaredAs) bool {
	return was.upstream != "" && was.upstream != is.upstream && was.path == is.path
}

// keepLeaving chooses the forms before of secrets that leave, and of those whose run began at an upstream that the newest form does
// not name, until it has ended: else two credentials would work. What only they refer to is kept with them. One that has another name now, or
// whose path another has, does not leave: its history goes on, or is what holds the other one.
func (m *mixture) keepLeaving() {
	if m.options.Keeps == nil || m.options.Runs == nil {
		return
	}
	taken, renamed := map[authority.Path]bool{}, map[string]bool{}
	for _, d := range m.newest {
		if declared, is := d.value.(*v1alpha1.ManagedSecret); is {
			taken[authority.Path(declared.Spec.Path)] = true
			for _, former := range declared.Spec.FormerNames {
				renamed[former] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.before)) {
		older := m.before[name]
		declared, is := older.value.(*v1alpha1.ManagedSecret)
		if newest := m.newest[name]; is && newest != nil && m.chosen[name] == newest {
			if as := asDeclared(newest.value.(*v1alpha1.ManagedSecret)); asDeclared(declared).needs(as) && m.options.Runs(older.name, as.path) {
				delete(m.chosen, name) // what it refers to is kept with it
				older.finishing = true
				m.keep(name)
			}
		}
		if !is || m.newest[name] != nil || m.chosen[name] != nil && !m.kept[name] {
			continue
		}
		path := authority.Path(declared.Spec.Path)
		if !taken[path] && !renamed[older.name] && m.options.Keeps(older.name, path) {
			older.leaving = true
			m.keep(name)
		}
	}
}

// keep chooses the form before of a document that the newest estate does not have, and of what that refers to.
func (m *mixture) keep(name string) {
	form := m.before[name]
	if form == nil || m.chosen[name] != nil {
		return
	}
	m.chosen[name], m.kept[name] = form, true
	for _, other := range m.refers(form) {
		m.keep(other)
	}
}

// giveFiles takes from secrets that leave the consumers whose file a declared consumer writes by now.
func (e *Estate) giveFiles() {
	if len(e.Leaving) == 0 {
		return
	}
	place := func(c Consumer) string { return c.File.Folder + ":" + filepath.Clean(c.File.Path) }
	taken := map[string]bool{}
	for name, s := range e.Secrets {
		for _, c := range s.Consumers {
			if !e.Leaving[name] && c.File != nil {
				taken[place(c)] = true
			}
		}
	}
	for name := range e.Leaving {
		s := e.Secrets[name]
		s.Consumers = slices.DeleteFunc(s.Consumers, func(c Consumer) bool { return c.File != nil && taken[place(c)] })
	}
}
