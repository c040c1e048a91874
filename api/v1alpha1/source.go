// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"embed"
	"strings"
)

//go:embed *.go
var sources embed.FS

// Source returns the Go source of the document types as one file, from which package reference renders the reference.
func Source() string {
	const clause = "package v1alpha1\n"
	whole := clause
	entries, err := sources.ReadDir(".")
	if err != nil {
		panic("v1alpha1: reading what is embedded cannot fail: " + err.Error())
	}
	for _, entry := range entries {
		text, err := sources.ReadFile(entry.Name())
		if err != nil {
			panic("v1alpha1: reading what is embedded cannot fail: " + err.Error())
		}
		if _, body, ok := strings.Cut(string(text), clause); ok && entry.Name() != "source.go" {
			whole += body
		}
	}
	return whole
}
