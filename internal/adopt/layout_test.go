// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/dotenv"
	"custody.dev/custody/internal/secret"
)

func single(t testing.TB, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{secret.SingleField: text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// made plans one file, as it would be found.
func made(t testing.TB, file string) (*Plan, error) {
	t.Helper()
	answer := &discover.Answer{}
	var held []discover.Held
	digest := func(v secret.Value) string { return discover.Digest(v, []byte("a key of this test alone........")) }
	for _, e := range dotenv.Entries([]byte(file)) {
		value, kind, _, ok := clue.Held(e.Name, e.Value, false)
		if !ok {
			continue
		}
		held = append(held, discover.Held{Source: "dotenv", Name: e.Name, Line: e.Line, Value: single(t, value)})
		answer.Secrets = append(answer.Secrets, discover.Secret{Name: strings.ToLower(e.Name), Kind: kind, Risk: discover.High,
			Holders: []discover.Place{{Source: "dotenv", Role: clue.Holds, File: ".env", Line: e.Line, Name: e.Name, Digest: digest(single(t, value))}}})
	}
	in := Input{Answer: answer, Root: "/srv/shop", Digest: digest, Owner: Owner{Team: "shop"}, Choices: map[string]Choice{}, Estate: Estate{Names: map[string]bool{}},
		Read: func(string) (secret.Value, []discover.Held, error) { return single(t, file), held, nil },
		Look: func(string) (Attributes, error) { return Attributes{Mode: 0o600}, nil }}
	candidates := Candidates(answer, in.Estate)
	for _, c := range candidates {
		in.Choices[c.Name] = Take
	}
	return Make(in, candidates)
}

// document is the text of the document of the file.
func document(p *Plan) string {
	for _, d := range p.Documents {
		if d.Secret == "shop-env" {
			return string(d.Text)
		}
	}
	return ""
}

func TestLayout(t *testing.T) {
	for name, test := range map[string]struct {
		file  string
		want  []string // in the document
		whole bool
	}{
		"bare":                {"API_TOKEN=abcdef0123456789\n", []string{"API_TOKEN={{ env .apiToken.value }}"}, false},
		"needless quotes":     {"API_TOKEN='abcdef0123456789'\n", []string{`API_TOKEN={{ env "single" .apiToken.value }}`}, false},
		"double quotes":       {"API_TOKEN=\"abcdef0123456789\"\n", []string{`API_TOKEN={{ env "double" .apiToken.value }}`}, false},
		"an address":          {"DB_URL=postgres://app:abcdef0123456789@db.internal/app\n", []string{"DB_URL=postgres://{{ query .dbUrl.username }}:{{ query .dbUrl.password }}@db.internal/app"}, false},
		"an escaped address":  {"DB_URL=postgres://app:abc%23def0123456789@db.internal/app\n", []string{"{{ query .dbUrl.password }}"}, false},
		"an odd address":      {"DB_URL=postgres://app:abc!def0123456789@db.internal/app\n", []string{"{{ .dbUrl.password }}", "# DB_URL is not escaped"}, false},
		"a query with more":   {"DB_URL=postgres://app:abcdef0123456789@db.internal/app?sslkeypass=another0123456789\n", []string{"{{ .rest.DB_URL_rest }}"}, false},
		"settings":            {"PORT=80\nDEBUG=true\nODD=correct horse\nAPI_TOKEN=abcdef0123456789\n", []string{"PORT=80", "DEBUG=true", "ODD={{ .rest.ODD }}"}, false},
		"comments":            {"# API_TOKEN=older0123456789\nAPI_TOKEN=abcdef0123456789 # of ours\n", []string{"{{ .rest.comment }}", "{{ .rest.comment_2 }}"}, false},
		"no line end":         {"API_TOKEN=abcdef0123456789", []string{"API_TOKEN={{ env .apiToken.value }}"}, false},
		"CR LF":               {"PORT=80\r\nAPI_TOKEN=abcdef0123456789\r\n", []string{"{{ env .apiToken.value }}"}, false},
		"a template's signs":  {"GREETING={{ .name }}\nAPI_TOKEN=abcdef0123456789\n", []string{"GREETING={{ .rest.GREETING }}"}, false},
		"export and an order": {"B_TOKEN=abcdef0123456789\nexport A_TOKEN=bcdefa0123456789\n", []string{"export A_TOKEN={{ env .aToken.value }}"}, false},
		"not UTF-8":           {"NAME=\xff\nAPI_TOKEN=abcdef0123456789\n", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := made(t, test.file)
			if err != nil {
				t.Fatal(err)
			}
			text := document(p)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the document does not have %q:\n%s", want, text)
				}
			}
			if len(p.Files) != 1 || p.Files[0].Whole != test.whole {
				t.Errorf("got the files %+v", p.Files)
			}
		})
	}
}

