// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// item is one credential that the upstream has. Nothing in it is secret.
type item struct {
	id, name, tag string
	vars          values
}

// items reads the list.
func (s *session) items() ([]item, outcome) {
	if o := s.run(s.r.list); o.word != wordOK {
		return nil, o
	}
	last := s.r.list[len(s.r.list)-1]
	raw, _ := s.vars["steps."+last.Name+".items"].([]any)
	var out []item
	for _, one := range raw {
		vars := s.vars.with(values{"item": one})
		made := item{vars: values{"target.name": "", "target.tag": ""}}
		for name, e := range s.r.each {
			v, err := e.eval(vars)
			if err != nil {
				return nil, outcome{word: unknown, step: last, cause: err}
			}
			made.vars["target."+name] = v
			into := map[string]*string{"id": &made.id, "name": &made.name, "tag": &made.tag}[name]
			if into == nil {
				continue
			}
			text, ok := asText(v)
			if !ok || (name == "id" && text == "") {
				return nil, outcome{word: unknown, step: last, because: e.place + " is not text"}
			}
			*into, made.vars["target."+name] = text, text
		}
		out = append(out, made)
	}
	return out, outcome{word: wordOK}
}

// idOf is the identity that v itself names, "" when it names none.
func (s *session) idOf(v secret.Value) string {
	if s.r.findID == nil || v.Empty() {
		return ""
	}
	id, err := s.r.findID.text(s.vars.with(s.fields("secret", v)))
	if err != nil {
		return ""
	}
	return id
}

// find returns the one item that is v, or none. Several are an error: nobody can tell which it is.
func (s *session) find(v secret.Value, items []item) ([]item, error) {
	vars := s.vars.with(s.fields("secret", v))
	id := s.idOf(v)
	if id == "" && s.r.match == nil {
		return nil, nil
	}
	var found []item
	for _, one := range items {
		if (id == "" || one.id == id) && (s.r.match == nil || s.r.match.holds(vars.with(one.vars))) {
			found = append(found, one)
		}
	}
	if len(found) > 1 {
		return nil, &Error{
			Doing: s.doing, Class: upstream.ErrNotApplied,
			Detail: fmt.Sprintf("%d credentials upstream could be this one: %s", len(found), names(found)),
			Next:   "revoke the right one by hand; the run then goes on",
		}
	}
	return found, nil
}

// full says that there is room for no more, and what is there. Nothing is removed: what Custody did not make is not its.
func (s *session) full(o outcome) error {
	o.because = cmp.Or(o.because, "the upstream takes no further credential")
	o.hint = cmp.Or(o.hint, "remove one that nobody needs; Custody removes nothing that it did not make")
	if s.r.List != nil && !s.touched {
		if items, listed := s.items(); listed.word == wordOK {
			o.because += fmt.Sprintf("; it has %d: %s", len(items), names(items))
		}
	}
	return s.fail(o)
}

const maxShown = 20

func names(items []item) string {
	var out []string
	for _, one := range items {
		if len(out) == maxShown {
			out = append(out, fmt.Sprintf("and %d more", len(items)-maxShown))
			break
		}
		out = append(out, fmt.Sprintf("%q (%s)", shown(cmp.Or(one.name, "no name")), shown(one.id)))
	}
	return strings.Join(out, ", ")
}

// shown keeps a name from elsewhere short and printable.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 100 {
		return string(runes[:100]) + "…"
	}
	return text
}

const (
	nonceBytes = 4
	// shortTag is the length of the shortest tag: custody-, twenty digits for claim and run, and the nonce.
	shortTag = len("custody-") + 20 + 1 + 2*nonceBytes
)

