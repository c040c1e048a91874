// SPDX-License-Identifier: Apache-2.0

// Package keyfile finds files that are private keys: in PEM, of OpenSSH, and age identities.
package keyfile

import (
	"bytes"
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// Reader reads key files.
func Reader() clue.Reader {
	return clue.Reader{Source: "keyfile", Wants: func(f *clue.File) bool { return start(f.Data) >= 0 }, Read: read}
}

// start is where a file that is a key and little else has its key, -1 for any other file.
func start(data []byte) int {
	head := data[:min(len(data), 4<<10)]
	at := bytes.Index(head, []byte("PRIVATE KEY"))
	if at >= 0 {
		at = bytes.LastIndex(head[:at], []byte("-----BEGIN"))
	} else {
		at = bytes.Index(head, []byte("AGE-"+"SECRET-KEY-1"))
	}
	if at < 0 {
		return -1
	}
	for line := range bytes.SplitSeq(head[:at], []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || bytes.HasPrefix(line, []byte("-----")) || !bytes.ContainsAny(line, " =:(\"'`") {
			continue // comments, and certificates before the key
		}
		return -1
	}
	return at
}

func read(f *clue.File, found clue.Found) bool {
	at := start(f.Data)
	kind := "private key"
	if strings.Contains(string(f.Data[at:min(len(f.Data), at+60)]), "OPENSSH") || strings.HasPrefix(f.Base(), "id_") {
		kind = "SSH key"
	}
	why := "a private key in PEM"
	if bytes.Contains(f.Data, []byte("ENCRYPTED")) {
		why = "a private key in PEM, encrypted with a passphrase"
	}
	found(clue.Clue{Source: "keyfile", Role: clue.Holds, Name: "*", Line: clue.LineAt(f.Data, at), Kind: kind, Why: why,
		Value: clue.Text(strings.TrimSpace(string(f.Data[at:]))), Keys: []string{clue.FileKey(f.Path, "")}})
	return true
}
