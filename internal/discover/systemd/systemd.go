// SPDX-License-Identifier: Apache-2.0

// Package systemd finds secrets in units of systemd: variables, environment files and credentials.
package systemd

import (
	"slices"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/lazyregexp"
)

var (
	word   = lazyregexp.New(`"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)`)
	option = lazyregexp.New(`(?:^|\s)--?([A-Za-z][A-Za-z0-9.-]*)[= ]([^\s-]\S*)`)
	units  = []string{".service", ".socket", ".timer", ".container", ".conf"}
)

// Reader reads units, and the drop-ins in folders that end in .d.
func Reader() clue.Reader {
	return clue.Reader{Source: "systemd", Wants: func(f *clue.File) bool {
		if !slices.Contains(units, f.Ext()) || f.Ext() == ".conf" && !strings.HasSuffix(f.Dir(), ".service.d") {
			return false
		}
		return strings.Contains(string(f.Data), "[Service]") || strings.Contains(string(f.Data), "[Container]")
	}, Read: read}
}

func read(f *clue.File, found clue.Found) bool {
	lines := strings.Split(string(f.Data), "\n")
	for i := 0; i < len(lines); i++ {
		at, text := i+1, strings.TrimSpace(lines[i])
		for strings.HasSuffix(text, `\`) && i+1 < len(lines) {
			i++
			text = strings.TrimSuffix(text, `\`) + " " + strings.TrimSpace(lines[i])
		}
		key, value, assigned := strings.Cut(text, "=")
		if !assigned || strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
			continue
		}
		setting(f, strings.TrimSpace(key), strings.TrimSpace(value), at, found)
	}
	return true
}

func setting(f *clue.File, key, value string, line int, found clue.Found) {
	c := clue.Clue{Source: "systemd", Line: line, By: "unit " + f.Base(), Role: clue.Uses}
	switch key {
	case "Environment":
		for _, parts := range word.FindAllStringSubmatch(value, -1) {
			name, text, _ := strings.Cut(parts[1]+parts[2]+parts[3], "=")
			hold(f, c, name, text, "the name of the variable", false, found)
		}
	case "EnvironmentFile":
		c.Name = strings.TrimPrefix(value, "-")
		c.Why, c.Set = "a file of variables that is not in this tree", "path:"+c.Name
		found(c)
	case "LoadCredential", "LoadCredentialEncrypted":
		name, from, _ := strings.Cut(value, ":")
		c.Name, c.Why, c.Keys = name, "a credential of the unit, from "+from, []string{"path:" + from}
		if from == "" {
			c.Why, c.Keys = "a credential of the unit, from the credential store", []string{"credential:" + name}
		}
		if key == "LoadCredentialEncrypted" {
			c.Why += ", encrypted"
		}
		found(c)
	case "SetCredential":
		name, text, _ := strings.Cut(value, ":")
		hold(f, c, name, text, "a credential of the unit, in clear", true, found)
	case "SetCredentialEncrypted":
		name, _, _ := strings.Cut(value, ":")
		c.Role, c.Name, c.Why, c.Keys = clue.Sealed, name, "an encrypted credential of the unit", []string{clue.FileKey(f.Path, name)}
		found(c)
	case "ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "Exec":
		for _, parts := range option.FindAllStringSubmatch(value, -1) {
			hold(f, c, parts[1], strings.Trim(parts[2], `"'`), "the name of the option", false, found)
		}
	}
}

func hold(f *clue.File, c clue.Clue, name, text, why string, sure bool, found clue.Found) {
	value, kind, because, ok := clue.Held(name, text, sure)
	if !ok {
		return
	}
	c.Role, c.Name, c.Value, c.Kind, c.Why = clue.Holds, name, clue.Text(value), kind, why
	if because != "" {
		c.Why = because
	}
	if clue.EnvName(name) {
		c.Env = name
	}
	c.Keys = []string{clue.FileKey(f.Path, name)}
	found(c)
}
