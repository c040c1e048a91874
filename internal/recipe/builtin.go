// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

//go:embed recipes
var files embed.FS

// Names lists the recipes that are built in.
func Names() []string {
	found, err := fs.Glob(files, "recipes/*.yaml")
	if err != nil {
		panic("recipe: the pattern is constant: " + err.Error())
	}
	out := make([]string, len(found))
	for i, file := range found {
		out[i] = strings.TrimSuffix(path.Base(file), ".yaml")
	}
	return out
}

// built has the recipes of files that were asked for, as func() (*Compiled, error): they never change.
var built sync.Map

// Builtin is the recipe of that name, compiled once in a process: each caller gets the same.
func Builtin(name string) (*Compiled, error) {
	text, err := files.ReadFile("recipes/" + path.Base(name) + ".yaml")
	if err != nil || path.Base(name) != name {
		return nil, fmt.Errorf("there is no recipe %q; built in are %s", name, strings.Join(Names(), ", "))
	}
	once, _ := built.LoadOrStore(name, sync.OnceValues(func() (*Compiled, error) {
		compiled, err := compileFile(name, text)
		if err != nil {
			return nil, fmt.Errorf("recipe %s: %w", name, err)
		}
		return compiled, nil
	}))
	return once.(func() (*Compiled, error))()
}

func compileFile(name string, text []byte) (*Compiled, error) {
	r, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if r.Name != name {
		return nil, Fault{Place: "name", Reason: "want the file's own name"}
	}
	return Compile(r)
}

// maxDefined is how many recipes of documents are kept compiled.
const maxDefined = 64

// defined has those that were asked for last, by their text: each account of an upstream asks for its recipe several times.
var defined = struct {
	sync.Mutex
	compiled map[[sha256.Size]byte]func() (*Compiled, error)
}{compiled: map[[sha256.Size]byte]func() (*Compiled, error){}}

// Defined compiles a recipe that stands in an Upstream document, under define: once for as long as it is among the newest.
func Defined(data any) (*Compiled, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, Fault{Place: "define", Reason: "it cannot be written as JSON"}
	}
	return define(sha256.Sum256(text), data)()
}

func define(key [sha256.Size]byte, data any) func() (*Compiled, error) {
	defined.Lock()
	defer defined.Unlock()
	if known := defined.compiled[key]; known != nil {
		return known
	}
	if len(defined.compiled) >= maxDefined {
		clear(defined.compiled)
	}
	defined.compiled[key] = sync.OnceValues(func() (*Compiled, error) {
		r, err := fromData(data)
		if err != nil {
			return nil, err
		}
		return Compile(r)
	})
	return defined.compiled[key]
}
