// SPDX-License-Identifier: Apache-2.0

package recipe

import "testing"

func TestDecoysKeepTheirShape(t *testing.T) {
	for _, test := range []struct {
		text string
		keep int
		ok   bool
	}{
		{"0123456789abcdef0123", 0, true}, {"glpat-AbCdEfGh0123", 6, true}, {"prefix_tooshort", 10, false}, {"", 0, false},
	} {
		got, err := another(constant{}, test.text, test.keep)
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
