// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"slices"
	"strings"
)

// user is one line of ACL LIST.
type user struct {
	name       string
	on, nopass bool
	// digests are Custody's entries, which hold the marker, and those of passwords.
	digests        []string
	marker         marker
	own, passwords []string
	// rights are the rules that say what the user may do, as the server wrote them.
	rights []string
}

// parseUsers reads ACL LIST: "user NAME flags… #digest… rules…". Neither names nor rules hold spaces.
func parseUsers(lines []reply) map[string]user {
	users := make(map[string]user, len(lines))
	for _, line := range lines {
		words := strings.Fields(line.text)
		if len(words) < 2 || words[0] != "user" {
			continue
		}
		u := user{name: words[1]}
		for _, word := range words[2:] {
			switch {
			case word == "on", word == "off":
				u.on = word == "on"
			case word == "nopass":
				u.nopass = true
			case strings.HasPrefix(word, "#"):
				u.digests = append(u.digests, word[1:])
			default:
				u.rights = append(u.rights, word)
			}
		}
		u.marker, u.own, u.passwords = readMarker(u.digests)
		users[u.name] = u
	}
	return users
}

// conditional returns the rules that take away Custody's entries, which must all be there, and set next's instead.
func conditional(own []string, next marker) []string {
	var rules []string
	for _, digest := range own {
		rules = append(rules, "!"+digest)
	}
	return append(rules, added(next)...)
}

func added(m marker) []string {
	var rules []string
	for _, digest := range m.entries() {
		rules = append(rules, "#"+digest)
	}
	return rules
}

// opens reports whether the password with that digest is one of u's.
func (u user) opens(digest string) bool { return slices.Contains(u.passwords, digest) }
