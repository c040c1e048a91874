// SPDX-License-Identifier: Apache-2.0

// Package ansible finds secrets in inventories, variables and playbooks of Ansible. Files and values of Ansible Vault are
// named, and not opened.
package ansible

import (
	"bytes"
	"path"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	taken  = lazyregexp.New(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)`)
	lookup = lazyregexp.New(`lookup\(\s*['"](?:ansible\.builtin\.)?env['"]\s*,\s*['"]([A-Za-z_][A-Za-z0-9_]*)['"]`)
	pair   = lazyregexp.New(`([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|\{\{[^}]*\}\}|\S+)`)
)

const vaulted = "$ANSIBLE_VAULT;"

// Reader reads files of Ansible.
func Reader() clue.Reader { return clue.Reader{Source: "ansible", Wants: wants, Read: read} }

func wants(f *clue.File) bool {
	if bytes.HasPrefix(f.Data, []byte(vaulted)) {
		return true
	}
	in := "/" + f.Path
	switch f.Ext() {
	case ".yml", ".yaml", "":
		for _, folder := range []string{"/group_vars/", "/host_vars/", "/inventory/", "/inventories/"} {
			if strings.Contains(in, folder) {
				return true
			}
		}
		role := strings.Contains(in, "/roles/")
		switch path.Base(f.Dir()) {
		case "vars", "defaults", "tasks", "handlers":
			if role && f.Ext() != "" {
				return true
			}
		}
		return f.Ext() != "" && (playbook(f.Data) || bytes.Contains(f.Data, []byte("!vault")))
	case ".ini", ".cfg":
		return strings.Contains(in, "/inventor") || strings.HasPrefix(f.Base(), "hosts") || strings.HasPrefix(f.Base(), "inventory") ||
			bytes.Contains(f.Data, []byte("ansible_user")) || bytes.Contains(f.Data, []byte("ansible_host"))
	}
	return strings.HasPrefix(f.Base(), "hosts") && bytes.Contains(f.Data, []byte("ansible_"))
}

func playbook(data []byte) bool {
	for _, begins := range []string{"- hosts:", "- name:", "- import_playbook:"} {
		if bytes.HasPrefix(data, []byte(begins)) || bytes.Contains(data, []byte("\n"+begins)) {
			return bytes.Contains(data, []byte("hosts:"))
		}
	}
	return false
}

func read(f *clue.File, found clue.Found) bool {
	if bytes.HasPrefix(f.Data, []byte(vaulted)) {
		found(clue.Clue{Source: "ansible", Role: clue.Sealed, Name: "*", Line: 1, Why: "a file of Ansible Vault, not opened", Keys: []string{clue.FileKey(f.Path, "")}})
		return true
	}
	r := reading{f, found, map[string]bool{}}
	if ext := f.Ext(); ext != ".yml" && ext != ".yaml" && !bytes.HasPrefix(f.Data, []byte("---")) {
		r.inventory()
		return true
	}
	for _, doc := range f.Docs() {
		doc.Leaves(func(path []string, leaf *clue.Node) {
			last := ""
			if len(path) > 0 {
				last = path[len(path)-1]
			}
			if strings.HasPrefix(leaf.Text(), vaulted) {
				r.tell(clue.Clue{Role: clue.Sealed, Name: clue.Dotted(path), Line: leaf.Line, Why: "a value of Ansible Vault, not opened"}, last)
				return
			}
			r.value(clue.Dotted(path), last, leaf.Text(), leaf.Line)
		})
	}
	return true
}

type reading struct {
	f     *clue.File
	found clue.Found
	seen  map[string]bool
}

func (r reading) tell(c clue.Clue, last string) {
	c.Source = "ansible"
	c.Keys = append(c.Keys, clue.FileKey(r.f.Path, c.Name))
	if c.Name == last { // a variable, not a field of something else
		c.Env = last
	}
	r.found(c)
}

func (r reading) inventory() {
	for i, line := range strings.Split(string(r.f.Data), "\n") {
		if text := strings.TrimSpace(line); text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
			continue
		}
		for _, match := range pair.FindAllStringSubmatch(line, -1) {
			r.value(match[1], match[1], strings.Trim(match[2], `"'`), i+1)
		}
	}
}

// value is one in clear, or one that is taken from a variable.
func (r reading) value(name, last, text string, line int) {
	use := func(variable, why string) {
		if r.seen[variable] {
			return
		}
		r.seen[variable] = true
		r.found(clue.Clue{Source: "ansible", Role: clue.Uses, Name: variable, Line: line, By: last, Env: variable, Why: why,
			Maybe: !clue.SecretName(variable)})
	}
	for _, match := range lookup.FindAllStringSubmatch(text, -1) {
		use(match[1], "looked up in the environment")
	}
	for _, match := range taken.FindAllStringSubmatch(text, -1) {
		if match[1] != "lookup" && match[1] != "item" {
			use(match[1], "taken from another variable")
		}
	}
	if value, kind, why, ok := clue.Held(last, text, false); ok {
		if why == "" {
			why = "the name of the variable"
		}
		r.tell(clue.Clue{Role: clue.Holds, Name: name, Line: line, Kind: kind, Why: why, Value: clue.Text(value)}, last)
	}
}
