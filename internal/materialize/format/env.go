// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// bare needs no quotes for any reader: no shell expands, splits or globs it.
var bare = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=-]*$`)

// appendEnv writes one line (more when the value has line breaks).
//
// Within single quotes all readers take everything literally. A value that has a single quote goes into double quotes,
// where all of them undo a backslash before one of \ " $ and backquote. Both fail before a closing quote that follows
// a backslash, which dotenv takes for an escape; and dotenv strips every double quote from the end.
func appendEnv(out []byte, key string, data []byte) ([]byte, error) {
	if err := fitsEnv(data); err != nil {
		return nil, err
	}
	out = append(append(out, key...), '=')
	switch {
	case bare.Match(data):
		out = append(out, data...)
	case !bytes.ContainsRune(data, '\''):
		out = append(append(append(out, '\''), data...), '\'')
	default:
		out = append(out, '"')
		for _, c := range data {
			if c == '\\' || c == '"' || c == '$' || c == '`' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		out = append(out, '"')
	}
	return append(out, '\n'), nil
}

func fitsEnv(data []byte) error {
	switch {
	case bytes.IndexByte(data, 0) >= 0:
		return fmt.Errorf("%w: an environment holds no NUL", ErrUnfit)
	case !utf8.Valid(data) || bytes.ContainsFunc(data, nonCharacter):
		return fmt.Errorf("%w: systemd drops what is not UTF-8 or holds a Unicode noncharacter", ErrUnfit)
	case bytes.Contains(data, []byte("\r\n")):
		return fmt.Errorf("%w: dotenv changes CR LF to LF", ErrUnfit)
	case bytes.HasSuffix(data, []byte(`\`)):
		return fmt.Errorf("%w: a trailing backslash is read differently by dotenv", ErrUnfit)
	case bytes.HasSuffix(data, []byte(`"`)) && bytes.ContainsRune(data, '\''):
		return fmt.Errorf("%w: a single quote with a trailing double quote is read differently by dotenv", ErrUnfit)
	}
	return nil
}

// nonCharacter reports code points that Unicode reserves for ever.
func nonCharacter(r rune) bool { return (r >= 0xFDD0 && r <= 0xFDEF) || r&0xFFFE == 0xFFFE }

func readEnv(data []byte) (map[string][]byte, error) {
	parsed, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		return nil, errMalformed // the library's error quotes the line
	}
	entries := make(map[string][]byte, len(parsed))
	for key, text := range parsed {
		entries[key] = []byte(text)
	}
	return entries, nil
}
