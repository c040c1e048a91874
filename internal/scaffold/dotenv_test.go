// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/secret"
)

type read struct {
	Name, Secret string
	Line         int
	Value        string
}

func reads(t *testing.T, text string, skip ...string) []read {
	t.Helper()
	variables, err := Variables([]byte(text), skip)
	if err != nil {
		t.Fatal(err)
	}
	var got []read
	for _, v := range variables {
		got = append(got, read{v.Name, v.Secret, v.Line, v.Value.ExposeText(secret.SingleField)})
	}
	return got
}

func TestVariables(t *testing.T) {
	got := reads(t, "# first\n\nexport B_C='x y'\nA=1\nK=\"-----\nB_C=no\n-----\"\n  L=\"it's\"\nSKIPPED=\n", "SKIPPED", "K")
	want := []read{
		{"B_C", "b-c", 3, "x y"},
		{"A", "a", 4, "1"},
		{"L", "l", 8, "it's"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesRefused(t *testing.T) {
	const mark = "MARKED-canary-1"
	for _, test := range []struct{ name, text, want string }{
		{"empty file", "", "it sets 0 variables"},
		{"set twice", "A=" + mark + "\nB=1\nexport A='" + mark + "'\n", "line 3, A: A is set on line 1 and again here"},
		{"set twice on one line", "A='" + mark + "' A='2'\n", "line 1, A: something follows the closing quote"},
		{"two on one line", "A='" + mark + "' B='2'\n", "line 1, A: something follows the closing quote"},
		{"same name", "A_B=" + mark + "\na__b=2\n", "line 2, a__b: A_B on line 1 and a__b would both be called a-b"},
		{"empty", "A=" + mark + "\n\nB=''\n", "line 3, B: it has no value"},
		{"expanded", "A=1\nB=" + mark + "$A\n", "line 2, B: the value holds a $"},
		{"expanded in quotes", "A=1\nB=\"" + mark + "${A}\"\n", "line 2, B: the value holds a $"},
		{"nothing but what expands to nothing", "A=" + mark + "\nB=$NOWHERE\n", "line 2, B: the value holds a $"},
		{"expanded to nothing", "B=" + mark + "$NOWHERE\n", "line 1, B: the value holds a $"},
		{"no name", "A=1\n" + mark + " + " + mark + "\n", "line 2"},
		{"not terminated", "A=1\nB='" + mark + "\nC=2\n", "line 2"},
		{"only underscores", "__=" + mark + "\n", "gives no usable name"},
		{"not a shell's name", "1A=" + mark + "\n", "not a name that every shell takes"},
		{"too long a name", strings.Repeat("A", 64) + "=" + mark + "\n", "gives no usable name"},
		{"steering", "BASH_ENV=" + mark + "\n", "could not be delivered"},
		{"trailing backslash", "A=" + mark + "\\\n", "line 1, A: the value holds a backslash"},
		{"NUL", "A=" + mark + "\x00\n", "not text"},
		{"too large", "A=" + strings.Repeat(mark, 5000) + "\n", "at most"},
		{"too many", manyVariables(), "it sets 501 variables"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Variables([]byte(test.text), nil)
			if !errors.Is(err, ErrInput) {
				t.Fatalf("got %v, want ErrInput", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || hinted.Hint() == "" {
				t.Error("there is no hint")
			}
			if text := fmt.Sprintf("%v %#v %s", err, err, hinted.Hint()); strings.Contains(text, mark) {
				t.Errorf("the error holds the value: %s", text)
			}
		})
	}
}

func manyVariables() string {
	var b strings.Builder
	for i := range 501 {
		fmt.Fprintf(&b, "A%d=1\n", i)
	}
	return b.String()
}

func TestSingleQuotesKeepADollar(t *testing.T) {
	want := []read{{"A", "a", 1, "pa$$w$0rd$X"}}
	if diff := cmp.Diff(want, reads(t, "A='pa$$w$0rd$X'\n")); diff != "" {
		t.Error(diff)
	}
}

// Each line was once taken in, silently, as one library reads it.
func TestWhatReadersDisagreeAboutIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"A= # comment\n":      "spaces stand beside the =",
		"A=abc # one # two\n": "put the comment on a line of its own",
		"A='abc' # one\n":     "put the comment on a line of its own",
		"A=\"CORP\\svc\"\n":   "a backslash in double quotes",
		"A=p\xe4ss\n":         "iconv -f LATIN1",
		"A=abc#123\n":         "put the value in single quotes",
		"A=two words\n":       "put the value in single quotes",
		"A = x\n":             "spaces stand beside the =",
		"A: x\n":              "it is not NAME=value",
		"A=x \n":              "spaces follow the value",
		"A='\\\\server\\x'\n": "two backslashes in a row",
		"A='x${HOME}'\n":      "${",
		"A=`id`\n":            "backquotes",
		"A=x\\y\n":            "a backslash that some readers drop",
		"A='x\ny'\n":          "several lines",
		"\ufeffA=x\n":         "byte order mark",
		"A=x\r\nB=y\r\n":      "CR LF (2 of them)",
		"# note \\\nA=x\n":    "takes the next line for a part of it",
		"A=~/x\n":             "a sign that a shell",
		"A=x;id\n":            "a sign that a shell",
		"A=\"it's $5\"\n":     "no form is read alike by all",
		"A='x\nB=y\n":         "the quote is never closed",
		"A=\"x\\\"y\"\n":      "a backslash in double quotes",
	} {
		_, err := Variables([]byte(text), nil)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestAllDotenvFaultsAreToldAtOnce(t *testing.T) {
	_, err := Variables([]byte("A= # none\nB=fine\nC=x#y\nD=x y\nE=1\nE=2\nLOUD=$X\n"), []string{"LOUD"})
	for _, want := range []string{"4 places", "line 1, A", "line 3, C", "line 4, D", "line 6, E"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "LOUD") {
		t.Errorf("got %v, which tells of a variable that is left out", err)
	}
}
