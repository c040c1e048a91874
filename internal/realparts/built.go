// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Program is a real part that is built from a module beneath tools/, which takes minutes the first time.
type Program struct {
	module, name, pkg string
	tags              []string
}

// GiteaProgram is the server that StartGitea starts.
func GiteaProgram() Program {
	return Program{"gitea", "gitea", giteaModule, []string{"sqlite", "sqlite_unlock_notify"}}
}

// MinIOProgram is the server that MinIO starts.
func MinIOProgram() Program { return Program{"minio", "minio", "github.com/minio/minio", nil} }

// Name is the program's.
func (p Program) Name() string { return p.name }

// Build returns the program's path, once it is built. The working folder lies in the source tree.
func (p Program) Build(ctx context.Context) (string, error) {
	return buildProgram(ctx, p.module, p.name, p.pkg, p.tags...)
}

// Built returns the path of a program that was built already, "" when it was not.
func (p Program) Built() (string, error) {
	_, program, err := programPath(p.module, p.name, p.tags)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", p.name, err)
	}
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("looking for %s: %w", p.name, err)
	}
	return program, nil
}
