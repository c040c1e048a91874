// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts/client"
	"custody.dev/custody/internal/realparts/signin"
)

// show rotates one of each kind of credential that hurts, on a real server where that is here.
func (t *tour) show() {
	t.step("The credentials that hurt", "An API token, a cloud key, an SMTP password and a client of an identity provider, each on its own real server, and a\nconnection string that is computed. They are added like any change of the estate: documents, sealed admin credentials,\na commit. custody serve checks the estate every five seconds.")
	t.gather()
	var here []*exhibit
	for _, e := range t.exhibits {
		if e.there() {
			here = append(here, e)
		} else if t.err == nil {
			t.output([]string{fmt.Sprintf("without %s (%s): %s", e.what, e.server, e.missing)})
		}
	}
	if len(here) == 0 || t.err != nil {
		return
	}
	t.declareExhibits(here)
	for _, e := range here {
		if t.err != nil {
			return
		}
		t.showing = e
		e.client = t.enter(e.id, plan{Target: e.target, Plan: client.Plan{Workers: e.workers, Every: e.every}})
	}
	for _, e := range here {
		if t.err != nil {
			return
		}
		t.showing = e
		t.await(e.secret+" to be steady", time.Minute, func() bool {
			row := t.row(e.secret)
			return row.State == "steady" && row.Version != ""
		})
	}
	t.check(true, fmt.Sprintf("%s created or handed over, and used by clients that sign in", counted(len(here), "credential")), "")
	for _, e := range here {
		t.showing = e
		if t.turn(e); t.err != nil {
			return
		}
	}
	t.showing = nil
}

// declareExhibits adds them to the estate.
func (t *tour) declareExhibits(here []*exhibit) {
	for _, e := range here {
		for _, name := range slices.Sorted(maps.Keys(e.documents)) {
			t.write("estate/"+name, e.documents[name])
		}
	}
	for _, e := range here {
		t.seal(e.seals)
	}
	t.run(call{args: []string{"lint"}, show: all})
	t.commit("the credentials that hurt")
	t.await("the server to take the documents up", time.Minute, func() bool {
		return !slices.ContainsFunc(here, func(e *exhibit) bool { return t.row(e.secret).Secret == "" })
	})
	t.grant()
}

// seal seals what an exhibit's admin signs in with, all fields at once.
func (t *tour) seal(fields []sealed) {
	if len(fields) == 0 {
		return
	}
	object := map[string]string{}
	for _, s := range fields {
		object[s.field] = s.value
		if s.field != "username" {
			t.values = append(t.values, s.value)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic("demo: encoding texts cannot fail: " + err.Error())
	}
	name := fields[0].secret
	t.run(call{args: []string{"seal", name, "-"}, stdin: string(text), shown: fmt.Sprintf("pass show %s.json | custody seal %s -", name, name)})
}

// turn shows an exhibit's documents and rotates it while its clients sign in.
func (t *tour) turn(e *exhibit) {
	if t.err != nil {
		return
	}
	asked := e.asked
	if asked == "" {
		asked = e.secret
	}
	t.step(strings.ToUpper(e.what[:1])+e.what[1:]+": "+e.server, e.about)
	t.run(call{program: "grep", args: []string{"-E", e.shows, e.file()}, show: all})
	old, before := t.delivered(e.id), e.client.signIns()
	t.run(call{args: []string{"rotate", asked, "--reason", "the turn of " + e.what, "--wait"}, show: transitions})
	t.rotations++
	// A worker of each sort signs in once more by what it has now.
	t.await("the clients to sign in", time.Minute, func() bool { return e.client.signIns() >= before+2*int64(e.workers) })
	t.unharmed(e.client, before)
	if t.err != nil {
		return
	}
	now := t.delivered(e.id)
	err := e.target.signIn(now)
	t.check(err == nil && now["version"] != old["version"], "the new one is accepted", fmt.Sprintf("the new one is not accepted, or not new: %v", err))
	err = e.target.signIn(old)
	t.check(errors.Is(err, signin.ErrRefused), "the old one is refused", fmt.Sprintf("the old one is not refused: %v", err))
}

// transitions keeps the steps of a run and its result, on two lines.
func transitions(lines []string) []string {
	var steps []string
	result := ""
	for _, line := range lines {
		words := strings.Fields(line)
		switch {
		case len(words) > 1 && strings.Count(words[0], ":") == 2:
			steps = append(steps, strings.TrimSuffix(words[1], ":"))
		case len(words) > 1 && words[0] == "run":
			result = line
		}
	}
	return []string{strings.Join(steps, ", "), result}
}

// shown says which kinds of credential were rotated on a real server, and which were not.
func (t *tour) shown() {
	t.line("")
	if t.database != nil {
		t.good("shown: a database account (PostgreSQL)")
	} else {
		t.line("    not shown: a database account (PostgreSQL): " + noPostgreSQL)
	}
	for _, e := range t.exhibits {
		if e.there() {
			t.good(fmt.Sprintf("shown: %s (%s)", e.what, e.server))
		} else {
			t.line(fmt.Sprintf("    not shown: %s (%s): %s", e.what, e.server, e.missing))
		}
	}
}

// tally counts kinds.
func (t *tour) tally() (shown, known int) {
	if t.database != nil {
		shown++
	}
	for _, e := range t.exhibits {
		if e.there() {
			shown++
		}
	}
	return shown, len(t.exhibits) + 1
}
