// SPDX-License-Identifier: Apache-2.0

package format

import (
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/materialize"
)

// Reader names a program or library that reads an env file, as documents write it.
type Reader string

// What reads env files. Each quotes in its own way.
const (
	Sh           Reader = "sh"            // set -a; . file
	Systemd      Reader = "systemd"       // EnvironmentFile=, systemd 248 or later
	Docker       Reader = "docker"        // docker run --env-file: it knows no quotes
	Compose      Reader = "compose"       // env_file: of docker compose
	Node         Reader = "node"          // node --env-file
	Dotenv       Reader = "dotenv"        // npm's dotenv
	PythonDotenv Reader = "python-dotenv" // PyPI's python-dotenv
	Ruby         Reader = "ruby"          // Ruby's dotenv
	PHPDotenv    Reader = "phpdotenv"     // PHP's vlucas/phpdotenv
	Symfony      Reader = "symfony"       // PHP's symfony/dotenv
	Godotenv     Reader = "godotenv"      // Go's joho/godotenv
)

// Readers are all of them.
var Readers = readers(materialize.EnvReaders())

// quoting are the readers that know quotes: for them all a value is written when no reader is named.
var quoting = without(Readers, Docker)

func readers(names []string) []Reader {
	all := make([]Reader, len(names))
	for i, name := range names {
		all[i] = Reader(name)
	}
	return all
}

// shape is one way to write a value.
type shape struct {
	// reads are those that take what write makes for the value, where no limit forbids it. The test with the real
	// readers holds them to it.
	reads  []Reader
	limits []limit
	// hint: its limits are worth telling when no shape serves.
	hint  bool
	write func(text string) string
	// undo is the reverse of write, for what write made.
	undo func(line string) (text string, ok bool)
}

// limit is what some readers (nil: all) read otherwise.
type limit struct {
	readers []Reader
	what    string
	holds   func(text string) bool
}

func (s shape) limit(r Reader, text string) string {
	for _, l := range s.limits {
		if (l.readers == nil || slices.Contains(l.readers, r)) && l.holds(text) {
			return l.what
		}
	}
	return ""
}

func has(sign string) func(string) bool {
	return func(text string) bool { return strings.Contains(text, sign) }
}

func ends(sign string) func(string) bool {
	return func(text string) bool { return strings.HasSuffix(text, sign) }
}

// bare needs no quotes for any reader: no shell expands, splits or globs it.
var bare = lazyregexp.New(`^[A-Za-z0-9_./:@%+,=-]*$`)

var (
	noCR    = limit{nil, "a CR", has("\r")}
	noBreak = limit{nil, "a line break", has("\n")}
)

// shapes in the order in which they are tried.
var shapes = []shape{
	{reads: Readers, limits: []limit{{nil, "a sign that needs quotes", func(text string) bool { return !bare.MatchString(text) }}},
		write: func(text string) string { return text },
		undo:  func(line string) (string, bool) { return line, true }},
	{reads: quoting, hint: true, limits: []limit{
		{nil, "a single quote beside a double quote, a backslash, a $ or a backquote", has("'")},
		{nil, "a CR before a line break", has("\r\n")},
		{without(quoting, Sh, Systemd), "a CR", has("\r")},
		{[]Reader{Ruby, PHPDotenv}, "a line break", has("\n")},
		{[]Reader{Compose, Godotenv}, "a backslash at its end", ends(`\`)},
		{[]Reader{PythonDotenv}, "two backslashes in a row", has(`\\`)},
		{[]Reader{PythonDotenv}, "${", has("${")},
	}, write: quoted("'"), undo: unquoted("'")},
	{reads: quoting, limits: []limit{
		{nil, "a double quote", has(`"`)}, {nil, "a backslash", has(`\`)}, {nil, "a $", has("$")}, {nil, "a backquote", has("`")},
		noCR, {[]Reader{Ruby}, "a line break", has("\n")},
	}, write: quoted(`"`), undo: unquoted(`"`)},
	// From here on each is for readers that a document names.
	{reads: []Reader{Sh},
		write: func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" },
		undo: func(line string) (string, bool) {
			text, ok := unquoted("'")(line)
			return strings.ReplaceAll(text, `'\''`, "'"), ok
		}},
	{reads: []Reader{Systemd}, write: escaped(`"`, "\\\"$`"), undo: unescaped(`"`)},
	{reads: []Reader{Compose, Ruby, PHPDotenv, Symfony, Godotenv}, hint: true, limits: []limit{
		noCR, {[]Reader{Ruby}, "a line break", has("\n")},
		{[]Reader{Ruby, Symfony}, "a backslash before n", has(`\n`)}, {[]Reader{Ruby, Symfony}, "a backslash before r", has(`\r`)},
		{[]Reader{Godotenv}, "a double quote at its end", ends(`"`)}, {[]Reader{Godotenv}, "a backslash at its end", ends(`\`)},
	}, write: escaped(`"`, `\"$`), undo: unescaped(`"`)},
	{reads: []Reader{PythonDotenv}, hint: true, limits: []limit{noCR, {nil, "${", has("${")}}, write: escaped("'", `\'`), undo: unescaped("'")},
	{reads: []Reader{Node, Dotenv}, limits: []limit{
		noCR, {nil, "a double quote", has(`"`)},
		{nil, "a backslash before n", has(`\n`)}, {nil, "a backslash before r", has(`\r`)},
	}, write: quoted(`"`), undo: unquoted(`"`)},
	{reads: []Reader{Node, Dotenv}, hint: true, limits: []limit{noCR, {nil, "quotes of all three kinds", has("`")}}, write: quoted("`"), undo: unquoted("`")},
	{reads: []Reader{Docker}, hint: true, limits: []limit{noBreak, noCR},
		write: func(text string) string { return text },
		undo:  func(line string) (string, bool) { return line, true }},
}

func quoted(quote string) func(string) string {
	return func(text string) string { return quote + text + quote }
}

func unquoted(quote string) func(string) (string, bool) {
	return func(line string) (string, bool) {
		return strings.TrimSuffix(strings.TrimPrefix(line, quote), quote), len(line) > 1 && line[:1] == quote && strings.HasSuffix(line, quote)
	}
}

// escaped puts a backslash before each of signs.
func escaped(quote, signs string) func(string) string {
	return func(text string) string {
		var b strings.Builder
		b.WriteString(quote)
		for _, r := range text {
			if strings.ContainsRune(signs, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		return b.String() + quote
	}
}

func unescaped(quote string) func(string) (string, bool) {
	return func(line string) (string, bool) {
		line, ok := unquoted(quote)(line)
		var b strings.Builder
		for i := 0; i < len(line); i++ {
			if line[i] == '\\' && i+1 < len(line) {
				i++
			}
			b.WriteByte(line[i])
		}
		return b.String(), ok
	}
}

func without(all []Reader, some ...Reader) []Reader {
	return slices.DeleteFunc(slices.Clone(all), func(r Reader) bool { return slices.Contains(some, r) })
}
