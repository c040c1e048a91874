// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"net/http"
	"net/url"
	"testing"

	"custody.dev/custody/internal/authority"
)

func TestWithinTheConfiguredAddress(t *testing.T) {
	base, err := parseBase("https://api.example.org/v1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"https://api.example.org/v1/keys":             true,
		"https://api.example.org/v1/keys?page=2":      true,
		"https://api.example.org/v1/a%2F..%2Fb":       true, // one segment
		"https://api.example.org/v1/%2e%2e/admin":     false,
		"https://api.example.org/v1/../admin":         false,
		"https://api.example.org/v12/keys":            false,
		"https://api.example.org/":                    false,
		"http://api.example.org/v1/keys":              false,
		"https://api.example.org:8443/v1/keys":        false,
		"https://api.example.org.example.net/v1/keys": false,
		"https://user@api.example.org/v1/keys":        false,
	} {
		target, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := within(target, base); got != want {
			t.Errorf("%s: got %t, want %t", text, got, want)
		}
	}
}

func TestNextLink(t *testing.T) {
	for line, want := range map[string]string{
		`<https://a/b?page=2>; rel="next", <https://a/b?page=9>; rel="last"`: "https://a/b?page=2",
		`<https://a/b?page=1>; rel="prev"; title=x, </b?page=3>; rel=next`:   "/b?page=3",
		`<https://a/b?page=1>; rel="prev"`:                                   "",
		``:                                                                   "",
	} {
		if got := nextLink(http.Header{"Link": {line}}); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestDecoysKeepTheirShape(t *testing.T) {
	u := &Upstream{}
	u.Random = constant{}
	for _, test := range []struct {
		text string
		keep int
		ok   bool
	}{
		{"0123456789abcdef0123", 0, true}, {"glpat-AbCdEfGh0123", 6, true}, {"prefix_tooshort", 10, false}, {"", 0, false},
	} {
		got, err := another(u.Random, test.text, test.keep)
		if (err == nil) != test.ok {
			t.Errorf("%q: got %v, want ok: %t", test.text, err, test.ok)
		}
		if err == nil && (len(got) != len(test.text) || got == test.text || got[:test.keep] != test.text[:test.keep]) {
			t.Errorf("%q: got %q, want another of its shape", test.text, got)
		}
	}
}

// constant is no randomness at all, so that a test sees what is drawn.
type constant struct{}

func (constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 3
	}
	return len(p), nil
}

func TestTagsNameTheRun(t *testing.T) {
	for _, test := range []struct {
		max  int
		run  string
		want string
	}{
		{200, "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d", "custody-" + digest(10, "shop/test/key") + "-5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d-00000000-shop-test-key"},
		{40, "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d", "custody-" + digest(20, "shop/test/key", "5f0c1f3e-8f5e-4b7e-9a39-0d6a1f2b3c4d") + "-00000000-sh"},
		{200, "run with spaces", "custody-" + digest(20, "shop/test/key", "run with spaces") + "-00000000-shop-test-key"},
	} {
		u := &Upstream{Config: Config{Claim: "shop/test/key"}, r: &Compiled{Recipe: &Recipe{Tag: &Tag{Max: test.max}}}}
		got := u.tag("run-x", "00000000")
		if u.carries(got, "run-xx") || u.carries(got, "run-") || !u.carries(got, "run-x") {
			t.Errorf("%q is taken for another run's", got)
		}
		other := &Upstream{Config: Config{Claim: "shop/prod/key"}, r: u.r}
		if other.carries(got, "run-x") {
			t.Errorf("%q is taken for another claim's", got)
		}
		if u.carries("custody-"+digest(10, u.Claim)+"-run-x-by-a-person", "run-x") {
			t.Error("a name without the digits at its end is taken for a tag")
		}
		if test.run != "" {
			if got := u.tag(authority.RunID(test.run), "00000000"); got != test.want || len(got) > test.max {
				t.Errorf("got %q, want %q", got, test.want)
			}
		}
	}
}
