// SPDX-License-Identifier: Apache-2.0

// Package script finds secrets in shell scripts: values in clear, variables that a script takes from elsewhere, and the steps
// by which scripts act as control planes: with what a value is made, where it is put, and in which order.
//
// Scripts are parsed, never run. A value is followed from the command that makes it through variables, pipes and files to
// the commands that put it somewhere. Not guaranteed: that it is followed through functions, loops, and files whose names a
// script computes; that a script which does not parse is read beyond its variables.
package script

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var shebang = lazyregexp.New(`^#!\s*\S*?(?:/|env\s+)(?:-S\s+)?(?:ba|da|k|z|a)?sh\b`)

// Reader reads scripts of POSIX shells, bash, ksh and zsh.
func Reader() clue.Reader {
	return clue.Reader{Source: "script", Wants: func(f *clue.File) bool {
		if slices.Contains([]string{".sh", ".bash", ".ksh", ".zsh"}, f.Ext()) {
			return true
		}
		return bytes.HasPrefix(f.Data, []byte("#!")) && shebang.Match(f.Data[:min(len(f.Data), 128)])
	}, Read: func(f *clue.File, found clue.Found) bool {
		return Snippet{Source: "script", Text: string(f.Data), Line: 1, By: "script " + f.Base(), Uses: true}.Read(f, found)
	}}
}

// Snippet is shell text in a file: the whole of it, or a step of a CI job.
type Snippet struct {
	// Source is the reader in whose name clues are found.
	Source, Text, By string
	// Line is that of the file in which the text begins.
	Line int
	// Uses: variables that the text does not set are taken from elsewhere, but for those that Set knows.
	Uses bool
	Set  func(name string) bool
	// Key is that of a variable which is taken from elsewhere, "" for none. Nil gives none.
	Key func(name string) string
}

// mostScript bounds the scripts that are parsed, in bytes: words such as if nest without brackets, and each level takes stack.
const mostScript = 256 << 10

// value is one that the script makes or moves.
type value struct {
	name, kind string
	line       int
	steps      []clue.Step
	keys       []string
	// sure: what makes it makes secrets; else it is one if it is put into a place for secrets or called like one.
	sure, put bool
	// small: so few bytes, or made for so many ends, that being written to a file says nothing.
	small bool
}

type run struct {
	Snippet
	f        *clue.File
	found    clue.Found
	vars     map[string][]*value
	files    map[string][]*value
	assigned map[string]bool
	values   []*value
	done     map[syntax.Node]bool
}

// Read finds clues in the snippet and reports whether it is shell.
func (s Snippet) Read(f *clue.File, found clue.Found) bool {
	if !clue.Parsable([]byte(s.Text), mostScript) {
		return false
	}
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(s.Text), "")
	if err != nil {
		return false
	}
	r := &run{Snippet: s, f: f, found: found, vars: map[string][]*value{}, files: map[string][]*value{}, assigned: map[string]bool{}, done: map[syntax.Node]bool{}}
	syntax.Walk(parsed, func(node syntax.Node) bool {
		switch node := node.(type) {
		case *syntax.BinaryCmd:
			if (node.Op == syntax.Pipe || node.Op == syntax.PipeAll) && !r.done[node] {
				r.pipeline(stages(node, r.done))
			}
		case *syntax.Stmt:
			if call, is := node.Cmd.(*syntax.CallExpr); is && !r.done[call] {
				r.pipeline([]*syntax.Stmt{node})
			}
		case *syntax.DeclClause:
			for _, assign := range node.Args {
				r.assign(assign)
			}
		case *syntax.WordIter:
			r.assigned[node.Name.Value] = true
		}
		return true
	})
	for _, v := range r.values {
		if v.sure || v.put || clue.SecretName(v.name) && len(v.steps) > 0 {
			r.tell(v)
		}
	}
	if s.Uses {
		r.uses(parsed)
	}
	return true
}

func (r *run) tell(v *value) {
	c := clue.Clue{Source: r.Source, Role: clue.Makes, Name: v.name, Line: v.line, By: r.By, Kind: v.kind, Steps: v.steps, Keys: v.keys,
		Why: v.steps[0].With + " makes it"}
	if v.steps[0].Does == "puts" {
		c.Why = v.steps[0].With + " puts it into " + v.steps[0].To
	}
	c.Keys = append(c.Keys, clue.FileKey(r.f.Path, v.name))
	r.found(c)
}

