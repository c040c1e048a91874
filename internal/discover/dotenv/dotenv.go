// SPDX-License-Identifier: Apache-2.0

// Package dotenv finds secrets in dotenv files: .env, .env.*, and *.env.
//
// It takes what any reader of such files could take for a variable; custody init --from-env is the strict reader. Not
// guaranteed: that a value which readers disagree about is the one that a program sees.
package dotenv

import (
	"bytes"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	line = lazyregexp.New(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)$`)
	vars = lazyregexp.New(`\$\{?([A-Za-z_][A-Za-z0-9_]*)`)
)

// Reader reads dotenv files.
func Reader() clue.Reader { return clue.Reader{Source: "dotenv", Wants: wants, Read: read} }

func wants(f *clue.File) bool {
	base := f.Base()
	if bytes.Contains(f.Data, []byte("sops_mac=")) {
		return false // package sops knows these
	}
	return base == ".env" || strings.HasPrefix(base, ".env.") || strings.HasSuffix(base, ".env") || base == ".envrc"
}

func read(f *clue.File, found clue.Found) bool {
	for _, e := range Entries(f.Data) {
		c := clue.Clue{Source: "dotenv", Name: e.Name, Line: e.Line, Env: e.Name, Keys: []string{clue.FileKey(f.Path, e.Name)}}
		if value, kind, why, ok := clue.Held(e.Name, e.Value, false); ok {
			c.Role, c.Value, c.Kind, c.Why = clue.Holds, clue.Text(value), kind, why
			if c.Why == "" {
				c.Why = "the name of the variable"
			}
			found(c)
			continue
		}
		if e.Literal {
			continue
		}
		for _, match := range vars.FindAllStringSubmatch(e.Value, -1) {
			found(clue.Clue{Source: "dotenv", Role: clue.Uses, Name: match[1], Line: e.Line, By: e.Name, Env: match[1],
				Why: "the value is taken from another variable", Maybe: !clue.SecretName(match[1])})
		}
	}
	return true
}

// Entry is a variable with its value, without quotes.
type Entry struct {
	Name, Value string
	Line        int
	// Literal: what the value has of $ stands for itself.
	Literal bool
	// From and To are where the value stands in the file, quotes included.
	From, To int
}

// Entries are the variables of a dotenv file. What is no assignment is passed over.
func Entries(data []byte) []Entry {
	var entries []Entry
	lines := strings.Split(string(data), "\n")
	next := 0 // where the line after this one begins
	for i := 0; i < len(lines); i++ {
		begin := next
		next += len(lines[i]) + 1
		trimmed := strings.TrimSuffix(lines[i], "\r")
		parts := line.FindStringSubmatch(trimmed)
		if parts == nil {
			continue
		}
		value := parts[2] // which ends the line
		e := Entry{Name: parts[1], Line: i + 1, From: begin + len(trimmed) - len(value)}
		if value != "" && strings.ContainsAny(value[:1], `"'`) {
			quote := value[:1]
			text := value[1:]
			end := closing(text, quote)
			for end < 0 && i+1 < len(lines) && i+1-e.Line < 200 {
				i++
				next += len(lines[i]) + 1
				text += "\n" + lines[i]
				end = closing(text, quote)
			}
			e.To = e.From + 1 + len(text)
			if end >= 0 {
				text = text[:end]
				e.To = e.From + 1 + end + 1
			}
			e.Value, e.Literal = text, quote == "'"
		} else {
			value, _, _ = strings.Cut(value, " #")
			e.Value = strings.TrimSpace(value)
			e.To = e.From + len(e.Value)
		}
		e.To = min(e.To, len(data))
		entries = append(entries, e)
	}
	return entries
}

// closing is where the quote ends, -1 where it does not.
func closing(text, quote string) int {
	for from := 0; ; {
		at := strings.Index(text[from:], quote)
		if at < 0 {
			return -1
		}
		at += from
		if quote == "'" || at == 0 || text[at-1] != '\\' {
			return at
		}
		from = at + 1
	}
}
