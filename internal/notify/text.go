// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/reason"
)

const (
	// mostListed is how many findings a message lists. One that has more is a summary.
	mostListed = 20
	// mostText bounds what is said of one finding, in characters.
	mostText = 600
	// mostNamed is how many secrets a line of a summary names.
	mostNamed = 3
)

// write puts a message into words. Platform is "NAME/ENVIRONMENT".
func (b *book) write(platform string, r Route, m pending) Message {
	said := Message{ID: m.ID, At: m.At}
	keys, over := b.sorted(m.Keys), b.sorted(m.Over)
	var news, again []string
	for _, key := range keys {
		if n := b.Notes[key]; n != nil && n.Told > 0 {
			again = append(again, key)
		} else {
			news = append(news, key)
		}
	}
	var subject []string
	for _, part := range []struct {
		count int
		what  string
	}{{len(news), "new"}, {len(again), "still open"}, {len(over), "over"}} {
		if part.count > 0 {
			subject = append(subject, fmt.Sprintf("%d %s", part.count, part.what))
		}
	}
	said.Subject = fmt.Sprintf("[custody %s] findings: %s", platform, strings.Join(subject, ", "))
	if len(keys) == 1 && len(over) == 0 {
		if n := b.Notes[keys[0]]; n != nil {
			said.Subject = fmt.Sprintf("[custody %s] %s: %s", platform, about(n.Secret), n.Code)
		}
	}
	lines := []string{fmt.Sprintf("Findings of Custody %s, for %s.", platform, r.Owner)}
	for _, section := range []struct {
		heading string
		keys    []string
	}{{"New:", news}, {"Still open:", again}, {"Over:", over}} {
		if len(section.keys) > 0 {
			lines = append(lines, "", section.heading)
			lines = append(lines, b.lines(section.keys)...)
		}
	}
	lines = append(lines, "", "All findings: custody status. All about one secret: custody explain SECRET.")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	said.Subject, said.Text = short(plain(said.Subject), 200), strings.Join(lines, "\n")+"\n"
	return said
}

func about(secretName string) string {
	if secretName == "" {
		return "the platform"
	}
	return secretName
}

// lines are what is said of each note, or of how many there are with each code.
func (b *book) lines(keys []string) (lines []string) {
	if len(keys) > mostListed {
		return b.summary(keys)
	}
	for _, key := range keys {
		n := b.Notes[key]
		if n == nil {
			continue
		}
		line := "- " + about(n.Secret) + ": " + string(n.Code)
		if n.Gone.IsZero() && !n.now.Reason.None() {
			line = "- " + about(n.Secret) + ": " + short(n.now.Reason.Text(), mostText) + " [" + string(n.Code) + "]"
		}
		if n.now.Owner.Team != "" {
			line += ", owner " + short(n.now.Owner.Team, 100)
		}
		lines = append(lines, line+", since "+stamp(n.Since))
	}
	return lines
}

// summary counts notes by code, the most first.
func (b *book) summary(keys []string) (lines []string) {
	of := map[reason.Code][]string{}
	for _, key := range keys {
		if n := b.Notes[key]; n != nil {
			of[n.Code] = append(of[n.Code], about(n.Secret))
		}
	}
	codes := slices.SortedFunc(maps.Keys(of), func(x, y reason.Code) int {
		if len(of[x]) != len(of[y]) {
			return len(of[y]) - len(of[x])
		}
		return strings.Compare(string(x), string(y))
	})
	for _, code := range codes {
		names := of[code]
		slices.Sort(names)
		more := ""
		if len(names) > mostNamed {
			more = fmt.Sprintf(" and %d more", len(names)-mostNamed)
		}
		lines = append(lines, fmt.Sprintf("- %d with %s: %s%s", len(names), code, strings.Join(names[:min(len(names), mostNamed)], ", "), more))
	}
	return lines
}

// trial is the message that shows whether a route works.
func trial(platform string, r Route, id string, at time.Time, by string) Message {
	text := fmt.Sprintf("This is a test of Custody %s, for %s, asked for by %s at %s.\nFindings of this owner's secrets are sent here. Nothing has to be done.\n",
		platform, r.Owner, by, stamp(at))
	return Message{ID: id, At: at, Subject: short(plain("[custody "+platform+"] test"), 200), Text: unlined(text)}
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// plain is text without what a terminal, a mail program or a chat takes for more than a letter: one line.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r', unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar, unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// unlined is plain of each line.
func unlined(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return strings.Join(lines, "\n")
}

// short is text cut to so many characters.
func short(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
