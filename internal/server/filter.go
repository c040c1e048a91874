// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"custody.dev/custody/internal/inventory"
)

// Filter chooses among secrets. The zero filter takes all.
type Filter struct {
	// Secret is the name of the only one that is taken; "" takes any.
	Secret string
	// Owner is a team, and State a state, as inventory shows them; "" takes any.
	Owner, State string
	// Findings takes those about which there is a finding.
	Findings bool
	// ExpiresWithin takes those whose lifetime has ended or ends within it; 0 takes any.
	ExpiresWithin time.Duration
}

// May reports whether a secret of that name and team may be taken: it is asked before anything else is looked at.
func (f Filter) May(name, team string) bool {
	return (f.Secret == "" || f.Secret == name) && (f.Owner == "" || f.Owner == team)
}

// Takes reports whether a row is taken, with the findings about it.
func (f Filter) Takes(row inventory.Row, findings []Finding, now time.Time) bool {
	switch {
	case !f.May(row.Secret, row.Team), f.State != "" && f.State != row.State, f.Findings && len(findings) == 0:
		return false
	}
	return f.ExpiresWithin == 0 || !row.Expires.IsZero() && row.Expires.Before(now.Add(f.ExpiresWithin))
}

// query is the filter in an address, with its question mark; "" for the one that takes all.
func (f Filter) query() string {
	values := url.Values{}
	if f.Secret != "" {
		values.Set("secret", f.Secret)
	}
	if f.Owner != "" {
		values.Set("owner", f.Owner)
	}
	if f.State != "" {
		values.Set("state", f.State)
	}
	if f.Findings {
		values.Set("findings", "true")
	}
	if f.ExpiresWithin != 0 {
		values.Set("expiresWithin", f.ExpiresWithin.String())
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func filterOf(r *http.Request) (f Filter, err error) {
	f.Secret, f.Owner, f.State = r.FormValue("secret"), r.FormValue("owner"), r.FormValue("state")
	if text := r.FormValue("findings"); text != "" {
		if f.Findings, err = strconv.ParseBool(text); err != nil {
			return f, &Problem{Class: Usage, Text: fmt.Sprintf("findings=%q is neither true nor false", text), Hint: "write findings=true, or leave it out"}
		}
	}
	if text := r.FormValue("expiresWithin"); text != "" {
		if f.ExpiresWithin, err = time.ParseDuration(text); err != nil || f.ExpiresWithin < 0 {
			return f, &Problem{Class: Usage, Text: fmt.Sprintf("expiresWithin=%q is not a positive duration", text), Hint: "write hours or minutes, for example expiresWithin=720h for 30 days"}
		}
	}
	return f, nil
}

// stream answers with an array whose items are written as they come: it is never in memory as a whole.
func stream[T any](w http.ResponseWriter, items iter.Seq[T]) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder, before := json.NewEncoder(w), "["
	for item := range items {
		if _, err := w.Write([]byte(before)); err != nil {
			return // the caller is gone
		}
		if encoder.Encode(item) != nil {
			return
		}
		before = ","
	}
	if before == "[" {
		_, _ = w.Write([]byte("["))
	}
	_, _ = w.Write([]byte("]\n"))
}
