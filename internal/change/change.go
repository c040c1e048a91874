// SPDX-License-Identifier: Apache-2.0

// Package change compares two estates (configurations): which secrets and consumers the later one adds, changes and removes, and
// what would be revoked. It is pure: it makes no calls.
//
// Guaranteed: each secret and each consumer that the later estate no longer declares is named, and marked as removed.
//
// Not guaranteed: that nothing else is revoked. What a run does depends on its upstream and on when it runs. Only runs that the
// change itself makes due are predicted, and only for secrets whose facts are given.
package change

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/next"
)

// What happens to a secret.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
)

// Change is what would happen to one secret.
type Change struct {
	Secret  string   `json:"secret"`
	What    string   `json:"what"`
	Effects []Effect `json:"effects"`
}

// Effect is one thing that would happen. At most one of Removes and Revokes is set.
type Effect struct {
	Text string `json:"text"`
	// Removes: a secret, a consumer or a file is no longer looked after. Revokes: a credential that works would stop working.
	Removes bool `json:"removes,omitempty"`
	Revokes bool `json:"revokes,omitempty"`
}

// Fact is what is known of a secret under the estate in force.
type Fact struct {
	// Rotated is when its value of record was made; zero where there is none, or nobody knows.
	Rotated time.Time
	// Running: a run of it is under way.
	Running bool
}

// Facts are known by the names of secrets; one that is missing is not known.
type Facts map[string]Fact

// Between says what after would do in the place of before, by the names of secrets. Now is by what lifetimes end.
func Between(before, after *intent.Estate, facts Facts, now time.Time) []Change {
	var changes []Change
	note := func(secret, what string, effects []Effect) {
		if len(effects) > 0 {
			changes = append(changes, Change{secret, what, effects})
		}
	}
	for name, declared := range after.Secrets {
		was, known := earlier(before, declared)
		if !known {
			note(name, Added, added(declared))
			continue
		}
		note(name, Changed, changed(comparison{before, after, was, declared, facts[was.Name], now}))
	}
	for name, declared := range before.Secrets {
		if _, still := later(after, name); !still && !before.Leaving[name] {
			note(name, Removed, removed(before.PolicyOf(declared), declared, facts[name]))
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Or(cmp.Compare(a.Secret, b.Secret), cmp.Compare(a.What, b.What)) })
	return changes
}

// earlier is the secret that was declared under one of its names.
func earlier(before *intent.Estate, declared *intent.Secret) (*intent.Secret, bool) {
	for _, name := range append([]string{declared.Name}, declared.Spec.FormerNames...) {
		if was, known := before.Secrets[name]; known {
			return was, true
		}
	}
	return nil, false
}

// later is the secret that has a name, or had it.
func later(after *intent.Estate, name string) (*intent.Secret, bool) { return after.ByName(name) }

// Counts of what is removed and revoked.
func Counts(changes []Change) (removes, revokes int) {
	for _, c := range changes {
		for _, e := range c.Effects {
			if e.Removes {
				removes++
			}
			if e.Revokes {
				revokes++
			}
		}
	}
	return removes, revokes
}

func says(format string, args ...any) Effect { return Effect{Text: fmt.Sprintf(format, args...)} }

func removes(format string, args ...any) Effect {
	return Effect{Text: fmt.Sprintf(format, args...), Removes: true}
}

func added(s *intent.Secret) []Effect {
	var effects []Effect
	switch origin := s.Spec.Origin; {
	case origin.Bootstrap != nil:
		effects = append(effects, says("its first value is handed over from Git to the authority, once"))
	case origin.Derived != nil:
		effects = append(effects, says("it is computed from other secrets"))
	case origin.Issued != nil:
		effects = append(effects, says("upstream %s makes its first value", upstreamOf(s)))
	default:
		effects = append(effects, says("Custody makes its first value"))
	}
	for _, consumer := range s.Consumers {
		effects = append(effects, says("it is delivered to consumer %s%s", consumer.Name, to(consumer)))
	}
	return effects
}

func removed(policy intent.Policy, s *intent.Secret, fact Fact) []Effect {
	effects := []Effect{removes("it leaves: a host that has its value keeps it in force, as it was declared last, until %s", next.Retire(s.Name))}
	if policy.RetireAfter > 0 {
		effects = []Effect{removes("it leaves: a host that has its value keeps it in force, as it was declared last, for %s; then its policy has it retired", duration.Format(policy.RetireAfter))}
	}
	if fact.Running {
		effects = append(effects, says("a run of it is under way and continues; it is rolled back or completed before the secret is retired"))
	}
	for _, consumer := range s.Consumers {
		effects = append(effects, removes("consumer %s loses its file%s when it is retired", consumer.Name, to(consumer)))
	}
	if upstream := upstreamOf(s); upstream != "" {
		effects = append(effects, removes("its credential is revoked at upstream %s when it is retired", upstream))
	}
	return effects
}

// to is where a consumer is given its value.
func to(consumer intent.Consumer) string {
	if consumer.File == nil {
		return ""
	}
	return " " + consumer.File.Folder + "/" + consumer.File.Path
}

func upstreamOf(s *intent.Secret) string {
	if s.Spec.Rotation == nil {
		return ""
	}
	return s.Spec.Rotation.UpstreamRef
}

// comparison is one secret before and after.
type comparison struct {
	before, after *intent.Estate
	was, is       *intent.Secret
	fact          Fact
	now           time.Time
}

