// SPDX-License-Identifier: Apache-2.0

package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"
	"github.com/magiconair/properties"

	"custody.dev/custody/internal/secret"
)

// seeds are contents that some reader is known to treat specially.
var seeds = []string{
	"", "plain", " lead", "trail ", "#no comment", "a #b", "it's", `say "x"`, `both ' and " x`, `a\b`, `a\nb`, `\\`,
	"$HOME", "${HOME}", "$(id)", `\$HOME'`, "`id`", "`id`'", "a\nb", "a\n#b='", "\n", "\t", "\r", "\r\n", "tab\tx", "~", "~/x",
	"a=b", "=", "!", "!x", "ü€😀", "\u2028", "\u00a0", "\u0085", "\ufeff", "\ufffe", "\x7f\x1b\x01", "\x00", "\xff", "\xc3",
	"'", `"`, `'"`, `"'`, `'\`, `\'`, `\\'x`, `"\`, "''", `""`, `'$'`, "'${X}$Y", `'\n\r\t`, "export A=1", ";x", "<&>", "a\\\nb'", "*", "%s%n",
}

// FuzzRoundTrip: what was written reads back as it was, by this package and by each format's other readers.
func FuzzRoundTrip(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), []byte("second"))
		f.Add([]byte("first"), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		v, err := secret.New(map[string][]byte{"FIRST": first, "SECOND": second})
		if err != nil {
			return // larger than a value may be
		}
		for _, name := range []Name{Env, JSON, Properties} {
			layout := Layout{Format: name, VersionKey: "VERSION"}
			data, err := layout.Render(v, "1.r.a")
			if errors.Is(err, ErrUnfit) {
				if fits(name, first) && fits(name, second) {
					t.Errorf("%s: refused %q and %q, which its contract takes", name, first, second)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			want := exposed(v)
			want["VERSION"] = "1.r.a"
			got, err := layout.Read(data)
			if err != nil {
				t.Fatalf("%s: reading %q: %v", name, data, err)
			}
			if diff := cmp.Diff(want, exposed(got)); diff != "" {
				t.Errorf("%s: reading %q (-want +got):\n%s", name, data, diff)
			}
			for reader, read := range otherReaders[name] {
				if got, applies := read(t, data); applies {
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s read by %s: %q (-want +got):\n%s", name, reader, data, diff)
					}
				}
			}
		}
		raw := Layout{Format: Raw, Field: "FIRST"}
		data, err := raw.Render(v, "1.r.a")
		if err != nil || !bytes.Equal(data, first) {
			t.Errorf("raw: got %q, %v, want %q", data, err, first)
		}
		if got, err := raw.Read(data); err != nil || !bytes.Equal(got.Expose("FIRST"), first) {
			t.Errorf("raw: got %v from reading, want %q", err, first)
		}
	})
}

// fits says the contract of Env and Properties again, in other words than the writers.
func fits(name Name, data []byte) bool {
	text := string(data)
	if name == JSON {
		return true
	}
	if !utf8.ValidString(text) {
		return false
	}
	if name == Properties {
		return true
	}
	for _, r := range text {
		if r == 0 || (r >= 0xFDD0 && r <= 0xFDEF) || r%0x10000 >= 0xFFFE {
			return false
		}
	}
	return !strings.ContainsAny(text, "\r\n") && !strings.HasSuffix(text, `\`) && !strings.Contains(text, `\\`) &&
		!strings.Contains(text, "${") && (!strings.Contains(text, "'") || !strings.ContainsAny(text, "\"\\$`"))
}

type reader func(t *testing.T, data []byte) (fields map[string]string, applies bool)

var otherReaders = map[Name]map[string]reader{
	Env: {
		"godotenv": func(t *testing.T, data []byte) (map[string]string, bool) {
			fields, err := godotenv.UnmarshalBytes(data)
			if err != nil {
				t.Errorf("godotenv: %v", err)
			}
			return fields, true
		},
		"a model of systemd": func(_ *testing.T, data []byte) (map[string]string, bool) { return systemd(string(data)), true },
	},
	JSON: {"encoding/json": func(_ *testing.T, data []byte) (map[string]string, bool) {
		var fields map[string]string
		return fields, json.Unmarshal(data, &fields) == nil // not when there is tagged base64
	}},
	Properties: {"magiconair": func(t *testing.T, data []byte) (map[string]string, bool) {
		if bytes.Contains(data, []byte(`\uD8`)) || bytes.Contains(data, []byte(`\uD9`)) ||
			bytes.Contains(data, []byte(`\uDA`)) || bytes.Contains(data, []byte(`\uDB`)) {
			return nil, false // it knows no surrogate pairs
		}
		loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
		loaded, err := loader.LoadBytes(data)
		if err != nil {
			t.Errorf("magiconair: %v", err)
			return nil, false
		}
		return loaded.Map(), true
	}},
}

