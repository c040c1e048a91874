// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/upstream"

	"cel.dev/cel-go/cel"
)

// Compiled is a recipe that has been checked: every expression in it has a type, and every name in it is known. Its
// methods fill in what an upstream is asked and read what it answered; they ask nobody. It is safe for concurrent use.
type Compiled struct {
	// Source is the recipe as it was written, defaults filled in. It is not to be changed.
	Source *Recipe
	// Admin is how the admin signs in; nil where no step needs one.
	Admin *SignIn
	// Create, Verify, List, Revoke and Usage are the requests of these operations, in turn; none where the recipe has none.
	Create, Verify, List, Revoke, Usage []*Call

	kind      upstream.Kind
	exclusive bool // see Kind
	patterns  map[string]*regexp.Regexp
	needs     *expression
	value     map[string]*expression
	each      map[string]*expression
	id, match *expression // of Find
	last, who *expression // of Usage
	texts     []*template // of Make's; nil for the others
	limited   *expression
	tells     *expression // whether there is evidence of use; nil for always
}

const defaultDeadline = 20 * time.Second

var (
	wordForm = lazyregexp.New(`^[a-z][A-Za-z0-9_]{0,63}$`)
	// reserved are words of CEL that no name may be.
	reserved = []string{"in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
		"package", "namespace", "return", "var", "void", "while", "true", "false", "null"}
)

// word checks what is to be a name.
func (c *compiler) word(place, name string) {
	if !wordForm.MatchString(name) || slices.Contains(reserved, name) {
		c.bad(place, "%q cannot be a name: want a lower-case letter, then letters and digits", name)
	}
}

func prefixed(prefix string, names []string, t *cel.Type) scope {
	out := scope{}
	for _, name := range names {
		out[prefix+"."+name] = t
	}
	return out
}

// response is what conditions on a reply see.
func response() scope {
	return scope{
		"response.status": cel.IntType, "response.body": cel.DynType, "response.text": cel.StringType,
		"response.header": cel.MapType(cel.StringType, cel.StringType),
	}
}

var parameterTypes = map[string]*cel.Type{
	"text": cel.StringType, "number": cel.IntType, "boolean": cel.BoolType, "list": cel.ListType(cel.StringType),
}

// Compile checks r and everything in it. The error joins a Fault for each thing that is wrong.
func Compile(r *Recipe) (*Compiled, error) {
	c, err := newCompiler()
	if err != nil {
		return nil, err
	}
	out := &Compiled{Source: r, patterns: map[string]*regexp.Regexp{}}
	base := c.names(r, out)
	c.kind(r, out)

	fields := slices.Sorted(maps.Keys(r.Fields))
	value := func(prefix string) scope { return prefixed(prefix, fields, cel.StringType) }
	var admin scope
	if r.Admin != nil {
		admin = prefixed("admin", slices.Sorted(maps.Keys(r.Admin.Fields)), cel.StringType)
		out.Admin = c.auth(adminPlace, &r.Admin.Auth, base.with(admin), r)
		if r.Admin.Auth.Use != "" {
			c.bad(adminPlace, "say how the admin signs in: bearer, basic, header, mtls, oauth2 or jwtBearer")
		}
	}
	run := scope{"run": cel.StringType}
	target := scope{"target.id": cel.StringType, "target.name": cel.StringType, "target.tag": cel.StringType}
	if r.List != nil {
		target = target.with(prefixed("target", slices.Sorted(maps.Keys(r.List.Each)), cel.DynType))
		for _, name := range []string{"id", "name", "tag"} {
			target["target."+name] = cel.StringType
		}
	}

	creating := base.with(run, scope{"tag": cel.StringType, "nonce": cel.StringType}, value("current"), value("candidate"))
	out.needs = c.expression("create.needs", r.Create.Needs, creating, cel.BoolType)
	var after scope
	out.Create, after = c.steps("create", r.Create.Steps, creating, r, changing)
	out.value = c.expressions("create.value", r.Create.Value, after)
	out.texts = c.makes(r, base.with(value("current")))

	asked := base.with(value("secret"))
	out.Verify, _ = c.steps("verify", r.Verify.Steps, asked, r, checking)
	if r.List != nil {
		out.List, after = c.steps("list", r.List.Steps, base, r, reading)
		out.each = c.expressions("list.each", r.List.Each, after.with(scope{"item": cel.DynType}))
	}
	if r.Find != nil {
		out.id = c.expression("find.id", r.Find.ID, asked, cel.StringType)
		out.match = c.expression("find.match", r.Find.Match, asked.with(target), cel.BoolType)
	}
	if r.Revoke != nil {
		out.Revoke, _ = c.steps("revoke", r.Revoke.Steps, base.with(run, target), r, changing)
	}
	if r.Usage != nil {
		seen := asked.with(target)
		out.Usage, after = c.steps("usage", r.Usage.Steps, seen, r, reading)
		if len(r.Usage.Steps) > 0 {
			seen = after.with(scope{"item": cel.DynType})
		}
		out.last = c.needed("usage.last", r.Usage.Last, seen, nil)
		out.who = c.expression("usage.who", r.Usage.Who, seen, nil)
	}
	if r.Kind.Evidence != nil {
		out.tells = c.expression("kind.evidence.if", r.Kind.Evidence.If, base, cel.BoolType)
	}
	out.limited = c.expression("limits.when", r.Limits.When, response(), cel.BoolType)
	c.whole(r, out)
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	return out, nil
}

