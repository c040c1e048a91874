// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"custody.dev/custody/internal/lazyregexp"
)

// Entry is one variable of an env file.
type Entry struct {
	Key   string
	Line  int
	Value string
}

// Fault is one place of an env file that readers do not agree about, or that is no entry. It never quotes a value.
type Fault struct {
	Line int
	// Key is the variable that is set there, "" when none is.
	Key string
	// Reason says who reads what, Fix how it is written such that all read the same.
	Reason, Fix string
}

var (
	entryForm = lazyregexp.New(`^(?:export[ \t]+)?([\pL\pN_.-]+)([ \t]*)=(.*)$`)
	// plainText is read alike without quotes by all Readers, beside letters and digits of any script.
	plainText = "_./:@%+,=-!*?[]{}^"
)

const (
	inSingle   = "put the value in single quotes"
	ownComment = "put the comment on a line of its own"
)

// ReadDotenv reads an env file that people wrote. It takes what all Readers that know quotes read alike, and reports
// everything else, all of it at once, in the order of lines. Lines that begin with export are taken: some readers know none,
// but none reads another value there.
func ReadDotenv(data []byte) ([]Entry, []Fault) {
	d := dotenv{lines: strings.Split(string(data), "\n")}
	if rest, found := strings.CutPrefix(d.lines[0], "\ufeff"); found {
		d.fault(1, "", "the file begins with a byte order mark, which a shell and npm's dotenv take for a part of the first name",
			`remove it: sed -i '1s/^\xEF\xBB\xBF//' FILE`)
		d.lines[0] = rest
	}
	if n := bytes.Count(data, []byte("\r\n")); n > 0 {
		at := 1 + bytes.Count(data[:bytes.Index(data, []byte("\r\n"))], []byte("\n"))
		d.fault(at, "", fmt.Sprintf("the lines end in CR LF (%d of them), and a shell takes the CR for a part of the value", n),
			`remove them: sed -i 's/\r$//' FILE`)
		for i := range d.lines {
			d.lines[i] = strings.TrimSuffix(d.lines[i], "\r")
		}
	}
	for d.at < len(d.lines) {
		d.entry()
	}
	return d.entries, d.faults
}

type dotenv struct {
	lines   []string
	at      int // the next line, from 0
	entries []Entry
	faults  []Fault
}

func (d *dotenv) fault(line int, key, reason, fix string) {
	d.faults = append(d.faults, Fault{line, key, reason, fix})
}

