// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/shapes"
	"custody.dev/custody/internal/expiry"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/secret"
)

// record is what is kept of a clue: all but its value.
type record struct {
	clue.Clue
	file string
	// digest of the value, "" without one. weak: the value is short or like a word.
	digest string
	weak   bool
	// at is the commit that brought it, for what is in the history alone.
	at *moment
}

// moment is a commit.
type moment struct {
	commit string
	when   time.Time
	author string
}

// author is who last changed a file, and when.
type author struct {
	name string
	when time.Time
}

// digestBytes is how much of a digest is kept: two of a million values are alike by chance once in 2^88.
const digestBytes = 16

// record digests the value of a clue, and forgets it.
func (s *scan) record(c clue.Clue, w work) record {
	r := record{file: w.path, at: w.history}
	c = withheld(c)
	if !c.Value.Empty() {
		r.digest = Digest(c.Value, s.Key)
		r.weak = clue.Weak(c.Value.ExposeText(secret.SingleField))
		if end := expiry.Of(c.Value); c.End.At.IsZero() {
			c.End = end
		}
	}
	c.Value = secret.Value{}
	r.Clue = c
	return r
}

// withheld is a clue whose names and reasons do not have a value. They are not made of values; but what people write where a
// name belongs may be one.
func withheld(c clue.Clue) clue.Clue {
	value := c.Value.ExposeText(secret.SingleField)
	clean := func(text *string) {
		if plaintext.Credential(*text) != "" || value != "" && !clue.Weak(value) && strings.Contains(*text, value) {
			*text = "[withheld]"
		}
	}
	for _, text := range []*string{&c.Name, &c.By, &c.Why, &c.Kind, &c.Set, &c.Env, &c.Team} {
		clean(text)
	}
	for i := range c.Steps {
		clean(&c.Steps[i].With)
		clean(&c.Steps[i].To)
	}
	for i := range c.Keys {
		clean(&c.Keys[i])
	}
	if slices.Contains(c.Keys, "[withheld]") {
		c.Keys = slices.DeleteFunc(c.Keys, func(key string) bool { return key == "[withheld]" })
	}
	return c
}

// keep adds a record, once for each place. The lock is held.
func (s *scan) keep(r record) {
	place := strings.Join([]string{r.Source, string(r.Role), r.file, r.Name, r.digest, r.By}, "\x00")
	if r.at != nil {
		place = strings.Join([]string{r.Source, string(r.Role), r.file, r.Name, r.digest, ""}, "\x00")
	}
	if at, known := s.places[place]; known {
		if was := s.records[at]; was.at != nil && r.at != nil && r.at.when.Before(was.at.when) {
			s.records[at] = r
		}
		return
	}
	if len(s.records) >= s.Limits.Clues {
		s.counts.Dropped++
		return
	}
	s.places[place] = len(s.records)
	if r.at == nil && r.Role == clue.Holds { // the history of this place is this place
		s.places[strings.Join([]string{r.Source, string(r.Role), r.file, r.Name, r.digest, ""}, "\x00")] = len(s.records)
	}
	s.records = append(s.records, r)
}

// read has every reader look that wants the file, and then the rules. A reader that panics on a file that somebody made for
// that is told as an error with the file's name, and nothing of its contents.
func (s *scan) read(f *clue.File, found clue.Found) (err error) {
	source := "shapes"
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("reading %s as %s: the reader failed at %s", f.Path, source, panicked(debug.Stack()))
		}
	}()
	taken, understood := map[int]bool{}, false
	for _, reader := range s.readers {
		if !reader.Wants(f) {
			continue
		}
		source = reader.Source
		understood = reader.Read(f, func(c clue.Clue) {
			if c.Role == clue.Holds || c.Role == clue.Sealed {
				taken[c.Line] = true
			}
			found(c)
		}) || understood
	}
	source = "shapes"
	return shapes.Find(f, understood, func(line int) bool { return taken[line] }, found)
}

// panicked is the place in Custody's source where a panic began.
func panicked(stack []byte) string {
	for line := range strings.SplitSeq(string(stack), "\n") {
		if at := strings.Index(line, "internal/discover/"); at >= 0 && strings.Contains(line, ".go:") && !strings.Contains(line, "record.go") {
			place, _, _ := strings.Cut(line[at:], " ")
			return place
		}
	}
	return "an unknown place"
}
