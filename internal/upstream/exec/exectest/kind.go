// SPDX-License-Identifier: Apache-2.0

// Package exectest tests the type of upstream exec with the whole product, on a program of the host. It sets up what
// people set up by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the
// adapter.
package exectest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/upstream"
)

// Kinds is a program that this host names: the test binary itself, which keeps keys as files in a folder. A key is
// accepted as long as its file is there.
func Kinds() []acceptance.Kind {
	return []acceptance.Kind{{
		Name: "exec", Capability: upstream.Dual, Crowd: 3, SignIn: execSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			folder := acceptance.Once(s, "exec", func() string {
				folder := s.File("keys-by-program")
				self, err := os.Executable()
				s.Must(nil, err)
				s.AddProgram(fmt.Sprintf("keys: {argv: [%s, play-program], timeout: 5s}", self))
				s.Upstream("exec", fmt.Sprintf("exec: {program: keys, parameters: {folder: %s}}", folder), nil, "")
				return folder
			})
			for _, name := range accounts {
				s.Must(nil, os.MkdirAll(filepath.Join(folder, name), 0o700))
			}
			return acceptance.Part{
				At: folder, Upstream: "exec",
				Account: func(name string) string { return "exec: {mode: dual, parameters: {name: " + name + "}}" },
				Held: func(_ context.Context, name string) (held []string, err error) {
					entries, err := os.ReadDir(filepath.Join(folder, name))
					for _, entry := range entries {
						held = append(held, entry.Name())
					}
					return held, err
				},
			}
		},
	}}
}

// PlayProgram is that program: one request on standard input, one answer on standard output.
func PlayProgram() int {
	var request struct {
		Method                         string
		Password                       string
		Parameters, Account            map[string]string
		Current, Candidate, Value, Old map[string]string
	}
	if json.NewDecoder(os.Stdin).Decode(&request) != nil {
		return 1
	}
	answer := map[string]any{"custody": 1}
	file := func(value map[string]string) string {
		return filepath.Join(request.Parameters["folder"], request.Account["name"], filepath.Base(value["id"]))
	}
	var err error
	switch request.Method {
	case "kind":
		answer["kind"] = map[string]any{
			"capability": "dual", "undo": "discard", "lostReply": "recover", "methods": []string{"propose", "apply", "verify", "revoke"},
		}
	case "propose":
		answer["value"] = map[string]string{"account": request.Account["name"], "id": strings.ToLower(rand.Text()), "key": request.Password}
	case "apply":
		err = client.Replace(file(request.Candidate), request.Candidate["key"])
	case "revoke":
		if err = os.Remove(file(request.Old)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	case "verify":
		held, fault := os.ReadFile(file(request.Value))
		answer["verdict"] = "refused"
		if err = fault; errors.Is(fault, fs.ErrNotExist) {
			err = nil
		} else if string(held) == request.Value["key"] {
			answer["verdict"] = "accepted"
		}
	}
	if err != nil {
		answer["error"] = map[string]string{"class": "ambiguous", "text": "the folder cannot be read or written"}
	}
	if json.NewEncoder(os.Stdout).Encode(answer) != nil {
		return 1
	}
	return 0
}

func execSignIn(_ context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	held, err := os.ReadFile(filepath.Join(at, fields["account"], fields["id"]))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return upstream.Refused, nil
	case err != nil:
		return upstream.Unknown, err
	case string(held) != fields["key"]:
		return upstream.Refused, nil
	}
	return upstream.Accepted, nil
}