func (u *Upstream) nonce() (string, error) {
	raw := make([]byte, nonceBytes)
	if _, err := io.ReadFull(u.Random, raw); err != nil {
		return "", fmt.Errorf("drawing a nonce: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

func digest(n int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:n]
}

var (
	plainRun  = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	notPlain  = regexp.MustCompile(`[^a-z0-9]+`)
	nonceForm = regexp.MustCompile(`^[0-9a-f]{8}(-|$)`)
)

// tagPrefix is what every tag of run begins with: the claim's digest and the run, or where that does not fit, one digest
// of both.
func (u *Upstream) tagPrefix(run authority.RunID) string {
	long := "custody-" + digest(10, u.Claim) + "-" + string(run) + "-"
	if u.r.Tag != nil && plainRun.MatchString(string(run)) && len(long)+2*nonceBytes <= u.r.Tag.Max {
		return long
	}
	return "custody-" + digest(20, u.Claim, string(run)) + "-"
}

// tag is what a credential of run carries; the claim in words at its end, as far as it fits, is for people.
func (u *Upstream) tag(run authority.RunID, nonce string) string {
	if u.r.Tag == nil {
		return ""
	}
	tag := u.tagPrefix(run) + nonce
	words := "-" + strings.Trim(notPlain.ReplaceAllString(strings.ToLower(u.Claim), "-"), "-")
	room := u.r.Tag.Max - len(tag)
	if room < 3 {
		return tag
	}
	return strings.TrimRight(tag+words[:min(len(words), room)], "-")
}

// carries reports whether a tag read upstream is one of run.
func (u *Upstream) carries(tag string, run authority.RunID) bool {
	rest, ok := strings.CutPrefix(tag, u.tagPrefix(run))
	return ok && nonceForm.MatchString(rest)
}

// collect removes every credential that carries run.
func (u *Upstream) collect(ctx context.Context, run authority.RunID) error {
	s, cancel, err := u.change(ctx, "collecting orphans", run)
	if err != nil {
		return err
	}
	defer cancel()
	items, o := s.items()
	if o.word != wordOK {
		return s.fail(o)
	}
	for _, one := range items {
		if u.carries(one.tag, run) {
			if err := s.remove(run, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// list names every credential of the account.
func (u *Upstream) identities(ctx context.Context) ([]string, error) {
	const doing = "listing credentials"
	if err := ctx.Err(); err != nil {
		return nil, &Error{Doing: doing, Cause: err}
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Kind.Deadline)
	defer cancel()
	s := u.open(ctx, doing)
	items, o := s.items()
	if o.word != wordOK {
		return nil, s.undecided(o)
	}
	out := []string{}
	for _, one := range items {
		out = append(out, one.id)
	}
	slices.Sort(out)
	return out, nil
}

// maxOwn bounds what is remembered of own sign-ins.
const maxOwn = 256

// remember notes that this process signed in with v.
func (u *Upstream) remember(v secret.Value, s *session, before time.Time) {
	if u.kind.Evidence == nil {
		return
	}
	after := u.Clock()
	if !s.date.IsZero() { // by the upstream's clock, whose answer tells whole seconds
		skew := s.date.Sub(s.heard)
		before, after = before.Add(skew), after.Add(skew)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.own) >= maxOwn {
		clear(u.own) // own sign-ins are then taken for somebody's: that holds a revocation, and loses nothing
	}
	u.own[string(v.Digest(u.key))] = span{before, after}
}

// uses asks when old was used.
func (u *Upstream) uses(ctx context.Context, old secret.Value, since time.Time) ([]upstream.Use, error) {
	const doing = "asking for uses"
	if err := ctx.Err(); err != nil {
		return nil, &Error{Doing: doing, Cause: err}
	}
	if u.kind.Evidence == nil {
		return nil, &Error{Doing: doing, Detail: "this upstream cannot tell"}
	}
	if missing := u.missing(old); missing != "" {
		return nil, lacks(doing, missing)
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Kind.Deadline)
	defer cancel()
	s := u.open(ctx, doing, u.fields("secret", old))
	seen := []values{}
	if u.r.List != nil && u.r.Find != nil {
		items, o := s.items()
		if o.word != wordOK {
			return nil, s.undecided(o)
		}
		found, err := s.find(old, items)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, &Error{Doing: doing, Detail: "the upstream's list has nothing that is this credential"}
		}
		s.vars = s.vars.with(found[0].vars)
	}
	if len(u.r.usage) == 0 {
		seen = append(seen, s.vars)
	} else {
		if o := s.run(u.r.usage); o.word != wordOK {
			return nil, s.undecided(o)
		}
		raw, _ := s.vars["steps."+u.r.usage[len(u.r.usage)-1].Name+".items"].([]any)
		for _, one := range raw {
			seen = append(seen, s.vars.with(values{"item": one}))
		}
	}
	return s.told(old, since, seen)
}

// told turns what was seen into uses.
func (s *session) told(old secret.Value, since time.Time, seen []values) ([]upstream.Use, error) {
	s.mu.Lock()
	own, mine := s.own[string(old.Digest(s.key))]
	s.mu.Unlock()
	fine := max(s.kind.Evidence.Fine, time.Second)
	var out []upstream.Use
	for _, vars := range seen {
		v, err := s.r.last.eval(vars)
		if err != nil {
			return nil, &Error{Doing: s.doing, Cause: err}
		}
		if unsaid(v) {
			return nil, &Error{
				Doing: s.doing, Detail: "the upstream does not say when this credential was used last",
				Next: "see on the recipe's page which servers can tell",
			}
		}
		last, ok := asTime(v)
		if !ok {
			return nil, &Error{Doing: s.doing, Detail: s.r.last.place + " is no time"}
		}
		if last.IsZero() {
			continue
		}
		if mine && !last.Before(own.first.Add(-fine)) && !last.After(own.last.Add(fine)) {
			continue
		}
		if !s.date.IsZero() {
			last = last.Add(s.heard.Sub(s.date))
		}
		if last.Before(since) { // the caller has allowed for how coarse this evidence is
			continue
		}
		use := upstream.Use{Last: last}
		if s.r.who != nil {
			if use.Who, err = s.r.who.text(vars); err != nil {
				return nil, &Error{Doing: s.doing, Cause: err}
			}
		}
		use.Who = cmp.Or(shown(use.Who), somebody(vars))
		out = append(out, use)
	}
	return out, nil
}

// somebody is who used a credential where the upstream does not say.
func somebody(vars values) string {
	if name, _ := vars["target.name"].(string); name != "" {
		return fmt.Sprintf("somebody with %q", shown(name))
	}
	return "somebody"
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
