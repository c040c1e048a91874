// SPDX-License-Identifier: Apache-2.0

package place

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"/srv/git/estate.git": "folder", "file:///srv/git/estate.git": "folder", "https://git.example.org/estate.git": "https",
		"ssh://git@git.example.org:2222/estate.git": "ssh", "git@git.example.org:team/estate.git": "ssh", "http://127.0.0.1:3000/estate.git": "https",
		"http://git.example.org/estate.git": "plain HTTP", "https://me@git.example.org/estate.git": "names a user", "https://me:word@git.example.org/x": "has a password",
		"ssh://git.example.org/x": "names no user", "estate.git": "neither", "git://git.example.org/x": "git is not one of", "https://git.example.org": "neither",
		"ext::sh -c id": "neither", "https://git.example.org/x?a=b": "query", "file://elsewhere/x": "file is not",
	} {
		r, err := Parse(text)
		if got := string(r.Kind); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %s", text, got, err, want)
		}
	}
}
