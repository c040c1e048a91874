// SPDX-License-Identifier: Apache-2.0

// Package compose finds secrets in files of Docker Compose: variables of services, files of variables, secrets.
package compose

import (
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	file     = lazyregexp.New(`^(docker-)?compose([.-][A-Za-z0-9_.-]+)?\.ya?ml$`)
	named    = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	variable = lazyregexp.New(`\$\{?([A-Za-z_][A-Za-z0-9_]*)(?::?[-?+]([^}]*))?\}?`)
	option   = lazyregexp.New(`(?:^|\s)--?([A-Za-z][A-Za-z0-9.-]*)(?:=|\s+)("[^"]*"|'[^']*'|[^\s-]\S*)`)
)

// Reader reads files of Docker Compose.
func Reader() clue.Reader {
	return clue.Reader{Source: "compose", Wants: func(f *clue.File) bool { return file.MatchString(f.Base()) }, Read: read}
}

type reading struct {
	f     *clue.File
	found clue.Found
}

func read(f *clue.File, found clue.Found) bool {
	understood := false
	for _, doc := range f.Docs() {
		if !doc.Get("services").IsMap() {
			continue
		}
		understood = true
		r := reading{f, found}
		r.secrets(doc)
		doc.Get("services").Pairs(r.service)
	}
	return understood
}

// secrets are those that a file declares for its services.
func (r reading) secrets(doc *clue.Node) {
	doc.Get("secrets").Pairs(func(name string, n *clue.Node) {
		c := clue.Clue{Source: "compose", Role: clue.Names, Name: name, Line: n.At(), Keys: []string{"compose:" + r.f.Path + "#" + name}}
		switch {
		case n.Get("file") != nil:
			c.Why = "a secret of Docker Compose, from a file"
			if within := r.f.Within(n.Get("file").Text()); within != "" {
				c.Keys = append(c.Keys, clue.FileKey(within, ""))
			}
		case n.Get("environment") != nil:
			c.Why, c.Env = "a secret of Docker Compose, from a variable", n.Get("environment").Text()
		default:
			external := n.Get("name").Text()
			if external == "" {
				external = name
			}
			c.Why = "a secret that exists only in the engine"
			c.Keys = append(c.Keys, "compose-external:"+external)
		}
		r.found(c)
	})
}

func (r reading) service(name string, n *clue.Node) {
	by := "service " + name
	n.Get("environment").Pairs(func(key string, v *clue.Node) { r.env(name, by, key, v.Text(), true, v.At()) })
	for _, item := range n.Get("environment").Items() {
		key, text, has := strings.Cut(item.Text(), "=")
		r.env(name, by, key, text, has, item.At())
	}
	files := n.Get("env_file")
	if files.Text() != "" {
		r.envFile(by, files.Text(), files.At())
	}
	for _, item := range files.Items() {
		path := item.Text()
		if item.IsMap() {
			path = item.Get("path").Text()
		}
		r.envFile(by, path, item.At())
	}
	for _, item := range n.Get("secrets").Items() {
		source := item.Text()
		if item.IsMap() {
			source = item.Get("source").Text()
		}
		r.found(clue.Clue{Source: "compose", Role: clue.Uses, Name: source, Line: item.At(), By: by, Why: "mounted as a file into the service",
			Keys: []string{"compose:" + r.f.Path + "#" + source}})
	}
	for _, part := range []string{"command", "entrypoint"} {
		r.command(name, by, n.Get(part))
	}
	build := n.Get("build", "args")
	build.Pairs(func(key string, v *clue.Node) { r.env(name, by, key, v.Text(), true, v.At()) })
}

// env is a variable of a service. One without a value is passed on from the environment.
func (r reading) env(service, by, name, text string, has bool, line int) {
	if !named.MatchString(name) {
		return
	}
	if !has || text == "" {
		r.found(clue.Clue{Source: "compose", Role: clue.Uses, Name: name, Line: line, By: by, Env: name, Maybe: !clue.SecretName(name), Why: "passed on from the environment"})
		return
	}
	r.taken(by, text, line)
	r.hold(service, by, name, text, "the name of the variable", line)
}

func (r reading) hold(service, by, name, text, why string, line int) {
	value, kind, because, ok := clue.Held(name, text, false)
	if !ok {
		// A default is used wherever nobody sets the variable.
		parts := variable.FindStringSubmatch(text)
		if parts == nil || parts[0] != text || parts[2] == "" {
			return
		}
		if value, kind, _, ok = clue.Held(name, parts[2], false); !ok {
			return
		}
		because = "the default of a variable"
	}
	if because != "" {
		why = because
	}
	c := clue.Clue{Source: "compose", Role: clue.Holds, Name: service + "/" + name, Line: line, By: by, Kind: kind, Why: why, Value: clue.Text(value),
		Keys: []string{clue.FileKey(r.f.Path, service+"/"+name)}}
	r.found(c)
}

// taken are the variables that text takes from the environment.
func (r reading) taken(by, text string, line int) {
	for _, match := range variable.FindAllStringSubmatch(text, -1) {
		r.found(clue.Clue{Source: "compose", Role: clue.Uses, Name: match[1], Line: line, By: by, Env: match[1], Maybe: !clue.SecretName(match[1]),
			Why: "taken from the environment, or from .env beside the file"})
	}
}

func (r reading) envFile(by, path string, line int) {
	within := r.f.Within(path)
	if within == "" {
		return
	}
	r.found(clue.Clue{Source: "compose", Role: clue.Uses, Name: within, Line: line, By: by, Set: clue.FileKey(within, ""), Why: "all variables of the file are given to the service"})
}

func (r reading) command(service, by string, n *clue.Node) {
	words := []string{n.Text()}
	for _, item := range n.Items() {
		words = append(words, item.Text())
	}
	text := strings.Join(words, " ")
	r.taken(by, text, n.At())
	for _, match := range option.FindAllStringSubmatch(text, -1) {
		r.hold(service, by, match[1], strings.Trim(match[2], `"'`), "the name of an option", n.At())
	}
}
