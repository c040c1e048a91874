// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// appendProperty writes one line of ASCII. Printable characters stand for themselves except a backslash and leading
// spaces; everything else is an escape.
func appendProperty(out []byte, key string, data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: it is not UTF-8", ErrUnfit)
	}
	out = append(append(out, key...), '=')
	leading := true
	for _, r := range string(data) {
		switch {
		case r == '\\':
			out = append(out, `\\`...)
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r == '\f':
			out = append(out, `\f`...)
		case r == ' ' && leading:
			out = append(out, `\ `...)
		case r >= ' ' && r <= '~':
			out = append(out, byte(r))
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04X`, unit)
			}
		}
		leading = leading && r == ' '
	}
	return append(out, '\n'), nil
}

// readProperties reads lines of KEY=VALUE as appendProperty writes them. It is not built on a library because those at
// hand turn surrogate pairs into replacement characters.
func readProperties(data []byte) (map[string][]byte, error) {
	entries := map[string][]byte{}
	for line := range bytes.Lines(data) {
		key, escaped, found := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("="))
		if _, twice := entries[string(key)]; !found || twice {
			return nil, errMalformed
		}
		text, err := unescape(escaped)
		if err != nil {
			return nil, err
		}
		entries[string(key)] = text
	}
	return entries, nil
}

func unescape(escaped []byte) ([]byte, error) {
	var units []uint16
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c != '\\' {
			units = append(units, uint16(c)) // ISO-8859-1 is the first page of Unicode
			continue
		}
		i++
		if i == len(escaped) {
			return nil, errMalformed
		}
		switch escaped[i] {
		case 'n':
			units = append(units, '\n')
		case 'r':
			units = append(units, '\r')
		case 't':
			units = append(units, '\t')
		case 'f':
			units = append(units, '\f')
		case 'u':
			if i+4 >= len(escaped) {
				return nil, errMalformed
			}
			unit, err := strconv.ParseUint(string(escaped[i+1:i+5]), 16, 16)
			if err != nil {
				return nil, errMalformed // the library's error quotes the digits
			}
			units = append(units, uint16(unit))
			i += 4
		default:
			units = append(units, uint16(escaped[i]))
		}
	}
	return []byte(string(utf16.Decode(units))), nil
}
