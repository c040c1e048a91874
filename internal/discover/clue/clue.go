// SPDX-License-Identifier: Apache-2.0

// Package clue has what all readers of custody discover have in common: the files that they are given, the clues that they
// find, and how names, references, placeholders and values are told apart.
//
// Guaranteed: a value is in a clue only as secret.Value; no other field of a clue comes from the value. Nothing is opened,
// decrypted or asked. Not guaranteed: that a guess is right. Each clue says why it was made.
//
// Cost: linear in the size of the file. YAML is parsed once for all readers of a file; its aliases are not followed.
package clue

import (
	"path"
	"strings"

	"custody.dev/custody/internal/expiry"
	"custody.dev/custody/internal/secret"
)

// Role is what a place has to do with a secret.
type Role string

// The roles.
const (
	// Holds: the value is there in clear.
	Holds Role = "holds"
	// Sealed: the value is there, encrypted.
	Sealed Role = "sealed"
	// Names: the secret is declared there, its value is elsewhere.
	Names Role = "names"
	// Makes: a step there makes the value, or puts it where it is used.
	Makes Role = "makes"
	// Uses: what is there takes the value from elsewhere.
	Uses Role = "uses"
)

// Step is one of those by which a script, acting as a control plane, makes a value and puts it somewhere.
type Step struct {
	Line int `json:"line"`
	// Does is "makes" or "puts".
	Does string `json:"does"`
	// With is the program with its subcommand.
	With string `json:"with"`
	// To is where the value goes: a secret of Kubernetes, a path of a store, a file, an address; "" for the shell's memory.
	To string `json:"to,omitempty"`
}

// Clue is one place that has to do with a secret.
type Clue struct {
	// Source is the reader that found it.
	Source string
	Role   Role
	// Name is what the place calls the secret.
	Name string
	// Line is counted from 1.
	Line int
	// By is who uses it there: a job, a workload, a service. "" where the place says nothing.
	By string
	// Why is the reason for the guess, for people.
	Why string
	// Kind is a guess, such as "TLS key"; "" leaves it to the name and the value.
	Kind string
	// Value is empty unless the role is Holds.
	Value secret.Value
	// Keys identify the secret: two clues with a key in common are one secret.
	Keys []string
	// Set is the beginning of keys, where the clue is about all secrets of a set, such as those of one file. Such a clue has
	// no Keys.
	Set string
	// Env is the environment variable by which programs know the secret. Clues are joined by it where that is not ambiguous.
	Env string
	// Maybe: it counts only if another clue says that this is a secret.
	Maybe bool
	// Team is the owner that a label in the place names.
	Team string
	// End is read from something beside the value, such as the certificate of a key.
	End expiry.End
	// Steps are those of a script, in order. The first makes the value, where one does.
	Steps []Step
}

// File is what readers are given.
type File struct {
	// Path is relative to the folder that is read, with slashes.
	Path string
	Data []byte

	parsed bool
	docs   []*Node
}

// Base is the name of the file without its folder.
func (f *File) Base() string { return path.Base(f.Path) }

// Dir is the folder of the file, "." for the folder that is read.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Ext is what follows the last dot of the name, in lower case, with the dot.
func (f *File) Ext() string { return strings.ToLower(path.Ext(f.Path)) }

// Parsable reports whether data is small and flat enough for a parser that calls itself for each level: a file that is made of
// brackets would exhaust the stack, which ends the process.
func Parsable(data []byte, most int) bool {
	const deepest = 400 // ten times what people write
	depth := 0
	for _, b := range data {
		switch b {
		case '(', '[', '{':
			if depth++; depth > deepest {
				return false
			}
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return len(data) <= most
}

// Found takes a clue.
type Found func(Clue)

// Reader reads one kind of file.
type Reader struct {
	// Source is the name by which answers know it.
	Source string
	// Wants says by path and contents, without parsing, whether Read may find something.
	Wants func(f *File) bool
	// Read finds clues. It reports whether it understood the file, so that nothing else need guess what its lines are.
	Read func(f *File, found Found) bool
}

// Text makes the value of a single field. Text that is larger than any secret makes none.
func Text(text string) secret.Value {
	v, err := secret.Text(map[string]string{secret.SingleField: text})
	if err != nil {
		return secret.Value{}
	}
	return v
}

// Within is the path of a file that another file names, relative to the folder that is read. It is "" for one outside.
func (f *File) Within(name string) string {
	if name == "" || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "~") || strings.ContainsAny(name, "$%{") {
		return ""
	}
	joined := path.Join(f.Dir(), name)
	if joined == ".." || strings.HasPrefix(joined, "../") {
		return ""
	}
	return joined
}

// FileKey is the key of a secret in a file, by its name there; with the name "" it is the beginning of all of them.
func FileKey(file, name string) string { return "file:" + file + "#" + name }

// KubeKey is the key of a field of a Kubernetes Secret. The namespace is "" where the place does not say it.
func KubeKey(namespace, name, field string) string {
	return "k8s:" + namespace + "/" + name + "/" + field
}

// LineAt is the number of the line in which an offset of the data lies.
func LineAt(data []byte, offset int) int {
	line := 1
	for _, b := range data[:min(offset, len(data))] {
		if b == '\n' {
			line++
		}
	}
	return line
}