// entry reads one line, or as many as a value in quotes spans.
func (d *dotenv) entry() {
	number, line := d.at+1, d.lines[d.at]
	d.at++
	trimmed := strings.TrimLeft(line, " \t")
	switch {
	case strings.Trim(line, " \t") == "":
		return
	case strings.HasPrefix(trimmed, "#"):
		if strings.HasSuffix(line, `\`) {
			d.fault(number, "", `the comment ends in a backslash: systemd takes the next line for a part of it`, "remove the backslash")
		}
		return
	}
	parts := entryForm.FindStringSubmatch(trimmed)
	if parts == nil {
		d.fault(number, "", "it is not NAME=value", "make it NAME=value, or a comment with # before it")
		return
	}
	key, text := parts[1], parts[3]
	quote := ""
	if text != "" && strings.ContainsAny(text[:1], "'\"`") {
		quote = text[:1]
	}
	switch {
	case parts[2] != "" || text != "" && strings.ContainsAny(text[:1], " \t"):
		d.fault(number, key, "spaces stand beside the =: a shell and docker read something else", "write NAME=value without them")
	case quote == "`":
		d.fault(number, key, "the value is in backquotes: npm's dotenv takes them for quotes, and a shell runs what is in them", inSingle)
	case quote != "":
		d.quoted(number, key, quote, text[1:])
	default:
		d.bare(number, key, text)
	}
}

// bare takes a value without quotes.
func (d *dotenv) bare(number int, key, text string) {
	if !utf8.ValidString(text) {
		d.take(number, key, text)
		return
	}
	if text == "" && d.at < len(d.lines)-1 && entryForm.FindStringSubmatch(d.lines[d.at]) == nil {
		d.fault(number, key, "the value is empty and no variable follows on the next line: Node reads on into that line", "write "+key+"=''")
		return
	}
	for _, sign := range []struct {
		found       bool
		reason, fix string
	}{
		{strings.HasPrefix(text, "#") || strings.Contains(text, " #") || strings.Contains(text, "\t#"),
			"a # follows: some readers take a comment, others a part of the value", ownComment + ", or " + inSingle + " if the # is part of it"},
		{strings.Contains(text, "#"), "the value holds a #: some readers end it there", inSingle},
		{strings.TrimRight(text, " \t") != text, "spaces follow the value: docker keeps them, others do not", "remove them, or " + inSingle},
		{strings.ContainsAny(text, " \t"), "the value holds spaces: a shell takes the first word", inSingle},
		{strings.Contains(text, "$"), "the value holds a $ that some readers expand", inSingle},
		{strings.Contains(text, `\`), "the value holds a backslash that some readers drop", inSingle},
		{strings.ContainsAny(text, "'\""), "the value holds a quote that some readers drop", "put the value in quotes of the other kind"},
		{strings.ContainsFunc(text, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(plainText, r)
		}), "the value holds a sign that a shell or another reader treats specially", inSingle},
	} {
		if sign.found {
			d.fault(number, key, sign.reason, sign.fix)
			return
		}
	}
	d.take(number, key, text)
}

// quoted takes a value in quotes, which may go on over the next lines. text is what follows the opening quote.
func (d *dotenv) quoted(number int, key, quote, text string) {
	end, next := closing(text, quote), d.at
	for ; end < 0 && next < len(d.lines); next++ {
		text += "\n" + d.lines[next]
		end = closing(text, quote)
	}
	if end < 0 { // the lines after this one are read as if the quote were closed
		d.fault(number, key, "the quote is never closed", "close it at the end of the value")
		return
	}
	d.at = next
	value, rest := text[:end], text[end+1:]
	switch trimmed := strings.Trim(rest, " \t"); {
	case strings.HasPrefix(trimmed, "#"):
		d.fault(number, key, "a comment follows the value: systemd takes it for a part of the value", ownComment)
		return
	case rest != "" && trimmed == "":
		d.fault(number, key, "spaces follow the closing quote, and readers differ in whether they belong to the value", "remove them")
		return
	case rest != "":
		d.fault(number, key, "something follows the closing quote, and readers differ in what it means", "put the whole value in one pair of quotes")
		return
	}
	if quote == `"` {
		for _, special := range []struct{ sign, reason string }{
			{`\`, "a backslash in double quotes: some readers keep it, others take it for an escape"},
			{"$", "the value holds a $ that some readers expand"}, {"`", "a backquote in double quotes: a shell runs what follows it"},
		} {
			if strings.Contains(value, special.sign) {
				fix := inSingle
				if strings.Contains(value, "'") {
					fix = "no form is read alike by all: leave it out (--skip), and seal it from a file"
				}
				d.fault(number, key, special.reason, fix)
				return
			}
		}
	}
	d.take(number, key, value)
}

// closing finds the quote that ends text, -1 when it is not there. In double quotes a backslash takes the next sign along.
func closing(text, quote string) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == `"`:
			i++
		case text[i] == quote[0]:
			return i
		}
	}
	return -1
}

// take keeps a value that all readers read alike once it stands in the quotes it needs.
func (d *dotenv) take(number int, key, value string) {
	const out = "leave it out (--skip), and seal it from a file"
	switch _, why := written(value, ""); {
	case !utf8.ValidString(value):
		d.fault(number, key, "the value is not UTF-8 (Latin-1, perhaps): some readers drop it, others change it",
			"convert the file: iconv -f LATIN1 -t UTF-8 FILE > NEW")
	case strings.ContainsRune(value, 0) || strings.ContainsFunc(value, nonCharacter):
		d.fault(number, key, "the value holds a NUL or a Unicode noncharacter", out)
	case strings.Contains(value, "\n"):
		d.fault(number, key, "the value has several lines, which Ruby's and PHP's readers do not read alike", out)
	case why != "":
		d.fault(number, key, "the value holds "+d.reason(value)+", which readers do not agree about", out)
	default:
		d.entries = append(d.entries, Entry{key, number, value})
	}
}

// reason names what keeps value from being written for all.
func (d *dotenv) reason(value string) string {
	for _, s := range shapes {
		if !s.hint || len(s.reads) < len(quoting) {
			continue
		}
		for _, r := range quoting {
			if why := s.limit(r, value); why != "" {
				return why
			}
		}
	}
	return "a sign"
}
