// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"slices"
	"testing"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/reason"
)

// A secret's history is found by its name and by its path; a declaration that leads to two histories, or to another
// secret's, is told what to write.
func TestMisplaced(t *testing.T) {
	past := func(path authority.Path, name string, former ...string) *journal.Entry {
		return &journal.Entry{Path: path, Secret: name, Former: former, Tombstone: &journal.Tombstone{Document: name + ".yaml"}}
	}
	unread := func(path authority.Path, name string) *journal.Entry {
		return &journal.Entry{Path: path, Secret: name, Fault: journal.ErrUnreadable}
	}
	for name, c := range map[string]struct {
		history  []*journal.Entry
		declared []journal.Declared
		// want is what is said of each declared secret, "" for those that are in their place.
		want []reason.Code
	}{
		"new": {nil, []journal.Declared{{Name: "a", Path: "p/a"}}, []reason.Code{""}},
		"an entry in which nothing began": {
			[]*journal.Entry{{Path: "p/b", Secret: "b", Tried: true}}, []journal.Declared{{Name: "a", Path: "p/b"}, {Name: "b", Path: "p/c"}}, []reason.Code{"", ""},
		},
		"as ever":     {[]*journal.Entry{past("p/a", "a")}, []journal.Declared{{Name: "a", Path: "p/a"}}, []reason.Code{""}},
		"path edited": {[]*journal.Entry{past("p/a", "a")}, []journal.Declared{{Name: "a", Path: "p/new"}}, []reason.Code{reason.HistoryElsewhere}},
		"paths swapped": {
			[]*journal.Entry{past("p/a", "a"), past("p/b", "b")}, []journal.Declared{{Name: "a", Path: "p/b"}, {Name: "b", Path: "p/a"}},
			[]reason.Code{reason.HistorySwapped, reason.HistorySwapped},
		},
		"another's path": {
			[]*journal.Entry{past("p/a", "a")}, []journal.Declared{{Name: "b", Path: "p/a"}}, []reason.Code{reason.HistoryOfAnother},
		},
		"renamed": {[]*journal.Entry{past("p/a", "a")}, []journal.Declared{{Name: "b", Former: []string{"a"}, Path: "p/a"}}, []reason.Code{""}},
		"renamed and moved": {
			[]*journal.Entry{past("p/a", "a")}, []journal.Declared{{Name: "b", Former: []string{"a"}, Path: "p/b"}}, []reason.Code{reason.HistoryElsewhere},
		},
		"renamed, former name dropped": {[]*journal.Entry{past("p/a", "b", "a")}, []journal.Declared{{Name: "b", Path: "p/a"}}, []reason.Code{""}},
		"renamed, and back":            {[]*journal.Entry{past("p/a", "b", "a")}, []journal.Declared{{Name: "a", Path: "p/a"}}, []reason.Code{""}},
		"a former name used anew": {
			[]*journal.Entry{past("p/a", "b", "a")}, []journal.Declared{{Name: "b", Path: "p/a"}, {Name: "a", Path: "p/new"}},
			[]reason.Code{"", reason.FormerNameReused},
		},
		"removed, and declared anew elsewhere": {
			[]*journal.Entry{past("p/a", "a"), past("p/b", "b")}, []journal.Declared{{Name: "b", Path: "p/b"}, {Name: "a", Path: "p/new"}},
			[]reason.Code{"", reason.HistoryElsewhere},
		},
		"another's history taken over as a former name": {
			[]*journal.Entry{past("p/a", "a"), past("p/b", "b")}, []journal.Declared{{Name: "a", Former: []string{"b"}, Path: "p/b"}}, []reason.Code{reason.HistoryElsewhere},
		},
		"unreadable, and its path edited": {[]*journal.Entry{unread("p/a", "a")}, []journal.Declared{{Name: "a", Path: "p/new"}}, []reason.Code{reason.HistoryElsewhere}},
		"unreadable, not telling whose it is": {
			[]*journal.Entry{unread("p/a", ""), unread("p/b", ""), past("p/c", "c")},
			[]journal.Declared{{Name: "a", Path: "p/a"}, {Name: "b", Path: "p/b"}, {Name: "c", Path: "p/c"}, {Name: "perhaps-moved", Path: "p/new"}},
			[]reason.Code{"", "", "", reason.HistoryUnreadable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := journal.Misplaced(c.history, c.declared)
			for i, d := range c.declared {
				if why := got[d.Path]; why.Code != c.want[i] {
					t.Errorf("%s at %s: got %+v, want %q", d.Name, d.Path, why, c.want[i])
				}
			}
		})
	}
}

func TestRenameKeepsEveryName(t *testing.T) {
	entry := &journal.Entry{Secret: "typo"}
	entry.Rename("a") // nothing began under the name before
	entry.Last = &journal.Outcome{}
	for _, name := range []string{"b", "b", "a", "c"} {
		entry.Rename(name)
	}
	if want := []string{"a", "b"}; entry.Secret != "c" || !slices.Equal(entry.Former, want) {
		t.Errorf("got %s, before %v, want c, before %v", entry.Secret, entry.Former, want)
	}
}
