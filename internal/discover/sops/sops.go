// SPDX-License-Identifier: Apache-2.0

// Package sops finds secrets in files that SOPS encrypted, in YAML, JSON and dotenv form, and the values in them that were
// left in clear. Nothing is decrypted.
package sops

import (
	"bytes"
	"strings"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/dotenv"
)

// Reader reads files of SOPS.
func Reader() clue.Reader {
	return clue.Reader{Source: "sops", Wants: func(f *clue.File) bool {
		return bytes.Contains(f.Data, []byte("ENC[AES256_GCM,")) && bytes.Contains(f.Data, []byte("sops"))
	}, Read: read}
}

func read(f *clue.File, found clue.Found) bool {
	if bytes.Contains(f.Data, []byte("sops_mac=")) {
		for _, e := range dotenv.Entries(f.Data) {
			if !strings.HasPrefix(e.Name, "sops_") {
				tell(f, []string{e.Name}, e.Value, e.Line, found)
			}
		}
		return true
	}
	read := false
	for _, doc := range f.Docs() {
		if doc.Get("sops", "mac") == nil {
			continue
		}
		read = true
		name := doc.Get("metadata", "name").Text()
		doc.Leaves(func(path []string, leaf *clue.Node) {
			if path[0] == "sops" {
				return
			}
			if name != "" && len(path) == 2 && (path[0] == "stringData" || path[0] == "data") {
				tell(f, path, leaf.Value, leaf.Line, found, clue.KubeKey(doc.Get("metadata", "namespace").Text(), name, path[1]))
				return
			}
			tell(f, path, leaf.Value, leaf.Line, found)
		})
	}
	return read
}

func tell(f *clue.File, path []string, text string, line int, found clue.Found, keys ...string) {
	name := clue.Dotted(path)
	c := clue.Clue{Source: "sops", Role: clue.Sealed, Name: name, Line: line, Why: "encrypted with SOPS",
		Keys: append(keys, clue.FileKey(f.Path, name))}
	if last := path[len(path)-1]; clue.EnvName(last) {
		c.Env = last
	}
	if !strings.HasPrefix(text, "ENC[") {
		value, kind, _, ok := clue.Held(path[len(path)-1], text, false)
		if !ok {
			return
		}
		c.Role, c.Value, c.Kind, c.Why = clue.Holds, clue.Text(value), kind, "the file is encrypted with SOPS, and this value of it is not"
	}
	found(c)
}
