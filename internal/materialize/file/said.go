// SPDX-License-Identifier: Apache-2.0

package file

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"custody.dev/custody/internal/secret"
)

const (
	taken = "[taken out]"
	// longWord is the length from which a word of letters and digits may be a value, of an earlier version for example.
	longWord = 12
)

// scratch takes what a program prints. It is memory and no pipe: a process that the program leaves running, such as the one
// that it restarted, writes on without being killed for it, and in vain.
type scratch struct{ file *os.File }

func newScratch() (scratch, error) {
	fd, err := unix.MemfdCreate("custody", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return scratch{}, fmt.Errorf("making room for what it prints: %w", err)
	}
	return scratch{os.NewFile(uintptr(fd), "custody")}, nil
}

// end is the end of what was printed, as far as it can be read.
func (s scratch) end() []byte {
	info, err := s.file.Stat()
	if err != nil {
		return nil
	}
	kept := make([]byte, min(info.Size(), stderrLimit))
	read, _ := s.file.ReadAt(kept, info.Size()-int64(len(kept)))
	return kept[:read]
}

// close lets nothing more be written.
func (s scratch) close() {
	_, _ = unix.FcntlInt(s.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
	_ = s.file.Close()
}

// named is " NAME" of a reload that has one.
func named(name string) string {
	if name == "" {
		return ""
	}
	return " with " + name
}

// said is what a program that failed printed on standard error, in one line, without anything of v and without words that
// look like a value.
func said(err error, v secret.Value) string {
	failed, is := errors.AsType[*Failed](err)
	if !is {
		return ""
	}
	text := strings.ToValidUTF8(string(failed.Stderr), "?")
	if len(failed.Stderr) == stderrLimit { // it may begin within a word, of which the rest would not be known again
		_, text, _ = strings.Cut(text, "\n")
	}
	for _, name := range v.Names() {
		field := v.ExposeText(name)
		for _, form := range append(strings.Split(field, "\n"), field, base64.StdEncoding.EncodeToString([]byte(field))) {
			if form = strings.TrimSpace(form); len(form) > 2 {
				text = strings.ReplaceAll(text, form, taken)
			}
		}
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	for i, word := range words {
		if looksSecret(word) {
			words[i] = taken
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "; it said: " + strings.Join(words, " ")
}

// looksSecret reports whether a word may be a value: long, and of letters and digits mixed. Paths are none.
func looksSecret(word string) bool {
	if len(word) < longWord || strings.HasPrefix(word, "/") {
		return false
	}
	return strings.ContainsFunc(word, unicode.IsDigit) && strings.ContainsFunc(word, unicode.IsLetter)
}
