// SPDX-License-Identifier: Apache-2.0

package reason_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/reason"
)

var kebab = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// A code stands for one sentence and is never used again; each sentence is explained, and says whether somebody has to act.
func TestCatalogueIsSound(t *testing.T) {
	codes, sentences := map[reason.Code]bool{}, map[string]reason.Code{}
	for _, row := range reason.Catalogue() {
		switch {
		case !kebab.MatchString(string(row.Code)), codes[row.Code], slices.Contains(reason.Retired(), row.Code):
			t.Errorf("%q: no code of its own, in kebab-case", row.Code)
		case sentences[row.Says] != "":
			t.Errorf("%s has the sentence of %s", row.Code, sentences[row.Says])
		case row.Says == "", row.Means == "", row.Move == "":
			t.Errorf("%s: says %q, means %q, move %q", row.Code, row.Says, row.Means, row.Move)
		case row.Class != reason.Normal && row.Class != reason.Fault && row.Class != reason.Person:
			t.Errorf("%s: class %q", row.Code, row.Class)
		case row.Class == reason.Normal && len(row.Next) > 0:
			t.Errorf("%s ends by itself and names a command", row.Code)
		}
		codes[row.Code], sentences[row.Says] = true, row.Code
	}
}

// The text has the sentence, the cause, when it ends, and the commands whose parameters are given.
func TestTextIsRendered(t *testing.T) {
	at := time.Date(2026, 12, 2, 3, 4, 5, 0, time.UTC)
	for want, r := range map[string]reason.Reason{
		"": {},
		"waiting until app, of the same group, is verified":                                                                reason.New(reason.GroupMemberVerifying, reason.Args{"member": "app"}),
		"every consumer has the new version; the settle time after the last proof is running (until 2026-12-02T03:04:05Z)": reason.New(reason.SettleTime, nil).Till(at),
		"asking the upstream who still uses the old credential failed: no route; to revoke it anyway: `custody run force run-1 --reason TEXT`": reason.New(reason.OldUsesUnknown, nil).
			Because("no route").With(reason.Args{"force": "run-1"}),
		"from-tomorrow (this Custody does not know the code)": reason.New("from-tomorrow", nil),
	} {
		if got := r.Text(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	r := reason.New(reason.RunValuesGone, reason.Args{"abort": "run-1"})
	if got := r.Commands(); !slices.Equal(got, []string{"custody run abort run-1 --reason TEXT"}) || !r.People() || r.ByDesign() {
		t.Errorf("commands %q, people %t, by design %t", got, r.People(), r.ByDesign())
	}
}

// What is stored is the code and its parameters, and never the text; what is answered has both.
func TestReasonIsStoredAsData(t *testing.T) {
	r := reason.New(reason.ProofMissing, reason.Args{"consumers": "app"})
	stored, err := json.Marshal(r)
	if want := `{"code":"proof-missing","args":{"consumers":"app"}}`; err != nil || string(stored) != want {
		t.Errorf("stored %s, %v", stored, err)
	}
	answered, err := json.Marshal(r.Show())
	var back reason.Shown
	if err == nil {
		err = json.Unmarshal(answered, &back)
	}
	if err != nil || !back.Same(r) || back.Text != r.Text() {
		t.Errorf("answered %s, %v", answered, err)
	}
}

// Dashboards, alerts and scripts name codes: none may go without a word, and none may come back with another meaning.
func TestCodesStayWhatTheyAre(t *testing.T) {
	data, err := os.ReadFile("testdata/codes")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[reason.Code]bool{}
	for _, code := range strings.Fields(string(data)) {
		listed[reason.Code(code)] = true
	}
	rows := map[reason.Code]bool{}
	for _, row := range reason.Catalogue() {
		if rows[row.Code] = true; !listed[row.Code] {
			t.Errorf("%s is new: add it to testdata/codes, where it stays", row.Code)
		}
	}
	for code := range listed {
		if !rows[code] && !slices.Contains(reason.Retired(), code) {
			t.Errorf("%s was used and is gone: add it to Retired", code)
		}
	}
}