// names checks what is declared and returns what every place sees.
func (c *compiler) names(r *Recipe, out *Compiled) scope {
	base := scope{"claim": cel.StringType, "now": cel.TimestampType}
	for name, p := range r.Parameters {
		place := "parameters." + name
		c.word(place, name)
		t := parameterTypes[p.Type]
		if t == nil {
			c.bad(place+".type", "want text, number, boolean or list")
			continue
		}
		base["params."+name] = t
		pattern, err := regexp.Compile(`\A(?:` + p.Pattern + `)\z`)
		if err != nil {
			c.bad(place+".pattern", "not a regular expression")
			continue
		}
		out.patterns[name] = pattern
		if p.Default != nil {
			if p.Required {
				c.bad(place+".default", "a parameter that is required has no default")
			}
			if _, err := p.check(name, p.Default, pattern); err != nil {
				c.bad(place+".default", "%v", err)
			}
		}
	}
	for name, endpoint := range r.Endpoints {
		c.word("endpoints."+name, name)
		if endpoint.URL != "" {
			if _, err := parseBase(endpoint.URL); err != nil {
				c.bad("endpoints."+name+".url", "%v", err)
			}
		}
	}
	for name := range r.Fields {
		c.word("fields."+name, name)
	}
	if r.Admin != nil {
		for name := range r.Admin.Fields {
			c.word("admin.fields."+name, name)
		}
	}
	return base
}

func (c *compiler) kind(r *Recipe, out *Compiled) {
	k := r.Kind
	out.kind = upstream.Kind{
		Name: "http", Capability: upstream.Capability(k.Capability), Undo: upstream.Undo(k.Undo),
		LostReply: upstream.LostReply(k.LostReply), Issues: k.Issues, Verifies: true, Settle: k.Settle, WrongEvery: k.WrongEvery,
	}
	if r.Kind.Deadline == 0 {
		r.Kind.Deadline = defaultDeadline
	}
	// What a call made shows in lists a while after the call itself can land no more.
	out.kind.CallDeadline = r.Kind.Deadline + k.Late + k.Settle
	if k.Evidence != nil {
		out.kind.Evidence = &upstream.Evidence{Source: k.Evidence.Source, Late: k.Evidence.Late, Fine: k.Evidence.Fine, Names: k.Evidence.Names}
	}
	oneOf := func(place, got string, want ...string) {
		if !slices.Contains(want, got) {
			c.bad("kind."+place, "want one of %s", strings.Join(want, ", "))
		}
	}
	oneOf("capability", k.Capability, "dual", "alternate", "overwrite")
	oneOf("undo", k.Undo, "discard", "reapply", "impossible")
	oneOf("lostReply", k.LostReply, "recover", "reissue", "person")
	switch {
	case k.Capability == "overwrite" && k.Undo == "discard":
		c.bad("kind.undo", "an overwrite kind cannot discard: the current credential was replaced")
	case k.Issues && k.Undo == "reapply":
		c.bad("kind.undo", "what the upstream issues cannot be applied again")
	case !k.Issues && k.LostReply != "recover":
		c.bad("kind.lostReply", "a candidate that Custody made is not lost with the reply: want recover")
	}
	if k.Capability == "overwrite" && k.Exclusive != nil && !*k.Exclusive {
		c.bad("kind.exclusive", "an overwrite kind has its account for itself: each rotation ends the credential before")
	}
	out.exclusive = k.Capability == "overwrite" || k.Undo == "impossible"
	if k.Exclusive != nil {
		out.exclusive = *k.Exclusive
	}
}