// systemd reads an EnvironmentFile= as systemd.exec(5) describes it: quotes open only where a value begins or another
// quoted part ended; within double quotes a backslash takes away the meaning of \ " $ and backquote, and is kept before
// anything else; an escaped line break vanishes. systemd 252 itself read every seed as this model does.
func systemd(text string) map[string]string {
	fields := map[string]string{}
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		if !found {
			break
		}
		var value strings.Builder
		text = rest
	value:
		for text != "" {
			c := text[0]
			text = text[1:]
			switch {
			case c == '\n' || c == '\r':
				break value
			case c == '\'' && value.Len() == 0:
				quoted, rest, _ := strings.Cut(text, "'")
				value.WriteString(quoted)
				text = rest
			case c == '"' && value.Len() == 0:
				for text != "" && text[0] != '"' {
					if text[0] == '\\' && len(text) > 1 {
						if !strings.ContainsRune("\"\\`$\n", rune(text[1])) {
							value.WriteByte('\\')
						}
						if text[1] != '\n' {
							value.WriteByte(text[1])
						}
						text = text[2:]
						continue
					}
					value.WriteByte(text[0])
					text = text[1:]
				}
				text = strings.TrimPrefix(text, `"`)
			default:
				value.WriteByte(c)
			}
		}
		fields[key] = value.String()
	}
	return fields
}

// FuzzEnvForOneReader: what is written for one reader reads back here, and a shell's and systemd's take everything.
func FuzzEnvForOneReader(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4<<10 {
			return // reading back is quadratic in line breaks
		}
		v, err := secret.New(map[string][]byte{"A": data, "B": []byte("second")})
		if err != nil {
			return
		}
		for _, reader := range Readers {
			layout := Layout{Format: Env, Reader: reader}
			content, err := layout.Render(v, "")
			if errors.Is(err, ErrUnfit) {
				text := !bytes.ContainsRune(data, 0) && utf8.Valid(data) && !bytes.ContainsFunc(data, nonCharacter)
				if text && (reader == Sh || reader == Systemd) {
					t.Errorf("%s: refused %q", reader, data)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := layout.Read(content)
			if err != nil {
				t.Fatalf("%s: reading %q: %v", reader, content, err)
			}
			if diff := cmp.Diff(exposed(v), exposed(got)); diff != "" {
				t.Errorf("%s: reading %q (-want +got):\n%s", reader, content, diff)
			}
		}
	})
}

// TestEnvInShells has real shells read each seed, all in one file: with sourcing, and with set -a for a child.
func TestEnvInShells(t *testing.T) {
	fields, plain := map[string]string{}, 0
	for i, seed := range seeds {
		if fits(Env, []byte(seed)) {
			fields["K"+strings.Repeat("I", i)] = seed
			plain++
		}
	}
	if plain < 30 {
		t.Fatalf("got %d seeds that fit, want the most of them", plain)
	}
	testShells(t, Layout{Format: Env}, fields)
}

func testShells(t *testing.T, layout Layout, fields map[string]string) {
	data, err := layout.Render(value(t, fields), "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "app.env")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"/bin/sh", "/bin/bash"} {
		if _, err := os.Stat(shell); err != nil {
			t.Fatalf("%s is needed: install dash and bash", shell)
		}
		cmd := exec.Command(shell, "-c", `set -eu; set -a; . "$1"; exec env -0`, shell, file)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nowhere", "X=expanded", "Y=expanded"}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", shell, err, output)
		}
		got := map[string]string{}
		for entry := range strings.SplitSeq(string(output), "\x00") {
			if key, text, _ := strings.Cut(entry, "="); strings.HasPrefix(key, "K") {
				got[key] = text
			}
		}
		if diff := cmp.Diff(fields, got); diff != "" {
			t.Errorf("%s reads otherwise (-want +got):\n%s", shell, diff)
		}
	}
}

// FuzzEnvInShell is for long runs: it starts two shells for each input.
func FuzzEnvInShell(f *testing.F) {
	f.Add([]byte("a'b\\c$d`e\"f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if utf8.Valid(data) && !bytes.ContainsRune(data, 0) && !bytes.ContainsFunc(data, nonCharacter) && len(data) < 32<<10 {
			testShells(t, Layout{Format: Env, Reader: Sh}, map[string]string{"K": string(data)})
		}
	})
}
