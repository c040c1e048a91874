// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"encoding/json"

	"custody.dev/custody/internal/secret"
)

// appendJSON appends one member on a line of its own. The encoding of a member is secret.Value's canonical one.
func appendJSON(out []byte, key string, data []byte) ([]byte, error) {
	single, err := secret.New(map[string][]byte{key: data})
	if err != nil {
		return nil, err
	}
	member := single.Encode() // {"key":...}
	if out == nil {
		out = append(out, '{')
	} else {
		out = append(out, ',')
	}
	return append(append(out, "\n  "...), member[1:len(member)-1]...), nil
}

func closeJSON(out []byte) []byte {
	if out == nil {
		return []byte("{}\n")
	}
	return append(out, "\n}\n"...)
}

func readJSON(data []byte) (map[string][]byte, error) {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(trimmed) {
		return nil, errMalformed
	}
	v, err := secret.Decode(trimmed)
	if err != nil {
		return nil, errMalformed
	}
	entries := map[string][]byte{}
	for _, name := range v.Names() {
		entries[name] = v.Expose(name)
	}
	return entries, nil
}
