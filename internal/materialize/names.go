// SPDX-License-Identifier: Apache-2.0

package materialize

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
)

// What Custody puts beside a file: a stamp and a lock, and the file's next content until it takes the name.
const (
	StampSuffix     = ".custody"
	LockSuffix      = StampSuffix + ".lock"
	TemporarySuffix = ".tmp"
)

// Reserved reports whether a file's name is one that Custody keeps for itself.
func Reserved(base string) bool {
	return strings.HasPrefix(base, ".") &&
		(strings.HasSuffix(base, StampSuffix) || strings.HasSuffix(base, LockSuffix) || strings.HasSuffix(base, TemporarySuffix))
}

// ForbiddenMode are the bits that a secret's file never has: nobody but its owner writes to it, and nobody runs it.
const ForbiddenMode fs.FileMode = 0o133

// EnvReaders are what a document may name as the reader of an env file; package format writes for each.
func EnvReaders() []string {
	return []string{"sh", "systemd", "docker", "compose", "node", "dotenv", "python-dotenv", "ruby", "phpdotenv", "symfony", "godotenv"}
}

var (
	plainKey = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)
	envKey   = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// steering are variables by which an environment file would run code or change how the reading shell works. An
	// estate may choose keys but not commands. The list is the shell's, the loader's and the common interpreters'; a
	// program that runs what some other variable says is beyond it.
	steering = lazyregexp.New(`^(_|PATH|IFS|ENV|BASH.*|SHELLOPTS|PROMPT_COMMAND|PS[0-4]|OPTIND|CDPATH|` +
		`UID|EUID|PPID|LD_.*|DYLD_.*|GCONV_PATH|PYTHON(PATH|HOME|STARTUP)|PERL5(LIB|OPT|DB)|PERLLIB|RUBY(LIB|OPT)|` +
		`NODE_(OPTIONS|PATH)|(JAVA_TOOL|JDK_JAVA|_JAVA)_OPTIONS|GIT_SSH_COMMAND|GIT_EXEC_PATH)$`)
)

// CheckKey reports why no file holds a key; environment says that it names a variable.
func CheckKey(key string, environment bool) error {
	pattern := plainKey
	if environment {
		pattern = envKey
	}
	switch {
	case !pattern.MatchString(key):
		return fmt.Errorf("must match %s", pattern)
	case environment && steering.MatchString(key):
		return errors.New("it steers the shell or the program that reads it; choose another key")
	}
	return nil
}
