// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"
	"pgregory.net/rapid"

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
	got := reads(t, "\ufeff# first\r\n\r\nexport B_C = 'x y'\r\nA=1 # note\r\nK=\"-----\nB_C=no\n-----\"\nYAML: style\nSKIPPED=\n", "SKIPPED")
	want := []read{
		{"B_C", "b-c", 3, "x y"},
		{"A", "a", 4, "1"},
		{"K", "k", 5, "-----\nB_C=no\n-----"},
		{"YAML", "yaml", 8, "style"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVariablesRefused(t *testing.T) {
	const mark = "MARKED-canary-1"
	for _, test := range []struct{ name, text, want string }{
		{"empty file", "", "it sets 0 variables"},
		{"set twice", "A=" + mark + "\nB=1\nexport A='" + mark + "'\n", "A is set on line 1 and again"},
		{"set twice on one line", "A='" + mark + "' A='2'\n", "A is set on line 1 and again"},
		{"two on one line", "A='" + mark + "' B='2'\n", "two variables stand on one line"},
		{"same name", "A_B=" + mark + "\na__b=2\n", "A_B on line 1 and a__b on line 2 would both be called a-b"},
		{"empty", "A=" + mark + "\n\nB=''\n", "B on line 3 has no value"},
		{"expanded", "A=1\nB=" + mark + "$A\n", "the value of B on line 2 holds a $"},
		{"expanded in quotes", "A=1\nB=\"" + mark + "${A}\"\n", "the value of B on line 2 holds a $"},
		{"nothing but what expands to nothing", "A=" + mark + "\nB=$NOWHERE\n", "the value of B on line 2 holds a $"},
		{"expanded to nothing", "B=" + mark + "$NOWHERE\n", "the value of B on line 1 holds a $"},
		{"no name", "A=1\n" + mark + " + " + mark + "\n", "line 2"},
		{"not terminated", "A=1\nB='" + mark + "\nC=2\n", "line 2"},
		{"only underscores", "__=" + mark + "\n", "gives no usable name"},
		{"not a shell's name", "1A=" + mark + "\n", "not a name that every shell takes"},
		{"too long a name", strings.Repeat("A", 64) + "=" + mark + "\n", "gives no usable name"},
		{"steering", "BASH_ENV=" + mark + "\n", "could not be delivered"},
		{"trailing backslash", "A=" + mark + "\\\n", "could not be delivered"},
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
	want := []read{{"A", "a", 1, "pa$$w$0rd${X}"}}
	if diff := cmp.Diff(want, reads(t, "A='pa$$w$0rd${X}'\n")); diff != "" {
		t.Error(diff)
	}
}

// What is read is what the dotenv library itself reads, or the file is refused.
func TestVariablesAgreeWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`((export )?[A-C]_?[x-z]?( ?)=[a-z0-9"'\\#$ {}]{0,12}\n){1,5}`).Draw(t, "text")
		variables, err := Variables([]byte(text), nil)
		if err != nil {
			return
		}
		want, err := godotenv.Unmarshal(text)
		if err != nil {
			t.Fatalf("the library refuses what was read: %v", err)
		}
		got := map[string]string{}
		for _, v := range variables {
			got[v.Name] = v.Value.ExposeText(secret.SingleField)
			if line := strings.Split(text, "\n")[v.Line-1]; !strings.Contains(line, v.Name) {
				t.Errorf("%s is said to be on line %d: %q", v.Name, v.Line, line)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
