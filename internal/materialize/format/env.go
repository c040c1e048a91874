// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// appendEnv writes one line (more when the value has line breaks) as the reader reads it, or, when none is named, as all
// that know quotes read it. What each refuses is said by the limits of the shapes.
func (l Layout) appendEnv(out []byte, key string, data []byte) ([]byte, error) {
	switch {
	case bytes.IndexByte(data, 0) >= 0:
		return nil, fmt.Errorf("%w: an environment holds no NUL", ErrUnfit)
	case !utf8.Valid(data) || bytes.ContainsFunc(data, nonCharacter):
		return nil, fmt.Errorf("%w: systemd drops what is not UTF-8 or holds a Unicode noncharacter", ErrUnfit)
	}
	text, why := written(string(data), l.Reader)
	if why != "" {
		return nil, fmt.Errorf("%w: %s", ErrUnfit, why)
	}
	return append(append(append(append(out, key...), '='), text...), '\n'), nil
}

// nonCharacter reports code points that Unicode reserves for ever.
func nonCharacter(r rune) bool { return (r >= 0xFDD0 && r <= 0xFDEF) || r&0xFFFE == 0xFFFE }

// written is text in the first shape that every reader wanted takes for text, or why there is none.
func written(text string, reader Reader) (line, why string) {
	wanted, holds := []Reader{reader}, ""
	if reader == "" {
		wanted = quoting
	}
	for _, s := range shapes {
		reason, serves := "", true
		for _, r := range wanted {
			if !slices.Contains(s.reads, r) {
				serves = false
				break
			}
			if reason = s.limit(r, text); reason != "" {
				break
			}
		}
		if serves && reason == "" {
			return s.write(text), ""
		}
		if serves && s.hint {
			holds = reason
		}
	}
	if reader == "" {
		return "", fmt.Sprintf("it holds %s, and what reads env files disagrees about that; say what reads this file "+
			"(reader: in the consumer), or deliver it as json or raw", holds)
	}
	return "", fmt.Sprintf("it holds %s, which cannot be written for %s; deliver it as json or raw", holds, reader)
}

// Quotes in which EnvText can write.
const (
	Single = "single"
	Double = "double"
)

// EnvText is text as everything in Readers that knows quotes reads it: with quotes where it needs some. With style Single or
// Double it has those quotes wherever all read text alike in them.
func EnvText(text, style string) (string, error) {
	quote, known := map[string]string{"": "", Single: "'", Double: `"`}[style]
	switch {
	case !known:
		return "", errors.New("the quotes are single or double")
	case strings.ContainsRune(text, 0), !utf8.ValidString(text), strings.ContainsFunc(text, nonCharacter):
		return "", fmt.Errorf("%w: it holds what no environment takes", ErrUnfit)
	}
	for _, s := range shapes {
		if quote == "" || len(s.reads) < len(quoting) || !strings.HasPrefix(s.write(""), quote) {
			continue
		}
		if !slices.ContainsFunc(quoting, func(r Reader) bool { return s.limit(r, text) != "" }) {
			return s.write(text), nil
		}
	}
	line, why := written(text, "")
	if why != "" {
		return "", fmt.Errorf("%w: %s", ErrUnfit, why)
	}
	return line, nil
}

// readEnv reads what appendEnv wrote.
func (l Layout) readEnv(data []byte) (map[string][]byte, error) {
	entries, rest := map[string][]byte{}, string(data)
	for rest != "" {
		key, after, found := strings.Cut(rest, "=")
		if !found {
			return nil, errMalformed
		}
		// The shortest text up to a line's end that would be written like this is the value: a value's own line breaks
		// stand in quotes, and what is before one of those closes none.
		text, size, ok := l.entry(after)
		if !ok {
			return nil, errMalformed
		}
		entries[key], rest = []byte(text), after[size:]
	}
	return entries, nil
}

// entry undoes one written value, and says how much of the input it was, its line end included.
func (l Layout) entry(input string) (text string, size int, ok bool) {
	for at := 0; ; {
		n := strings.IndexByte(input[at:], '\n')
		if n < 0 {
			return "", 0, false
		}
		line := input[:at+n]
		at += n + 1
		for _, s := range shapes {
			if !slices.Contains(s.reads, l.Reader) && (l.Reader != "" || len(s.reads) < len(quoting)) {
				continue
			}
			if text, ok := s.undo(line); ok {
				if again, why := written(text, l.Reader); why == "" && again == line {
					return text, at, true
				}
			}
		}
	}
}