func (c *compiler) makes(r *Recipe, s scope) []*template {
	var out []*template
	field := func(place, name string) {
		if _, known := r.Fields[name]; !known {
			c.bad(place, "there is no field %q", name)
		}
	}
	for i, m := range r.Make {
		place := fmt.Sprintf("make[%d]", i)
		var text *template
		given := 0
		if m.Password != "" {
			given++
			field(place+".password", m.Password)
		}
		if m.SSH != nil {
			given++
			field(place+".ssh.private", m.SSH.Private)
			field(place+".ssh.public", m.SSH.Public)
		}
		if m.Text != nil {
			given++
			field(place+".text.field", m.Text.Field)
			text = c.template(place+".text.value", m.Text.Value, s)
		}
		if given != 1 {
			c.bad(place, "want exactly one of password, ssh and text")
		}
		out = append(out, text)
	}
	return out
}

// whole checks what parts of a recipe need of each other.
func (c *compiler) whole(r *Recipe, out *Compiled) {
	k := r.Kind
	need := func(ok bool, place, reason string) {
		if !ok {
			c.bad(place, "%s", reason)
		}
	}
	need(k.Issues == (len(r.Make) == 0), "make", "a kind that issues makes nothing, any other makes a candidate")
	need(k.Issues == (len(r.Create.Value) > 0), "create.value", "a kind that issues says what was issued, no other does")
	for name := range r.Create.Value {
		_, known := r.Fields[name]
		need(known, "create.value."+name, "there is no such field")
	}
	for name, field := range r.Fields {
		_, issued := r.Create.Value[name]
		need(!k.Issues || field.Optional || issued, "create.value", "the field "+name+" is neither issued nor optional")
	}
	reissues := k.Issues && k.LostReply == "reissue"
	need(!reissues || (r.Tag != nil && r.List != nil && out.each["tag"] != nil && r.Revoke != nil), "kind.lostReply",
		"reissue needs a tag, a list whose items show it (list.each.tag), and revoke")
	need(r.Tag == nil || (r.List != nil && out.each["tag"] != nil), "tag", "a tag is of use only if list.each.tag reads it")
	need(r.Tag == nil || r.Tag.Max >= shortTag, "tag.max", fmt.Sprintf("a tag needs %d characters at least", shortTag))
	need((k.Capability == "overwrite") == (r.Revoke == nil), "revoke", "an overwrite kind does not revoke, any other must")
	need(!k.Issues || len(r.Decoy) > 0, "decoy", "a kind that issues needs one: nothing else shows that verifying means something")
	for name, decoy := range r.Decoy {
		_, known := r.Fields[name]
		need(known, "decoy."+name, "there is no such field")
		need(decoy.Keep >= 0 && (!decoy.Key || decoy.Keep == 0), "decoy."+name, "want keep or key")
	}
	need(r.List == nil || out.each["id"] != nil, "list.each", "the items need an id")
	need(r.List == nil || (len(out.List) > 0 && out.List[len(out.List)-1].items != nil), "list.steps", "the last step needs items")
	need(r.Find == nil || r.Find.ID != "" || r.List != nil, "find.match", "to match needs a list")
	need(r.Revoke == nil || r.Find != nil, "find", "revoke needs to know what a value is")
	need(r.Find == nil || r.Find.ID != "" || r.Find.Match != "", "find", "want id, match or both")
	need(r.Verify.Listed != (len(r.Verify.Steps) > 0), "verify", "want steps or listed")
	need(!r.Verify.Listed || (r.List != nil && r.Find != nil), "verify.listed", "needs list and find")
	decides := r.Verify.Listed
	for _, call := range out.Verify {
		for _, reply := range call.Source.Replies {
			decides = decides || reply.Then == Accepted
		}
	}
	need(decides, "verify", "no reply is accepted")
	need((k.Evidence == nil) == (r.Usage == nil), "kind.evidence", "evidence and usage go together")
	if r.Usage != nil {
		need(len(r.Usage.Steps) > 0 || (r.List != nil && r.Find != nil), "usage", "without steps it needs list and find")
		need(len(out.Usage) == 0 || out.Usage[len(out.Usage)-1].items != nil, "usage.steps", "the last step needs items")
	}
}
