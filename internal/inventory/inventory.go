// SPDX-License-Identifier: Apache-2.0

// Package inventory is the read model: which secrets exist, who owns each, which services depend on it, when it
// expires, and what is happening with it. It is computed from the estate in force, the journal in the authority, and
// what the orchestrator last saw, and changes none of them. It contains no values. Building all rows takes time linear
// in the number of secrets; building one row takes the same time however many there are. Neither calls anything
// outside.
package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/journal"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/rotation"
)

// Sources is what the read model is built from.
type Sources struct {
	Estate  *intent.Estate
	Entries []*journal.Entry
	States  map[authority.Path]orchestrator.State
	Now     time.Time
}

// States are all that a row's State can be; a secret is unreadable where its journal cannot be decoded.
func States() []string {
	return []string{
		"waiting-handover", "handing-over", "waiting-issue", "issuing", "steady", "rotating", "rebuilding", "waiting", "suspended", "held",
		"leaving", "retiring", "undeclared", "unreadable",
	}
}

// Row is one secret.
type Row struct {
	Secret  string `json:"secret"`
	Purpose string `json:"purpose"`
	Class   string `json:"class"`
	Path    string `json:"path"`
	// Team and Contact own it.
	Team    string `json:"team"`
	Contact string `json:"contact"`
	// Consumers depend on it.
	Consumers []string `json:"consumers"`
	// Opens are the upstreams that it is the admin credential of.
	Opens []string `json:"opens,omitempty"`
	// Dependents are the secrets computed from it, and from those in turn.
	Dependents []Dependent `json:"dependents,omitempty"`
	// Origin is bootstrap NAME, derived from NAMES, or one word.
	Origin   string `json:"origin"`
	Upstream string `json:"upstream,omitempty"`
	Policy   string `json:"policy,omitempty"`
	// Authority holds the value: "git", "authority", "nobody" (not issued yet) or "undeclared".
	Authority string `json:"authority"`
	// State is one of States.
	State string `json:"state"`
	// Version of record.
	Version string `json:"version,omitempty"`
	// Rotated is when that version became the value of record; Expires when its lifetime ends; Due when the clock starts
	// the next run. Zero: never.
	Rotated time.Time `json:"rotated,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// ExpiresBy says what Expires rests on: policy, issuer (as declared), or what was read from the value: certificate, token or
	// upstream.
	ExpiresBy string    `json:"expiresBy,omitempty"`
	Due       time.Time `json:"due,omitzero"`
	// Waiting says why it waits and Drift how consumers were found to differ, nil when nothing.
	Waiting *reason.Shown `json:"waiting,omitempty"`
	Drift   *reason.Shown `json:"drift,omitempty"`
	// Refused says since when the upstream refuses the value of record and what to do, nil when it does not. Checked is when it
	// was last tried between runs with an answer.
	Refused *reason.Shown `json:"refused,omitempty"`
	Checked time.Time     `json:"checked,omitzero"`
	// Looked is when the last look at it ended, of the process that answers; zero where there was none.
	Looked time.Time `json:"looked,omitzero"`
	// Expired: its lifetime is over and nothing has replaced it. Ending: it ends within the time ahead of which its policy warns,
	// and nothing is about to replace it.
	Expired bool `json:"expired,omitempty"`
	Ending  bool `json:"ending,omitempty"`
	// Live and Last are its runs.
	Live *journal.Run     `json:"live,omitempty"`
	Last *journal.Outcome `json:"last,omitempty"`
}

// Held reports whether it waits for something that a person should look at.
func (r Row) Held() bool { return r.Waiting != nil && !r.Waiting.ByDesign }

// Dependent is a secret that is computed from another one: it changes when that does, and so its consumers depend on both.
type Dependent struct {
	Secret    string   `json:"secret"`
	Consumers []string `json:"consumers"`
	// Opens are the upstreams that it is the admin credential of.
	Opens []string `json:"opens,omitempty"`
}

// Seen is what the last look at a secret saw.
type Seen struct {
	Waiting, Drift reason.Reason
	// Looked is when that look ended; zero where only files and the journal were read.
	Looked time.Time
}

// Known is what is known of a declared secret.
type Known struct {
	// Entry is nil where the journal has none.
	Entry *journal.Entry
	// Seen is nil where nobody has looked yet.
	Seen *Seen
	// Unlooked: whoever looks has not looked at it yet, so it is not known whether consumers hold its value.
	Unlooked bool
	// Misplaced says why what lies at its path is not its own, none when it is; see journal.Misplaced.
	Misplaced reason.Reason
}

// Build returns a row per declared secret, by name, then one per secret that the authority remembers but the estate no
// longer declares.
func Build(s Sources) []Row {
	known := make(map[authority.Path]Known, len(s.Entries))
	for _, entry := range s.Entries {
		known[entry.Path] = Known{Entry: entry}
	}
	for path, state := range s.States {
		k := known[path]
		k.Seen = &Seen{Waiting: state.Waiting, Drift: state.Drift, Looked: state.Looked}
		known[path] = k
	}
	misplaced := Misplaced(s.Estate, s.Entries)
	declared := map[authority.Path]bool{}
	var rows []Row
	if s.Estate != nil {
		for _, name := range s.Estate.SecretNames() {
			secret := s.Estate.Secrets[name]
			declared[secret.Path] = true
			k := known[secret.Path]
			k.Misplaced = misplaced[secret.Path]
			rows = append(rows, Of(s.Estate, secret, k, s.Now))
		}
	}
	var undeclared []Row
	for _, entry := range s.Entries {
		if declared[entry.Path] {
			continue
		}
		if row, is := Undeclared(s.Estate, entry, misplaced); is {
			undeclared = append(undeclared, row)
		}
	}
	slices.SortFunc(undeclared, func(a, b Row) int { return strings.Compare(a.Path, b.Path) })
	return append(rows, undeclared...)
}

// Undeclared is the row of an entry at a path that the estate does not declare; false where there is nothing to say of it.
func Undeclared(estate *intent.Estate, entry *journal.Entry, misplaced map[authority.Path]reason.Reason) (Row, bool) {
	if entry.Fault != nil {
		return Row{Path: string(entry.Path), Authority: "undeclared", State: "unreadable", Waiting: unreadable(entry)}, true
	}
	if !entry.Begun() || entry.Retired() {
		return Row{}, false
	}
	if estate != nil {
		if named, ok := estate.ByName(entry.Secret); ok && !misplaced[named.Path].None() {
			return Row{}, false // its row says where its history is
		}
	}
	return Row{
		Secret: entry.Secret, Path: string(entry.Path), Authority: "undeclared", State: "undeclared", Rotated: entry.Rotated,
		Live: entry.Live, Last: entry.Last, Waiting: reason.New(reason.NotDeclared, nil).Show(),
	}, true
}

// Misplaced says why declared secrets are not the ones that the history at their paths is of. Cost: linear in both.
func Misplaced(estate *intent.Estate, entries []*journal.Entry) map[authority.Path]reason.Reason {
	if estate == nil {
		return nil
	}
	declared := make([]journal.Declared, 0, len(estate.Secrets))
	for _, secret := range estate.Secrets {
		declared = append(declared, journal.Declared{Name: secret.Name, Former: secret.Spec.FormerNames, Path: secret.Path})
	}
	return journal.Misplaced(entries, declared)
}

// Of is the row of a declared secret. Of one that is misplaced only what is declared is shown: the history at its path is not its
// own. Cost: that of its own documents and those that depend on it.
func Of(estate *intent.Estate, declared *intent.Secret, known Known, now time.Time) Row {
	entry := known.Entry
	if entry == nil || !known.Misplaced.None() {
		entry = &journal.Entry{Path: declared.Path}
	}
	seen := Seen{}
	if known.Seen != nil {
		seen = *known.Seen
	}
	r := row(estate, declared, entry, seen, now)
	r.Looked = seen.Looked
	if known.Unlooked && r.State == "steady" {
		r.Waiting, r.State = reason.New(reason.FirstLook, nil).Show(), "waiting"
	}
	if !known.Misplaced.None() {
		r.Waiting, r.Drift, r.Authority, r.State = known.Misplaced.Show(), nil, "authority", "held"
	}
	ending(&r, estate.PolicyOf(declared).WarnBefore, now)
	return r
}

func row(estate *intent.Estate, declared *intent.Secret, entry *journal.Entry, seen Seen, now time.Time) Row {
	spec := declared.Spec
	r := Row{
		Secret: declared.Name, Purpose: spec.Purpose, Class: spec.Class, Path: string(declared.Path),
		Team: spec.Owner.Team, Contact: spec.Owner.Contact, Opens: estate.Opens(declared.Name),
		Consumers: consumers(declared), Dependents: dependents(estate, declared, map[string]bool{}),
		Origin: origin(estate, declared), Rotated: entry.Rotated, Live: entry.Live, Last: entry.Last,
	}
	if spec.Rotation != nil {
		r.Upstream, r.Policy = spec.Rotation.UpstreamRef, spec.Rotation.PolicyRef
	}
	if entry.Current != nil {
		r.Version = entry.Current.String()
	}
	if entry.Fault != nil {
		r.Authority, r.State, r.Waiting = "authority", "unreadable", unreadable(entry)
		return r
	}
	lifetime(&r, declared, entry, JournalPolicy(estate.PolicyOf(declared)), now)
	waiting := seen.Waiting
	if entry.Live != nil && entry.Live.Waiting != nil {
		waiting = waiting.Or(entry.Live.Waiting.Reason)
	}
	if recovery := entry.RecoveryNow(); recovery != nil && entry.Live == nil {
		waiting = waiting.Or(recovery.Reason)
	}
	r.Waiting, r.Drift = waiting.Show(), seen.Drift.Show()
	r.Authority, r.State = standing(declared, entry, r.Waiting != nil)
	if estate.Leaving[declared.Name] && !entry.Retires() && !entry.Retired() {
		r.State = "leaving"
	}
	if checked := entry.CheckedNow(); checked != nil {
		r.Checked = checked.At
		if checked.Refused {
			r.Refused = refused(r, checked)
		}
	}
	return r
}

// unreadable says what holds a secret whose journal cannot be read.
func unreadable(entry *journal.Entry) *reason.Shown {
	return reason.New(reason.JournalUnreadable, nil).Because(entry.Fault.Error()).Show()
}

// refused says what a refused value of record means, and the commands that end it: nothing makes an admin credential anew that no
// upstream rotates.
func refused(r Row, checked *journal.Checked) *reason.Shown {
	name := r.Secret
	if r.Upstream == "" && len(r.Opens) > 0 {
		return reason.New(reason.AdminRefused, reason.Args{"supply": name}).Show()
	}
	since, version := checked.Since.UTC().Format(time.RFC3339), checked.Version.String()
	return reason.New(reason.ValueRefused, reason.Args{"since": since, "version": version, "rotate": name, "supply": name}).Show()
}

func consumers(declared *intent.Secret) []string {
	names := make([]string, 0, len(declared.Consumers))
	for _, consumer := range declared.Consumers {
		names = append(names, consumer.Name)
	}
	return names
}

// dependents follows what is computed from the secret, each once, those that depend on it directly first.
func dependents(estate *intent.Estate, declared *intent.Secret, met map[string]bool) []Dependent {
	var direct, further []Dependent
	for _, dependent := range estate.Dependents(declared) {
		if met[dependent.Name] {
			continue
		}
		met[dependent.Name] = true
		direct = append(direct, Dependent{Secret: dependent.Name, Consumers: consumers(dependent.Secret), Opens: estate.Opens(dependent.Name)})
		further = append(further, dependents(estate, dependent.Secret, met)...)
	}
	return append(direct, further...)
}

// Inputs names the secrets that a derived one is computed from, in order.
func Inputs(declared *intent.Secret) []string {
	if declared.Spec.Origin.Derived == nil {
		return nil
	}
	return slices.Compact(slices.Sorted(maps.Values(declared.Spec.Origin.Derived.Inputs)))
}

// origin says where the first value comes from.
func origin(estate *intent.Estate, declared *intent.Secret) string {
	bootstrap, seeded := estate.BootstrapOf(declared)
	switch from := declared.Spec.Origin; {
	case seeded:
		return "bootstrap " + bootstrap.Name
	case from.Derived != nil:
		return "derived from " + strings.Join(Inputs(declared), ", ")
	case from.Issued != nil:
		return "issued"
	}
	return "generated"
}

// lifetime fills in when the secret ends and when the clock replaces it.
func lifetime(r *Row, declared *intent.Secret, entry *journal.Entry, policy journal.Policy, now time.Time) {
	if ends := rotation.Ends(*entry, policy); !ends.IsZero() {
		r.Expires, r.ExpiresBy = ends, "policy"
	}
	if at := declared.ExpiresAt; !at.IsZero() && !entry.Outlived(at) && (r.Expires.IsZero() || at.Before(r.Expires)) {
		r.Expires, r.ExpiresBy = at, "issuer"
	}
	if read := entry.EndsNow(); read != nil && (r.Expires.IsZero() || read.At.Before(r.Expires)) {
		r.Expires, r.ExpiresBy = read.At, read.By
	}
	if due, ok := rotation.NextDue(*entry, policy); ok {
		r.Due = due
	}
	r.Expired = !r.Expires.IsZero() && !now.Before(r.Expires)
}

// ending says whether somebody is to be warned that the lifetime ends. A rotation that the clock starts before that, and that
// nothing keeps from replacing the value in time, is nobody's work.
func ending(r *Row, warnBefore time.Duration, now time.Time) {
	if r.Expires.IsZero() || r.Expired || warnBefore <= 0 || now.Before(r.Expires.Add(-warnBefore)) {
		return
	}
	if r.Class == "derived" && r.ExpiresBy != "issuer" {
		return // it ends with an input, whose owner is warned
	}
	late := r.Waiting != nil && r.Waiting.Until.After(r.Expires)
	r.Ending = r.Due.IsZero() || !r.Due.Before(r.Expires) || r.Held() || r.Refused != nil || late || r.State == "suspended"
}

// standing says who holds authority (exactly one at any moment) and what state the secret is in.
func standing(declared *intent.Secret, entry *journal.Entry, waiting bool) (holder, state string) {
	bootstrap := declared.Spec.Origin.Bootstrap != nil
	switch {
	case bootstrap && entry.Tombstone == nil:
		return "git", "waiting-handover"
	case entry.Retires():
		return "authority", "retiring"
	case entry.Current == nil && entry.Live == nil:
		return "nobody", "waiting-issue"
	case entry.Current == nil:
		return "nobody", "issuing"
	case entry.Live != nil && entry.Live.Workflow == journal.Rotation:
		return "authority", "rotating"
	case entry.Live != nil && entry.Live.Workflow == journal.Derivation:
		return "authority", "rebuilding"
	case entry.Live != nil: // the tombstone stands, the record is not closed yet
		return "authority", "handing-over"
	case declared.Spec.Suspend:
		return "authority", "suspended"
	case waiting:
		return "authority", "waiting"
	}
	return "authority", "steady"
}

// JournalPolicy is the policy in the form that the journal pins and enforces.
func JournalPolicy(p intent.Policy) journal.Policy {
	policy := journal.Policy{
		Name: p.Name, RotationType: string(p.Type), TTL: p.TTL, RotateBefore: p.RotateBefore, RevokeOld: p.RevokeOld,
		MaxOverlap: p.MaxOverlap, FailureStrategy: string(p.FailureStrategy), Settle: p.Settle, QuietWindow: p.QuietWindow, Jitter: p.Jitter,
		VerifyEvery: p.VerifyEvery, RetireAfter: p.RetireAfter, RetireGrace: p.RetireGrace,
	}
	if p.OnCompromise != nil {
		policy.OnCompromise = &journal.OnCompromise{BreakAfter: p.OnCompromise.BreakAfter, EndSessions: p.OnCompromise.EndSessions}
	}
	if p.OnForeignWrite != "hold" { // which is what none means
		policy.OnForeignWrite = p.OnForeignWrite
	}
	for _, window := range p.Windows {
		policy.Windows = append(policy.Windows, journal.Window{
			Days: window.Days, Start: time.Duration(window.Hour)*time.Hour + time.Duration(window.Minute)*time.Minute,
			Duration: window.Duration, Zone: window.Zone.String(),
		})
	}
	return policy
}

// Next says in a sentence what happens next with a secret, and when.
func Next(r Row, now time.Time) string {
	switch {
	case r.State == "undeclared":
		return "nothing, as long as no document declares it: to go on with it, declare it again"
	case r.State == "unreadable":
		return "nothing" + waitingFor(r)
	case r.State == "held":
		return "nothing" + waitingFor(r)
	case r.State == "leaving" && r.Waiting != nil:
		return "it is no longer declared: " + r.Waiting.Text
	case r.State == "suspended":
		return "nothing until suspend is taken out of its document"
	case r.State == "waiting-handover":
		if r.Waiting == nil {
			return "handover, at the next look of a server"
		}
		return "handover" + waitingFor(r)
	case r.State == "waiting-issue", r.State == "issuing":
		return "its first value is made" + waitingFor(r)
	case r.Live != nil:
		return fmt.Sprintf("run %s goes on from step %s%s", r.Live.ID, r.Live.Step, waitingFor(r))
	case r.Refused != nil:
		return r.Refused.Text
	case r.Waiting != nil:
		return "it waits: " + r.Waiting.Text
	case r.Class == "derived":
		return "it is computed again when one of the secrets that it is computed from has a new version"
	case r.Due.IsZero():
		return "nothing until somebody requests it: its policy has no ttl"
	case !r.Due.After(now):
		return "rotation, which is due now"
	}
	return "rotation at " + r.Due.UTC().Format(time.RFC3339)
}

func waitingFor(r Row) string {
	if r.Waiting == nil {
		return ""
	}
	return "; it waits: " + r.Waiting.Text
}
