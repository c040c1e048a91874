// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
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

// Builtin compiles the recipe of that name.
func Builtin(name string) (*Compiled, error) {
	text, err := files.ReadFile("recipes/" + path.Base(name) + ".yaml")
	if err != nil || path.Base(name) != name {
		return nil, fmt.Errorf("there is no recipe %q; built in are %s", name, strings.Join(Names(), ", "))
	}
	r, err := Parse(text)
	if err == nil && r.Name != name {
		err = Fault{Place: "name", Reason: "want the file's own name"}
	}
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", name, err)
	}
	compiled, err := Compile(r)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w", name, err)
	}
	return compiled, nil
}

// Defined compiles a recipe that stands in an Upstream document, under define.
func Defined(data any) (*Compiled, error) {
	r, err := FromData(data)
	if err != nil {
		return nil, err
	}
	return Compile(r)
}
