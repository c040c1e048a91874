// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Values are what the names of a recipe stand for. Who asks sets claim and now, and run, tag and nonce where they are
// seen; the rest comes from Compiled (params.NAME, target.NAME, and FIELD of secret, current, candidate and admin),
// from Call (steps.NAME.LET) and from Answer (response.status and its like). The page says what each place sees.
type Values map[string]any

// With returns a copy of v with others put over it.
func (v Values) With(others ...Values) Values {
	out := maps.Clone(v)
	for _, other := range others {
		maps.Copy(out, other)
	}
	return out
}

// Fields are those of a value under prefix; those that it has not are "".
func (c *Compiled) Fields(prefix string, v secret.Value) Values {
	return fields(prefix, c.Source.Fields, v)
}

// AdminFields are those of the admin's credential.
func (c *Compiled) AdminFields(v secret.Value) Values {
	return fields("admin", c.Source.Admin.Fields, v)
}

func fields[T any](prefix string, names map[string]T, v secret.Value) Values {
	out := Values{}
	for name := range names {
		out[prefix+"."+name] = v.ExposeText(name)
	}
	return out
}

// Missing names a field that a value must have and v has not; "" when it has all.
func (c *Compiled) Missing(v secret.Value) string {
	for _, name := range slices.Sorted(maps.Keys(c.Source.Fields)) {
		if !c.Source.Fields[name].Optional && len(v.Expose(name)) == 0 {
			return name
		}
	}
	return ""
}

// Kind is what the upstream can do with the parameters in v.
func (c *Compiled) Kind(v Values) upstream.Kind {
	kind := c.kind
	if c.tells != nil && !c.tells.holds(v) {
		kind.Evidence = nil
	}
	return kind
}

// Deadline bounds one operation: all requests of it together.
func (c *Compiled) Deadline() time.Duration { return c.Source.Kind.Deadline }

// Ready reports whether what is there before allows to create.
func (c *Compiled) Ready(v Values) bool { return c.needs == nil || c.needs.holds(v) }

// Limited reports whether the answer in v says, in the recipe's own words, that the upstream is asked too often.
func (c *Compiled) Limited(v Values) bool { return c.limited != nil && c.limited.holds(v) }

// Issued reads what was issued, once Create is done. Fields of current that are not the recipe's are kept.
func (c *Compiled) Issued(v Values, current secret.Value) (secret.Value, error) {
	made := map[string][]byte{}
	for _, name := range current.Names() {
		if _, owned := c.Source.Fields[name]; !owned {
			made[name] = current.Expose(name)
		}
	}
	for name, e := range c.value {
		text, err := e.text(v)
		if err == nil && text == "" && !c.Source.Fields[name].Optional {
			err = fmt.Errorf("%s: it came out empty", e.place)
		}
		if err != nil {
			return secret.Value{}, fmt.Errorf("the answer does not hold what was issued: %w", err)
		}
		made[name] = []byte(text)
	}
	out, err := secret.New(made)
	if err != nil {
		return secret.Value{}, errors.New("what was issued is larger than a value can be")
	}
	return out, nil
}

// Item is one credential that the upstream has. Nothing in it is secret. Values has target.NAME for all that is known
// of it.
type Item struct {
	ID, Name, Tag string
	Values        Values
}

// Named is an item of which nothing but its identity is known.
func Named(id string) Item {
	return Item{ID: id, Name: id, Values: Values{"target.id": id, "target.name": id, "target.tag": ""}}
}

// Items are those that List has kept in v.
func (c *Compiled) Items(v Values) ([]Item, error) {
	var out []Item
	for _, one := range c.List[len(c.List)-1].kept(v) {
		item, err := c.item(v.With(Values{"item": one}))
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

func (c *Compiled) item(v Values) (Item, error) {
	made := Item{Values: Values{"target.name": "", "target.tag": ""}}
	for name, e := range c.each {
		out, err := e.eval(v)
		if err != nil {
			return Item{}, err
		}
		made.Values["target."+name] = out
		into := map[string]*string{"id": &made.ID, "name": &made.Name, "tag": &made.Tag}[name]
		if into == nil {
			continue
		}
		text, ok := asText(out)
		if !ok || name == "id" && text == "" {
			return Item{}, fmt.Errorf("%s is not text", e.place)
		}
		*into, made.Values["target."+name] = text, text
	}
	return made, nil
}

// Identity is the one that old itself names, "" when it names none.
func (c *Compiled) Identity(v Values, old secret.Value) string {
	if c.id == nil || old.Empty() {
		return ""
	}
	id, err := c.id.text(v.With(c.Fields("secret", old)))
	if err != nil {
		return ""
	}
	return id
}

// Find gives those of items that old could be.
func (c *Compiled) Find(v Values, old secret.Value, items []Item) []Item {
	id := c.Identity(v, old)
	if id == "" && c.match == nil {
		return nil
	}
	v = v.With(c.Fields("secret", old))
	var found []Item
	for _, one := range items {
		if (id == "" || one.ID == id) && (c.match == nil || c.match.holds(v.With(one.Values))) {
			found = append(found, one)
		}
	}
	return found
}

// Seen are the values for each thing that tells of use: those that Usage has kept in v, or v itself where the recipe asks
// for none.
func (c *Compiled) Seen(v Values) []Values {
	if len(c.Usage) == 0 {
		return []Values{v}
	}
	var out []Values
	for _, one := range c.Usage[len(c.Usage)-1].kept(v) {
		out = append(out, v.With(Values{"item": one}))
	}
	return out
}

// LastUse is when one of Seen says that the credential was used, zero for never; told is false where it does not say.
func (c *Compiled) LastUse(v Values) (at time.Time, told bool, err error) {
	out, err := c.last.eval(v)
	switch {
	case err != nil:
		return time.Time{}, false, err
	case unsaid(out):
		return time.Time{}, false, nil
	}
	at, ok := asTime(out)
	if !ok {
		return time.Time{}, false, fmt.Errorf("%s is no time", c.last.place)
	}
	return at, true, nil
}

// Who is who used it by one of Seen, "" where the recipe does not say.
func (c *Compiled) Who(v Values) (string, error) {
	if c.who == nil {
		return "", nil
	}
	return c.who.text(v)
}