// stages are the commands of a pipe, in order.
func stages(node *syntax.BinaryCmd, done map[syntax.Node]bool) []*syntax.Stmt {
	done[node] = true
	var list []*syntax.Stmt
	for _, side := range []*syntax.Stmt{node.X, node.Y} {
		if inner, is := side.Cmd.(*syntax.BinaryCmd); is && (inner.Op == syntax.Pipe || inner.Op == syntax.PipeAll) {
			list = append(list, stages(inner, done)...)
			continue
		}
		list = append(list, side)
	}
	return list
}

// pipeline reads commands of which each reads what the one before writes, and returns the values that the last one writes.
func (r *run) pipeline(stmts []*syntax.Stmt) (flow []*value) {
	for _, stmt := range stmts {
		call, is := stmt.Cmd.(*syntax.CallExpr)
		if !is {
			flow = nil
			continue
		}
		r.done[call] = true
		flow = r.call(call, stmt.Redirs, flow)
	}
	return flow
}

// word is an argument: its text, with ${NAME} for variables, and the values that it holds.
type word struct {
	text   string
	values []*value
	// plain: it is text alone.
	plain bool
	line  int
}

func (r *run) word(w *syntax.Word) word {
	made := word{plain: true}
	if w == nil {
		return made
	}
	made.line = r.Line + int(w.Pos().Line()) - 1
	r.parts(w.Parts, &made)
	return made
}

