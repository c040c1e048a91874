// SPDX-License-Identifier: Apache-2.0

package http

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// items reads the list.
func (s *session) items() ([]recipe.Item, outcome) {
	if o := s.run(s.r.List); o.word != recipe.OK {
		return nil, o
	}
	items, err := s.r.Items(s.vars)
	if err != nil {
		return nil, outcome{word: recipe.Unknown, call: s.r.List[len(s.r.List)-1], cause: err}
	}
	return items, outcome{word: recipe.OK}
}

// find returns the one item that v is, or none. Several are an error: nobody can tell which it is.
func (s *session) find(v secret.Value, items []recipe.Item) ([]recipe.Item, error) {
	found := s.r.Find(s.vars, v, items)
	if len(found) > 1 {
		return nil, &upstream.Error{
			Doing: s.doing, Class: upstream.ErrNotApplied,
			Detail: fmt.Sprintf("%d credentials upstream could be this one: %s", len(found), names(found)),
			Next:   "revoke the right one by hand; the run then continues",
		}
	}
	return found, nil
}

// full says that there is room for no more, and what is there. Nothing is removed: what Custody did not make is not its.
func (s *session) full(o outcome) error {
	o.because = cmp.Or(o.because, "the upstream takes no further credential")
	o.hint = cmp.Or(o.hint, "remove one that nobody needs; Custody removes nothing that it did not make")
	if len(s.r.List) > 0 && !s.touched {
		if items, listed := s.items(); listed.word == recipe.OK {
			o.because += fmt.Sprintf("; it has %d: %s", len(items), names(items))
		}
	}
	return s.fail(o)
}

const maxShown = 20

func names(items []recipe.Item) string {
	var out []string
	for _, one := range items {
		if len(out) == maxShown {
			out = append(out, fmt.Sprintf("and %d more", len(items)-maxShown))
			break
		}
		out = append(out, fmt.Sprintf("%q (%s)", shown(cmp.Or(one.Name, "no name")), shown(one.ID)))
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

// collect removes every credential that carries run.
func (u *Upstream) collect(ctx context.Context, run authority.RunID) error {
	s, cancel, err := u.change(ctx, "collecting orphans", run)
	if err != nil {
		return err
	}
	defer cancel()
	items, o := s.items()
	if o.word != recipe.OK {
		return s.fail(o)
	}
	for _, one := range items {
		if u.carries(one, run) {
			if err := s.remove(run, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// identities names every credential of the account.
func (u *Upstream) identities(ctx context.Context) ([]string, error) {
	const doing = "listing credentials"
	if err := ctx.Err(); err != nil {
		return nil, &upstream.Error{Doing: doing, Cause: err}
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Deadline())
	defer cancel()
	s := u.open(ctx, doing)
	items, o := s.items()
	if o.word != recipe.OK {
		return nil, s.undecided(o)
	}
	out := []string{}
	for _, one := range items {
		out = append(out, one.ID)
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
		return nil, &upstream.Error{Doing: doing, Cause: err}
	}
	if u.kind.Evidence == nil {
		return nil, &upstream.Error{Doing: doing, Detail: "this upstream does not report it"}
	}
	if missing := u.r.Missing(old); missing != "" {
		return nil, lacks(doing, missing)
	}
	ctx, cancel := context.WithTimeout(ctx, u.r.Deadline())
	defer cancel()
	s := u.open(ctx, doing, u.r.Fields("secret", old))
	if len(u.r.List) > 0 && u.r.Source.Find != nil {
		items, o := s.items()
		if o.word != recipe.OK {
			return nil, s.undecided(o)
		}
		found, err := s.find(old, items)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, &upstream.Error{Doing: doing, Detail: "the upstream's list does not have this credential"}
		}
		s.vars = s.vars.With(found[0].Values)
	}
	if o := s.run(u.r.Usage); o.word != recipe.OK {
		return nil, s.undecided(o)
	}
	return s.told(old, since)
}

// told turns what was seen into uses.
func (s *session) told(old secret.Value, since time.Time) ([]upstream.Use, error) {
	s.mu.Lock()
	own, mine := s.own[string(old.Digest(s.key))]
	s.mu.Unlock()
	fine := max(s.kind.Evidence.Fine, time.Second)
	var out []upstream.Use
	for _, vars := range s.r.Seen(s.vars) {
		last, tells, err := s.r.LastUse(vars)
		if err != nil {
			return nil, &upstream.Error{Doing: s.doing, Cause: err}
		}
		if !tells {
			return nil, &upstream.Error{
				Doing: s.doing, Detail: "the upstream does not say when this credential was used last",
				Next: "the recipe's page says which servers report it",
			}
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
		who, err := s.r.Who(vars)
		if err != nil {
			return nil, &upstream.Error{Doing: s.doing, Cause: err}
		}
		out = append(out, upstream.Use{Last: last, Who: cmp.Or(shown(who), somebody(vars))})
	}
	return out, nil
}

// somebody is who used a credential where the upstream does not say.
func somebody(vars recipe.Values) string {
	if name, _ := vars["target.name"].(string); name != "" {
		return fmt.Sprintf("somebody with %q", shown(name))
	}
	return "somebody"
}
