// SPDX-License-Identifier: Apache-2.0

// Package formula computes the fields of a derived secret from the fields of other secrets, with templates.
//
// A template is text with actions that name a field of an input or apply one of a few functions. It has no loops,
// conditions, nested templates, files or environment. So the author of a template can read only the inputs that it
// names, and cannot keep the program busy. Guaranteed: no error contains a value. Not guaranteed: that the same inputs
// give the same bytes, because htpasswd uses a new random salt each time.
//
// Cost: no I/O, and memory in proportion to the result. There are at most maxFields templates, maxTemplate bytes and
// maxCalls function calls, and no intermediate text is longer than a value may be. htpasswd takes about 50 ms of CPU
// time, because its hash is slow by design; there are at most maxHashes of them.
package formula

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"custody.dev/custody/internal/secret"
)

const (
	// maxTemplate bounds the templates of one secret together, in bytes.
	maxTemplate = secret.MaxBytes
	maxFields   = 100
	// maxCalls bounds the calls of functions in them, maxHashes those that hash passwords.
	maxCalls  = 100
	maxHashes = 4
)

// Formula is a compiled set of templates. It is immutable.
type Formula struct {
	fields map[string]*template.Template
	refs   map[string][]reference
	digest string
}

// reference is one input's field that a template names.
type reference struct{ input, field string }

// Compile parses one template for each field. Every action must name one of inputs.
func Compile(fields map[string]string, inputs []string) (*Formula, error) {
	if len(fields) == 0 {
		return nil, errors.New("compiling formula: it has no fields")
	}
	if len(fields) > maxFields {
		return nil, fmt.Errorf("compiling formula: it has %d fields, and may have %d; make several derived secrets of it", len(fields), maxFields)
	}
	size := 0
	for _, text := range fields {
		size += len(text)
	}
	if size > maxTemplate {
		return nil, fmt.Errorf("compiling formula: the templates have %d bytes, and may have %d, as a value may; put fixed text into the consumer's own files", size, maxTemplate)
	}
	f := &Formula{fields: map[string]*template.Template{}, refs: map[string][]reference{}}
	known := functions()
	c := &checker{inputs: inputs, functions: known}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parsed, err := template.New(name).Option("missingkey=error").Funcs(known).Parse(fields[name])
		if err != nil {
			return nil, fmt.Errorf("compiling formula: field %s: the template cannot be parsed", name)
		}
		if len(parsed.Templates()) > 1 {
			return nil, fmt.Errorf("compiling formula: field %s: a template defines no others", name)
		}
		if parsed.Tree == nil || parsed.Root == nil {
			return nil, fmt.Errorf("compiling formula: field %s: the template is empty", name)
		}
		refs, err := c.check(parsed.Root)
		if err != nil {
			return nil, fmt.Errorf("compiling formula: field %s: %w", name, err)
		}
		f.fields[name], f.refs[name] = parsed, refs
	}
	encoded, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("compiling formula: %w", err)
	}
	sum := sha256.Sum256(encoded)
	f.digest = hex.EncodeToString(sum[:])
	return f, nil
}

// Digest tells formulas apart: SHA-256 over the templates, in hexadecimal.
func (f *Formula) Digest() string { return f.digest }

// Names returns the fields that are computed, in order.
func (f *Formula) Names() []string { return slices.Sorted(maps.Keys(f.fields)) }

// Uses returns the inputs that are named by some template, in order.
func (f *Formula) Uses() []string {
	used := map[string]bool{}
	for _, refs := range f.refs {
		for _, ref := range refs {
			used[ref.input] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// Reads returns the fields of an input that templates name, in order.
func (f *Formula) Reads(input string) []string {
	read := map[string]bool{}
	for _, refs := range f.refs {
		for _, ref := range refs {
			if ref.input == input {
				read[ref.field] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(read))
}

// Compute applies the templates. An input without a field that is named is an error that says so.
func (f *Formula) Compute(inputs map[string]secret.Value) (secret.Value, error) {
	data := map[string]map[string]string{}
	for input, v := range inputs {
		data[input] = map[string]string{}
		for _, field := range v.Names() {
			data[input][field] = v.ExposeText(field)
		}
	}
	left := secret.MaxBytes
	out := map[string][]byte{}
	for name, t := range f.fields {
		for _, ref := range f.refs[name] {
			if _, has := data[ref.input][ref.field]; !has {
				return secret.Value{}, fmt.Errorf("computing field %s: input %s has no field %s", name, ref.input, ref.field)
			}
		}
		b := bounded{left: &left}
		if err := t.Execute(&b, data); err != nil {
			// The library's error quotes the action; a function's own says why.
			if why, is := errors.AsType[*functionError](err); is {
				return secret.Value{}, fmt.Errorf("computing field %s: %w", name, why)
			}
			return secret.Value{}, fmt.Errorf("computing field %s: the template cannot be applied", name)
		}
		out[name] = []byte(b.String())
	}
	v, err := secret.New(out)
	if err != nil {
		return secret.Value{}, err
	}
	return v, v.Fits()
}

// bounded takes what is left of what a value may hold, and no more.
type bounded struct {
	strings.Builder
	left *int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if *b.left -= len(p); *b.left < 0 {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// checker walks templates and counts what they call.
type checker struct {
	inputs        []string
	functions     template.FuncMap
	calls, hashes int
}

// check refuses what is more than text, fields and functions.
func (c *checker) check(list *parse.ListNode) ([]reference, error) {
	var refs []reference
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			if len(node.Pipe.Decl) > 0 {
				return nil, errors.New("a template has no variables")
			}
			found, err := c.pipeline(node.Pipe)
			if err != nil {
				return nil, err
			}
			refs = append(refs, found...)
		default:
			return nil, errors.New("a template has text, fields of inputs and functions, and nothing else")
		}
	}
	return refs, nil
}

// called counts one call of a function.
func (c *checker) called(name string) error {
	if c.functions[name] == nil {
		return fmt.Errorf("there is no function %s", name)
	}
	if c.calls++; c.calls > maxCalls {
		return fmt.Errorf("more than %d calls of functions; make several derived secrets of it", maxCalls)
	}
	if name == "htpasswd" {
		if c.hashes++; c.hashes > maxHashes {
			return fmt.Errorf("more than %d calls of htpasswd; make several derived secrets of it", maxHashes)
		}
	}
	return nil
}

func (c *checker) pipeline(pipe *parse.PipeNode) ([]reference, error) {
	var refs []reference
	for _, command := range pipe.Cmds {
		for _, argument := range command.Args {
			switch argument := argument.(type) {
			case *parse.FieldNode:
				if len(argument.Ident) != 2 {
					return nil, fmt.Errorf("%s is not .INPUT.FIELD", argument)
				}
				if !slices.Contains(c.inputs, argument.Ident[0]) {
					return nil, fmt.Errorf("%s is no input", argument.Ident[0])
				}
				refs = append(refs, reference{argument.Ident[0], argument.Ident[1]})
			case *parse.IdentifierNode:
				if err := c.called(argument.Ident); err != nil {
					return nil, err
				}
			case *parse.StringNode:
			case *parse.PipeNode:
				found, err := c.pipeline(argument)
				if err != nil {
					return nil, err
				}
				refs = append(refs, found...)
			default:
				return nil, errors.New("an action has fields of inputs, functions and strings, and nothing else")
			}
		}
	}
	return refs, nil
}