// No value and no comment is in a document, whatever the file has.
func FuzzNothingReadable(f *testing.F) {
	f.Add("A_TOKEN", "abcdef0123456789", "note")
	f.Add("DB_URL", "postgres://app:abc!def0123456789@db.internal/app", "x")
	f.Fuzz(func(t *testing.T, name, value, comment string) {
		const mark = "hunter7f3a9c1e5b8d"
		p, err := made(t, "# "+comment+mark+"\n"+name+"="+value+"\nFREE="+mark+"\nAPI_TOKEN="+mark+"\n")
		if err != nil {
			return
		}
		for _, d := range p.Documents {
			if strings.Contains(string(d.Text), mark) {
				t.Errorf("%s has a value:\n%s", d.Path, d.Text)
			}
		}
	})
}

func TestPlaceThatChanged(t *testing.T) {
	file := "API_TOKEN=abcdef0123456789\n"
	answer := &discover.Answer{Secrets: []discover.Secret{{Name: "api-token", Holders: []discover.Place{{Source: "dotenv", Role: clue.Holds, File: ".env", Line: 1, Name: "API_TOKEN", Digest: "another"}}}}}
	in := Input{Answer: answer, Root: "/srv/shop", Owner: Owner{Team: "shop"}, Choices: map[string]Choice{"api-token": Take},
		Digest: func(secret.Value) string { return "the one that is there" },
		Read: func(string) (secret.Value, []discover.Held, error) {
			return single(t, file), []discover.Held{{Source: "dotenv", Name: "API_TOKEN", Line: 1, Value: single(t, "abcdef0123456789")}}, nil
		}}
	_, err := Make(in, Candidates(answer, Estate{}))
	if err == nil || !strings.Contains(err.Error(), ".env:1 does not hold what it held a moment ago") {
		t.Errorf("got %v", err)
	}
}

// Names do not depend on what was found first, and none is taken twice.
func TestNames(t *testing.T) {
	p := &planner{Input: Input{Estate: Estate{Names: map[string]bool{"db": true}, Environments: []string{"prod"}}}, named: map[string]bool{}}
	for _, test := range []struct{ text, want string }{{"db", "db-2"}, {"DB", "db-3"}, {"prod", "prod-secret"}, {"…", "secret"}, {"A.b_c", "a-b-c"}} {
		if got := p.name(test.text); got != test.want {
			t.Errorf("%q: got %s, want %s", test.text, got, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	for _, test := range []struct{ source, remote, want string }{
		{"github", "https://github.com/harbour/shop", "https://github.com/harbour/shop/settings/secrets/actions"},
		{"gitlab", "https://gitlab.example.org/a/b/c", "https://gitlab.example.org/a/b/c/-/settings/ci_cd"},
		{"circleci", "https://github.com/harbour/shop", "https://app.circleci.com/settings/project/github/harbour/shop/environment-variables"},
		{"jenkins", "https://github.com/harbour/shop", ""}, {"github", "", ""},
	} {
		if got := pageOf(test.source, test.remote); got != test.want {
			t.Errorf("%s at %q: got %q, want %q", test.source, test.remote, got, test.want)
		}
	}
}
