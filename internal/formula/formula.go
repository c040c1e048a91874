// SPDX-License-Identifier: Apache-2.0

// Package formula computes the fields of a derived secret from the fields of others, by templates.
//
// A template is text with actions that name an input's field or apply one of a few functions: no loops, no conditions,
// no other templates, no files, no environment. So whoever writes one can neither read more than the inputs it names
// nor keep the program busy. Guaranteed: no error quotes a value. Not guaranteed: that the same inputs give the same
// bytes; htpasswd draws a salt each time.
//
// It costs no input or output. htpasswd costs about 50 ms of processor, by design of its hash.
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
	f := &Formula{fields: map[string]*template.Template{}, refs: map[string][]reference{}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parsed, err := template.New(name).Option("missingkey=error").Funcs(functions()).Parse(fields[name])
		if err != nil {
			return nil, fmt.Errorf("compiling formula: field %s: the template cannot be parsed", name)
		}
		if len(parsed.Templates()) > 1 {
			return nil, fmt.Errorf("compiling formula: field %s: a template defines no others", name)
		}
		if parsed.Tree == nil || parsed.Root == nil {
			return nil, fmt.Errorf("compiling formula: field %s: the template is empty", name)
		}
		refs, err := check(parsed.Root, inputs)
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

// Compute applies the templates. An input without a field that is named is an error that says so.
func (f *Formula) Compute(inputs map[string]secret.Value) (secret.Value, error) {
	data := map[string]map[string]string{}
	for input, v := range inputs {
		data[input] = map[string]string{}
		for _, field := range v.Names() {
			data[input][field] = v.ExposeText(field)
		}
	}
	out := map[string][]byte{}
	for name, t := range f.fields {
		for _, ref := range f.refs[name] {
			if _, has := data[ref.input][ref.field]; !has {
				return secret.Value{}, fmt.Errorf("computing field %s: input %s has no field %s", name, ref.input, ref.field)
			}
		}
		var b strings.Builder
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

// check walks a template and refuses what is more than text, fields and functions.
func check(list *parse.ListNode, inputs []string) ([]reference, error) {
	var refs []reference
	for _, node := range list.Nodes {
		switch node := node.(type) {
		case *parse.TextNode, *parse.CommentNode:
		case *parse.ActionNode:
			if len(node.Pipe.Decl) > 0 {
				return nil, errors.New("a template has no variables")
			}
			found, err := pipeline(node.Pipe, inputs)
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

func pipeline(pipe *parse.PipeNode, inputs []string) ([]reference, error) {
	var refs []reference
	for _, command := range pipe.Cmds {
		for _, argument := range command.Args {
			switch argument := argument.(type) {
			case *parse.FieldNode:
				if len(argument.Ident) != 2 {
					return nil, fmt.Errorf("%s is not .INPUT.FIELD", argument)
				}
				if !slices.Contains(inputs, argument.Ident[0]) {
					return nil, fmt.Errorf("%s is no input", argument.Ident[0])
				}
				refs = append(refs, reference{argument.Ident[0], argument.Ident[1]})
			case *parse.IdentifierNode:
				if functions()[argument.Ident] == nil {
					return nil, fmt.Errorf("there is no function %s", argument.Ident)
				}
			case *parse.StringNode:
			case *parse.PipeNode:
				found, err := pipeline(argument, inputs)
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
