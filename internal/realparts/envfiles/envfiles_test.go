// SPDX-License-Identifier: Apache-2.0

package envfiles

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"custody.dev/custody/internal/materialize/format"
	"custody.dev/custody/internal/secret"
)

// stands says which of this package's readers a reader of package format stands for.
func stands(reader format.Reader) []string {
	switch reader {
	case format.Sh:
		return []string{"sh", "bash"}
	case format.Dotenv:
		return []string{"dotenv", "dotenv-16"}
	}
	return []string{string(reader)}
}

// awkward are values that some reader is known to treat specially.
var awkward = []string{
	"", "plain", " lead", "trail ", "#no comment", "a #b", "it's", `say "x"`, `both ' and " x`, `a\b`, `a\nb`, `\\`, `\\server\share`,
	"it's $5", `it's \n`, `CORP\svc`, "abc#123", "abc # one # two", "$HOME", "${HOME}", "$X", "${X}", "$(id)", `\$X'`, "`id`", "`id`'", "a\nb", "a\n#b='",
	"\n", "\t", "\r", "\r\n", "a\rb", "tab\tx", "~", "~/x", "a=b", "=", "!", "!x", "ü€😀", "\u2028", "\u00a0", "\u0085", "\ufeff", "x\ufeff", "\x7f\x1b\x01",
	"'", `"`, "`", `'"`, `"'`, "'\"`", `'\`, `\'`, `\\'x`, `"\`, "''", `""`, "``", `'$'`, "'${X}$Y", `'\n\r\t`, "export A=1", ";x", "<&>", "a\\\nb'", "*", "%s%n",
	"pässword", "a{b,c}", "[x]", "a?", "^", "a b ", "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n",
}

// pieces are what random values are made of.
var pieces = []string{"a", "Z", "0", " ", "\t", "\n", "\r", "'", `"`, "`", `\`, "$", "{", "}", "(", ")", "#", "=", ":", ";", "&", "|", "<", ">", "*", "?", "!", "~", "%",
	"X", "n", "r", "t", "u", "x", "é", "\u00a0", "\ufeff", "export ", "${X}", "$X", "$(id)", `\n`, `\\`, "[", "]", "^", "-", ".", "/", "@", "+", ",", "_"}

// values are the awkward ones and random ones; a failure prints the value.
func values(n int) []string {
	draw := rapid.Custom(func(t *rapid.T) string {
		text := ""
		for _, piece := range rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 7).Draw(t, "pieces") {
			text += piece
		}
		return text
	})
	all := slices.Clone(awkward)
	for seed := range n {
		all = append(all, draw.Example(seed))
	}
	return all
}

// lines are entries as people write them.
func lines(n int) []string {
	draw := rapid.Custom(func(t *rapid.T) string {
		text := ""
		for _, piece := range rapid.SliceOfN(rapid.SampledFrom(append(pieces, "'", `"`, "a", "b", "é")), 0, 6).Draw(t, "pieces") {
			text += piece
		}
		quote := rapid.SampledFrom([]string{"", "", "'", `"`}).Draw(t, "quote")
		return "A=" + quote + text + quote + rapid.SampledFrom([]string{"", "", "", " ", " # x"}).Draw(t, "end")
	})
	all := []string{"A= # comment", "A=abc # one # two", `A="CORP\svc"`, "A=abc#123", "A=p\xe4ss", "A=[x]", "A=a{b,c}!?*^", "A=pässword", "A='x'  ", "A= x", "A=~", "A"}
	for seed := range n {
		all = append(all, draw.Example(seed))
	}
	return all
}

// What is taken in, every reader that knows quotes reads as it was taken.
func TestWhatIsTakenInAllReadAlike(t *testing.T) {
	var contents [][]byte
	var wants []string
	for _, line := range lines(400) {
		content := []byte("# it's a \"comment\" = $X\n\n" + line + "\nZ=end\n")
		entries, faults := format.ReadDotenv(content)
		if len(faults) > 0 || len(entries) > 2 { // the line ended within, and another variable begins
			continue
		}
		if len(entries) != 2 || entries[0].Key != "A" || entries[0].Line != 3 || entries[1].Value != "end" {
			t.Fatalf("%q: got %d entries and no fault", content, len(entries))
		}
		contents, wants = append(contents, content), append(wants, entries[0].Value)
	}
	if len(contents) < 60 {
		t.Errorf("%d lines were taken, want 60: a reader that refuses everything would pass", len(contents))
	}
	got := Read(t, contents)
	for i, want := range wants {
		for _, reader := range Readers {
			if read := got[reader][i]; reader != "docker" && (read["A"] != want || read["Z"] != "end") {
				t.Errorf("%q was taken as %q: %s reads %q", contents[i], want, reader, read)
			}
		}
	}
}

// What is written for a reader, or for all, the reader itself reads as it was.
func TestEveryReaderReadsWhatIsWrittenForIt(t *testing.T) {
	type written struct {
		value  string
		reader format.Reader
		file   int
	}
	var all []written
	var contents [][]byte // each once, whatever readers it is for
	at := map[string]int{}
	taken := map[format.Reader]int{}
	for _, text := range values(150) {
		v, err := secret.Text(map[string]string{"a": text, "z": "end"})
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range append([]format.Reader{""}, format.Readers...) {
			content, err := format.Layout{Format: format.Env, Reader: reader}.Render(v, "")
			if errors.Is(err, format.ErrUnfit) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			taken[reader]++
			if _, there := at[string(content)]; !there {
				at[string(content)], contents = len(contents), append(contents, content)
			}
			all = append(all, written{text, reader, at[string(content)]})
		}
	}
	got := Read(t, contents)
	for _, w := range all {
		readers := []format.Reader{w.reader}
		if w.reader == "" {
			readers = slices.DeleteFunc(slices.Clone(format.Readers), func(r format.Reader) bool { return r == format.Docker })
		}
		for _, reader := range readers {
			for _, name := range stands(reader) {
				if read := got[name][w.file]; read["A"] != w.value || read["Z"] != "end" || len(read) != 2 {
					t.Errorf("%q, written for %q: %s reads %q from %q", w.value, w.reader, name, read, contents[w.file])
				}
			}
		}
	}
	// A writer that refuses everything would pass too.
	for reader, least := range map[format.Reader]int{format.Sh: 200, format.Systemd: 200, format.Docker: 100, format.Node: 100, format.PythonDotenv: 100, "": 60} {
		if taken[reader] < least {
			t.Errorf("%d values were written for %q, want %d", taken[reader], reader, least)
		}
	}
}
