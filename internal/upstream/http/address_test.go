// SPDX-License-Identifier: Apache-2.0

package http

import (
	"net/url"
	"testing"
)

func TestWithinTheConfiguredAddress(t *testing.T) {
	base, err := url.Parse("https://api.example.org/v1")
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