func changed(c comparison) []Effect {
	effects := slices.Concat(c.identity(), c.rotation(), c.consumers())
	if was, is := c.before.Secrets[c.was.Name].Spec, c.is.Spec; was.Suspend != is.Suspend {
		text := "it is no longer suspended: what is due begins"
		if is.Suspend {
			text = "it is suspended: no new rotation begins"
		}
		effects = append(effects, says("%s", text))
	}
	if was, is := c.was.Spec.Owner, c.is.Spec.Owner; was != is {
		effects = append(effects, says("its owner is %s instead of %s", is.Team, was.Team))
	}
	if len(effects) == 0 && !same(c.was.Spec, c.is.Spec) {
		effects = append(effects, says("its document says something else, with no effect on what it is given to"))
	}
	return effects
}

// identity is what tells a secret from others.
func (c comparison) identity() (effects []Effect) {
	if c.was.Name != c.is.Name {
		effects = append(effects, says("it is renamed from %s", c.was.Name))
	}
	if c.was.Path != c.is.Path {
		effects = append(effects, removes("its path is %s instead of %s: its history stays at the old one, and the secret waits until the old path is declared again", c.is.Path, c.was.Path))
	}
	if was, is := c.was.Spec.Origin, c.is.Spec.Origin; !same(was, is) {
		effects = append(effects, says("its origin changes, which has an effect only if it has no value yet, or is derived"))
	}
	return effects
}

func (c comparison) rotation() (effects []Effect) {
	was, is := upstreamOf(c.was), upstreamOf(c.is)
	switch {
	case was == is:
	case is == "":
		effects = append(effects, removes("it has no upstream any more: no value of it is made or tested; upstream %s still takes the present one", was))
	case was == "":
		effects = append(effects, says("upstream %s is given its value, once that is granted", is))
	default:
		effects = append(effects, removes("its upstream is %s instead of %s, which still takes the present credential: Custody does not revoke it there; the secret waits until that is granted", is, was))
	}
	if is != "" && was == is {
		if before, after := c.before.Upstreams[was], c.after.Upstreams[is]; !same(before.Spec, after.Spec) {
			effects = append(effects, says("the document of upstream %s changes", is))
		}
	}
	before, after := c.before.PolicyOf(c.was), c.after.PolicyOf(c.is)
	if reflect.DeepEqual(before, after) {
		return effects
	}
	effects = append(effects, says("its policy changes: %s", policies(before, after)))
	if dueBy(before, c.fact, c.now) || !dueBy(after, c.fact, c.now) {
		return effects
	}
	effect := says("its value of %s is older than the new policy allows: it is rotated once the policy is enforced", c.fact.Rotated.UTC().Format(time.RFC3339))
	if effect.Revokes = after.RevokeOld; effect.Revokes {
		effect.Text += ", and the present credential is revoked"
	}
	return append(effects, effect)
}

// dueBy reports whether a policy has a value rotated by now.
func dueBy(policy intent.Policy, fact Fact, now time.Time) bool {
	return policy.Type == intent.Timed && policy.TTL > 0 && !fact.Rotated.IsZero() && !now.Before(fact.Rotated.Add(policy.TTL-policy.RotateBefore))
}

// policies names what differs in two policies.
func policies(before, after intent.Policy) string {
	var differ []string
	a, b := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			differ = append(differ, fmt.Sprintf("%s %s instead of %s", name(a.Type().Field(i).Name), shown(b.Field(i).Interface()), shown(a.Field(i).Interface())))
		}
	}
	return strings.Join(differ, ", ")
}

// name is a field as documents have it.
func name(field string) string {
	if field == strings.ToUpper(field) {
		return strings.ToLower(field)
	}
	return strings.ToLower(field[:1]) + field[1:]
}

func shown(value any) string {
	if windows, is := value.([]intent.Window); is {
		return fmt.Sprintf("(%d)", len(windows))
	}
	return cmp.Or(fmt.Sprint(value), "none")
}

func (c comparison) consumers() (effects []Effect) {
	of := func(s *intent.Secret, name string) (intent.Consumer, bool) {
		i := slices.IndexFunc(s.Consumers, func(one intent.Consumer) bool { return one.Name == name })
		if i < 0 {
			return intent.Consumer{}, false
		}
		return s.Consumers[i], true
	}
	for _, is := range c.is.Consumers {
		was, known := of(c.was, is.Name)
		switch {
		case !known:
			effects = append(effects, says("consumer %s is added: it is given the value%s", is.Name, to(is)))
		case to(was) != to(is):
			effects = append(effects, removes("consumer %s is given the value%s instead of%s; the old file is removed once every consumer has proved the value", is.Name, to(is), to(was)))
		case !same(was.ConsumerSpec, is.ConsumerSpec):
			effects = append(effects, says("consumer %s changes: its file is written again if it differs", is.Name))
		}
	}
	for _, was := range c.was.Consumers {
		if _, still := of(c.is, was.Name); !still {
			effects = append(effects, removes("consumer %s is removed: it gets nothing more, its proof is not waited for before a revocation, and its file%s is removed, if it is what Custody delivered", was.Name, to(was)))
		}
	}
	return effects
}

// same compares documents by what they say.
func same[T v1alpha1.ManagedSecretSpec | v1alpha1.ConsumerSpec | v1alpha1.UpstreamSpec | v1alpha1.Origin](a, b T) bool {
	x, xerr := json.Marshal(a)
	y, yerr := json.Marshal(b)
	return xerr == nil && yerr == nil && string(x) == string(y)
}
