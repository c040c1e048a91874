// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/upstream"

	"github.com/google/go-cmp/cmp"
)

func kind() upstream.Kind {
	return upstream.Kind{
		Name: "keys", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Recover, Verifies: true, CallDeadline: time.Minute,
	}
}

func TestKindsThatContradictThemselves(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*upstream.Kind)
		want   string
	}{
		{"as it should be", func(*upstream.Kind) {}, ""},
		{"no name", func(k *upstream.Kind) { k.Name = "" }, "no name"},
		{"no capability", func(k *upstream.Kind) { k.Capability = "" }, "no capability"},
		{"no undo", func(k *upstream.Kind) { k.Undo = "" }, "no undo"},
		{"no answer to a lost reply", func(k *upstream.Kind) { k.LostReply = "" }, "lost reply"},
		{"no deadline", func(k *upstream.Kind) { k.CallDeadline = 0 }, "call deadline"},
		{"negative settle", func(k *upstream.Kind) { k.Settle = -1 }, "settle time"},
		{"negative pause", func(k *upstream.Kind) { k.WrongEvery = -1 }, "wrong sign-in"},
		{"overwrite that discards", func(k *upstream.Kind) { k.Capability = upstream.Overwrite }, "cannot discard"},
		{"issues and reapplies", func(k *upstream.Kind) {
			k.Issues, k.LostReply, k.Undo = true, upstream.Person, upstream.Reapply
		}, "cannot reapply"},
		{"reissues what it did not issue", func(k *upstream.Kind) { k.LostReply = upstream.Reissue }, "nothing to reissue"},
		{"evidence from nowhere", func(k *upstream.Kind) { k.Evidence = &upstream.Evidence{} }, "needs a source"},
	} {
		k := kind()
		test.change(&k)
		if err := k.Check(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestPageSaysUnderWhichSettingsAFactHolds(t *testing.T) {
	fencing := kind()
	fencing.Fences = true
	d := upstream.Description{Modes: []upstream.Mode{
		{Name: "one", Kind: fencing, FencesIf: "with `marker`"}, {Name: "two", Kind: fencing, FencesIf: "with `marker`"}, {Name: "three", Kind: fencing},
	}}
	want := "| late calls | with `marker`: the upstream refuses a delayed call once a later run has started; else the next run starts only after the " +
		"deadline of the last call | the same | the upstream refuses a delayed call once a later run has started |\n"
	if got := d.Markdown(); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant the line\n%s", got, want)
	}
}

func TestPageOfAKind(t *testing.T) {
	second := kind()
	second.Capability, second.Undo, second.Settle, second.WrongEvery = upstream.Overwrite, upstream.Reapply, 90*time.Second, 2*time.Hour
	second.Whose = "the username"
	second.Evidence = &upstream.Evidence{Source: "sessions | logs", Late: time.Minute, Fine: time.Second, Names: true}
	d := upstream.Description{
		Type: "keys", Title: "Keys", Summary: "Rotates keys.", Tried: "a server", Page: "\n## Documents\n\nNone.\n",
		Modes: []upstream.Mode{{Name: "one", Kind: kind(), Means: "Both."}, {Name: "two", Kind: second, Means: "One."}},
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	want := `# Keys

Rotates keys.

## Modes

**one**: Both.

**two**: One.

## At a glance

| | one | two |
|---|---|---|
| overlap | dual: the old and the new credential are valid at the same time | overwrite: the new credential replaces the old one; sign-ins are refused until it is delivered |
| credential | created by Custody | the same |
| verify | the upstream says whether it accepts the credential | the same |
| undo before promotion | discard: the candidate (new credential) is revoked; the current one was never touched | reapply: the current credential is applied again |
| lost reply | recover: a sign-in shows whether the change took effect; making it again does no harm | the same |
| settle upstream | none: a change takes effect at once | up to 1m30s until a change takes effect everywhere |
| call deadline | 1m | the same |
| late calls | the next run starts only after the deadline of the last call | the same |
| evidence of use | none: the upstream cannot tell who still uses the old credential | sessions \| logs, with the name of the user; up to 1m late; exact to 1s |
| supplied by hand | any that the upstream accepts; Custody cannot tell which account it belongs to | only one of the account in the document, or of the account that the secret has now; Custody tells by the username |
| wrong sign-ins | not limited | at most one every 2h, so that the account is not locked |

Tried: a server

## Documents

None.
`
	if diff := cmp.Diff(want, d.Markdown()); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*upstream.Description){
		"no summary":  func(d *upstream.Description) { d.Summary = "" },
		"no modes":    func(d *upstream.Description) { d.Modes = nil },
		"other page":  func(d *upstream.Description) { d.Page = "# Keys" },
		"bad kind":    func(d *upstream.Description) { d.Modes = []upstream.Mode{{Means: "x"}} },
		"no sentence": func(d *upstream.Description) { d.Modes = []upstream.Mode{{Kind: kind()}} },
	} {
		broken := d
		change(&broken)
		if broken.Check() == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