func (r *run) parts(parts []syntax.WordPart, into *word) {
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			into.text += strings.ReplaceAll(part.Value, `\`, "")
		case *syntax.SglQuoted:
			into.text += part.Value
		case *syntax.DblQuoted:
			r.parts(part.Parts, into)
		case *syntax.ParamExp:
			into.plain = false
			if part.Param != nil {
				into.text += "${" + part.Param.Value + "}"
				into.values = append(into.values, r.vars[part.Param.Value]...)
			}
		case *syntax.CmdSubst:
			into.plain = false
			into.text += "$()"
			for _, stmt := range part.Stmts {
				into.values = append(into.values, r.inner(stmt)...)
			}
		default:
			into.plain = false
		}
	}
}

// inner is what a command within another writes.
func (r *run) inner(stmt *syntax.Stmt) []*value {
	switch cmd := stmt.Cmd.(type) {
	case *syntax.CallExpr:
		if !r.done[cmd] {
			return r.pipeline([]*syntax.Stmt{stmt})
		}
	case *syntax.BinaryCmd:
		if (cmd.Op == syntax.Pipe || cmd.Op == syntax.PipeAll) && !r.done[cmd] {
			return r.pipeline(stages(cmd, r.done))
		}
	}
	return nil
}

// assign follows values into a variable, and finds values in clear.
func (r *run) assign(a *syntax.Assign) {
	if a.Name == nil || a.Naked {
		return
	}
	name := a.Name.Value
	w := r.word(a.Value)
	// X=${X:-default} takes X from elsewhere.
	if !strings.Contains(w.text, "${"+name+"}") {
		r.assigned[name] = true
	}
	for _, v := range w.values {
		if v.name == "" {
			v.name = name
		}
	}
	r.vars[name] = w.values
	if !w.plain || w.text == "" {
		return
	}
	if text, kind, why, ok := clue.Held(name, w.text, false); ok {
		r.holds(name, text, kind, or(why, "the name of the variable"), r.Line+int(a.Pos().Line())-1)
	}
}

func (r *run) holds(name, text, kind, why string, line int) {
	r.found(clue.Clue{Source: r.Source, Role: clue.Holds, Name: name, Line: line, By: r.By, Kind: kind, Why: why,
		Value: clue.Text(text), Keys: []string{clue.FileKey(r.f.Path, name)}})
}

func or(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

// call reads one command. in is what it reads from a pipe, and what it returns is what it writes.
func (r *run) call(call *syntax.CallExpr, redirs []*syntax.Redirect, in []*value) []*value {
	for _, assign := range call.Assigns {
		r.assign(assign)
	}
	if len(call.Args) == 0 {
		return nil
	}
	args := make([]word, len(call.Args))
	for i, arg := range call.Args {
		args[i] = r.word(arg)
	}
	args = bare(args)
	if len(args) == 0 {
		return nil
	}
	line := args[0].line
	var target string
	for _, redir := range redirs {
		switch redir.Op {
		case syntax.RdrOut, syntax.AppOut, syntax.RdrClob:
			if redir.N == nil {
				target = r.word(redir.Word).text
			}
		case syntax.RdrIn:
			in = append(in, r.files[r.word(redir.Word).text]...)
		case syntax.WordHdoc:
			in = append(in, r.word(redir.Word).values...)
		case syntax.Hdoc, syntax.DashHdoc:
			if redir.Hdoc != nil {
				body := r.word(redir.Hdoc)
				in = append(in, body.values...)
				args = append(args, word{text: body.text, values: body.values, plain: false, line: line})
			}
		}
	}
	tool := path.Base(args[0].text)
	if tool == "read" || tool == "getopts" {
		for _, arg := range args[1:] {
			r.assigned[arg.text] = true
		}
	}
	r.literals(tool, args)
	out := in
	if tool == "echo" || tool == "printf" || tool == "cat" {
		for _, arg := range args[1:] {
			out = append(out, arg.values...)
			out = append(out, r.files[arg.text]...)
		}
	}
	if m, is := makes(tool, args); is {
		v := &value{kind: m.kind, line: line, sure: m.sure, small: m.small, steps: []clue.Step{{Line: line, Does: "makes", With: m.with, To: m.to}}}
		r.values = append(r.values, v)
		if m.to != "" {
			v.name, v.put = m.to, true
			r.files[m.to] = append(r.files[m.to], v)
		}
		if m.key != "" {
			v.keys = append(v.keys, m.key)
		}
		out = []*value{v} // one that signs in to what makes another is no part of it
	}
	for _, p := range puts(tool, args, target) {
		out = append(out, r.put(p, in, line)...)
	}
	if target != "" && len(out) > 0 && tool != "kubeseal" && tool != "sops" {
		r.write(out, target, line)
	}
	return unique(out)
}

// write follows values into a file.
func (r *run) write(values []*value, file string, line int) {
	if strings.HasPrefix(file, "/dev/") {
		return
	}
	r.files[file] = append(r.files[file], values...)
	secretish := clue.SecretName(file) || clue.LikelyName(file) || strings.HasSuffix(file, ".key") || strings.HasSuffix(file, ".pem")
	for _, v := range values {
		if v.small && !secretish {
			continue
		}
		v.steps = append(v.steps, clue.Step{Line: line, Does: "puts", With: ">", To: file})
		v.put = true
		if v.name == "" {
			v.name = file
		}
		if within := r.f.Within(file); within != "" {
			v.keys = append(v.keys, clue.FileKey(within, ""))
		}
	}
}

// put follows values into a store, and returns them.
func (r *run) put(p destination, in []*value, line int) []*value {
	moved := slices.Clone(p.values)
	if p.file != "" {
		moved = append(moved, r.files[p.file]...)
	}
	if len(moved) == 0 && p.piped {
		moved = in
	}
	if p.literal != "" {
		if text, kind, _, ok := clue.Held(p.name, p.literal, true); ok {
			r.holds(p.name, text, kind, "given to "+p.with+" in clear", line)
		}
		return nil
	}
	if len(moved) == 0 {
		return nil
	}
	for _, v := range moved {
		v.put = true
		v.steps = append(v.steps, clue.Step{Line: line, Does: "puts", With: p.with, To: p.to})
		if p.key != "" {
			v.keys = append(v.keys, p.key)
		}
		if v.name == "" {
			v.name = p.name
		}
	}
	return moved
}

// uses finds the variables that the script takes from elsewhere, each where it is first used.
func (r *run) uses(parsed *syntax.File) {
	seen := map[string]bool{}
	tell := func(name string, line int) {
		if seen[name] || r.assigned[name] || r.Set != nil && r.Set(name) || len(name) < 2 || strings.Trim(name, "0123456789") == "" {
			return
		}
		seen[name] = true
		c := clue.Clue{Source: r.Source, Role: clue.Uses, Name: name, Line: line, By: r.By, Env: name, Maybe: !clue.SecretName(name),
			Why: "the script takes this variable from its environment"}
		if r.Key != nil {
			c.Keys = []string{r.Key(name)}
		}
		r.found(c)
	}
	syntax.Walk(parsed, func(node syntax.Node) bool {
		switch node := node.(type) {
		case *syntax.ParamExp:
			if node.Param != nil {
				tell(node.Param.Value, r.Line+int(node.Pos().Line())-1)
			}
		case *syntax.Word:
			if parts := buildSecret.FindStringSubmatch(node.Lit()); parts != nil {
				tell(parts[1], r.Line+int(node.Pos().Line())-1)
			}
		}
		return true
	})
}

var buildSecret = lazyregexp.New(`(?:^|,)env=([A-Z][A-Z0-9_]+)$`)

func unique(values []*value) []*value {
	var kept []*value
	for _, v := range values {
		if !slices.Contains(kept, v) {
			kept = append(kept, v)
		}
	}
	return kept
}
