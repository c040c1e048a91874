// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // a zone that loads on one host loads on every host

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
)

// RotationType says what starts a run. Manual requests are taken under each.
type RotationType string

// The rotation types.
const (
	// Static: nothing but a person.
	Static RotationType = "static"
	// Timed: the clock.
	Timed RotationType = "time"
	// Event: something that happened outside.
	Event RotationType = "event"
)

// FailureStrategy says what happens when proofs are missing at the end of the overlap. None of them revokes.
type FailureStrategy string

// The failure strategies.
const (
	Retry FailureStrategy = "retry"
	Alert FailureStrategy = "alert"
	Hold  FailureStrategy = "hold"
)

// Defaults of a policy.
const (
	DefaultMaxOverlap = 24 * time.Hour
	DefaultSettle     = time.Minute
	// DefaultVerifyEvery is a sign-in with each value a day.
	DefaultVerifyEvery = 24 * time.Hour
	// DefaultWarnBefore leaves time to find whoever issues the next value.
	DefaultWarnBefore = 14 * duration.Day
	mostWarnBefore    = 366 * duration.Day
	// DefaultRetireAfter leaves a week to notice that a document is gone.
	DefaultRetireAfter = 7 * duration.Day
	leastRetireAfter   = time.Hour
	// DefaultRetireGrace leaves time to notice that a consumer lost its file, while the credential still works.
	DefaultRetireGrace = time.Hour
	mostRetireGrace    = 90 * duration.Day
	// leastVerifyEvery and mostVerifyEvery bound it, where it is not off.
	leastVerifyEvery = 5 * time.Minute
	mostVerifyEvery  = 90 * duration.Day
	// leastBreakAfter and mostBreakAfter bound how long consumers are waited for after a compromise.
	leastBreakAfter = time.Second
	mostBreakAfter  = 30 * duration.Day
)

// Policy is a RotationPolicy, parsed and with its defaults applied.
type Policy struct {
	// Name is "" for the policy of a secret that names none.
	Name            string
	Type            RotationType
	TTL             time.Duration
	RotateBefore    time.Duration
	RevokeOld       bool
	MaxOverlap      time.Duration
	FailureStrategy FailureStrategy
	Settle          time.Duration
	// QuietWindow is how long the old credential must not have been used, where the upstream can tell.
	QuietWindow time.Duration
	// VerifyEvery is the most time between two sign-ins with the value of record; 0 for none between runs.
	VerifyEvery time.Duration
	// OnForeignWrite decides about a value that somebody else wrote: hold, adopt or revert.
	OnForeignWrite string
	// WarnBefore is how long before the end of a lifetime its owner is warned; 0 for not at all.
	WarnBefore time.Duration
	// Windows in which timed runs may begin; none means always.
	Windows []Window
	Jitter  time.Duration
	// RetireAfter is how long after its removal a secret is retired without a person; 0 for never. RetireGrace is how long
	// after it was taken from its consumers its credential is revoked.
	RetireAfter, RetireGrace time.Duration
	// OnCompromise is nil where the policy says nothing of that. BreakAfter is 0 for never.
	OnCompromise *OnCompromise
}

// OnCompromise is what a policy says of compromised secrets.
type OnCompromise struct {
	BreakAfter  time.Duration
	EndSessions bool
}

// Window is a weekly maintenance window.
type Window struct {
	// Days on which the window begins; none means every day.
	Days         []time.Weekday
	Hour, Minute int
	Duration     time.Duration
	Zone         *time.Location
}

// StaticPolicy is the policy of a secret without one.
func StaticPolicy() Policy {
	p, _ := ParsePolicy("", v1alpha1.RotationPolicySpec{RotationType: string(Static)})
	return p
}

// ParsePolicy parses spec and applies the defaults. The error joins everything that is wrong.
func ParsePolicy(name string, spec v1alpha1.RotationPolicySpec) (Policy, error) {
	p, problems := parsePolicy(spec)
	p.Name = name
	var errs []error
	for _, problem := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", problem.rule, problem.reason))
	}
	if err := errors.Join(errs...); err != nil {
		return Policy{}, fmt.Errorf("parsing policy: %w", err)
	}
	return p, nil
}

// problem is a fault without its document.
type problem struct {
	rule   string
	at     trail
	reason string
}

// policyParser collects problems on the way.
type policyParser struct{ problems []problem }

func (p *policyParser) problem(rule string, t trail, reason string, args ...any) {
	p.problems = append(p.problems, problem{rule, t, fmt.Sprintf(reason, args...)})
}

// duration parses one field; "" is what absent means.
func (p *policyParser) duration(t trail, text string, absent time.Duration) time.Duration {
	if text == "" {
		return absent
	}
	d, err := duration.Parse(text)
	if err != nil {
		p.problem("duration-form", t, "%s is not a duration", t.describe())
		return absent
	}
	return d
}

func parsePolicy(spec v1alpha1.RotationPolicySpec) (Policy, []problem) {
	var parse policyParser
	out := Policy{
		Type:            RotationType(spec.RotationType),
		TTL:             parse.duration(at("spec", "ttl"), spec.TTL, 0),
		RotateBefore:    parse.duration(at("spec", "rotateBefore"), spec.RotateBefore, 0),
		RevokeOld:       spec.RevokeOld == nil || *spec.RevokeOld,
		MaxOverlap:      parse.duration(at("spec", "maxOverlap"), spec.MaxOverlap, DefaultMaxOverlap),
		FailureStrategy: FailureStrategy(spec.FailureStrategy),
		Settle:          parse.duration(at("spec", "settle"), spec.Settle, DefaultSettle),
		Jitter:          parse.duration(at("spec", "jitter"), spec.Jitter, 0),
	}
	out.QuietWindow = parse.duration(at("spec", "quietWindow"), spec.QuietWindow, out.Settle)
	out.VerifyEvery = parse.duration(at("spec", "verifyEvery"), spec.VerifyEvery, DefaultVerifyEvery)
	if out.VerifyEvery != 0 && (out.VerifyEvery < leastVerifyEvery || out.VerifyEvery > mostVerifyEvery) {
		parse.problem("policy-verify", at("spec", "verifyEvery"), "verifyEvery (%s) is not between %s and %s, and not 0s",
			duration.Format(out.VerifyEvery), duration.Format(leastVerifyEvery), duration.Format(mostVerifyEvery))
	}
	out.WarnBefore = parse.duration(at("spec", "warnBefore"), spec.WarnBefore, DefaultWarnBefore)
	if out.WarnBefore < 0 || out.WarnBefore > mostWarnBefore {
		parse.problem("policy-warn", at("spec", "warnBefore"), "warnBefore (%s) is not between 0s and %s", duration.Format(out.WarnBefore), duration.Format(mostWarnBefore))
	}
	if spec.OnCompromise != nil {
		out.OnCompromise = parse.onCompromise(at("spec", "onCompromise"), *spec.OnCompromise)
	}
	if out.FailureStrategy == "" {
		out.FailureStrategy = Alert
	}
	if !slices.Contains([]FailureStrategy{Retry, Alert, Hold}, out.FailureStrategy) {
		parse.problem("policy-failure-strategy", at("spec", "failureStrategy"), "the failureStrategy is %s", plaintext.Show(spec.FailureStrategy))
	}
	parse.onRemoval(spec.OnRemoval, &out)
	if out.OnForeignWrite = cmp.Or(spec.OnForeignWrite, "hold"); !slices.Contains([]string{"hold", "adopt", "revert"}, out.OnForeignWrite) {
		parse.problem("policy-foreign-write", at("spec", "onForeignWrite"), "onForeignWrite is %s", plaintext.Show(spec.OnForeignWrite))
	}
	for i, window := range spec.Windows {
		out.Windows = append(out.Windows, parse.window(at("spec", "windows", i), window))
	}
	switch out.Type {
	case Timed:
		parse.clock(spec, out)
	case Static, Event:
		unused := []struct {
			name string
			set  bool
		}{
			{"ttl", spec.TTL != ""}, {"rotateBefore", spec.RotateBefore != ""},
			{"windows", len(spec.Windows) > 0}, {"jitter", spec.Jitter != ""},
		}
		for _, field := range unused {
			if field.set {
				parse.problem("policy-no-clock", at("spec", field.name), "%s has no effect with rotationType %s", field.name, out.Type)
			}
		}
	case "":
	default:
		parse.problem("policy-type", at("spec", "rotationType"), "the rotationType is %s", plaintext.Show(spec.RotationType))
	}
	return out, parse.problems
}

// onRemoval says how secrets with the policy end.
func (p *policyParser) onRemoval(spec *v1alpha1.OnRemoval, out *Policy) {
	if out.RetireGrace = DefaultRetireGrace; spec == nil {
		return
	}
	t := at("spec", "onRemoval")
	out.RetireGrace = p.duration(t.to("grace"), spec.Grace, DefaultRetireGrace)
	if out.RetireGrace < 0 || out.RetireGrace > mostRetireGrace {
		p.problem("policy-removal", t.to("grace"), "grace (%s) is not between 0s and %s", duration.Format(out.RetireGrace), duration.Format(mostRetireGrace))
	}
	switch spec.Retire {
	case "", "confirm":
		if spec.After != "" {
			p.problem("policy-removal", t.to("after"), "after has no effect with retire confirm")
		}
	case "automatic":
		out.RetireAfter = p.duration(t.to("after"), spec.After, DefaultRetireAfter)
		if out.RetireAfter < leastRetireAfter {
			p.problem("policy-removal", t.to("after"), "after (%s) is less than %s", duration.Format(out.RetireAfter), duration.Format(leastRetireAfter))
		}
	default:
		p.problem("policy-removal", t.to("retire"), "retire is %s", plaintext.Show(spec.Retire))
	}
}

func (p *policyParser) onCompromise(t trail, spec v1alpha1.OnCompromise) *OnCompromise {
	after := p.duration(t.to("breakConsumersAfter"), spec.BreakConsumersAfter, 0)
	if spec.BreakConsumersAfter != "" && (after < leastBreakAfter || after > mostBreakAfter) {
		p.problem("policy-compromise", t.to("breakConsumersAfter"), "breakConsumersAfter (%s) is not between %s and %s", duration.Format(after), duration.Format(leastBreakAfter), duration.Format(mostBreakAfter))
	}
	return &OnCompromise{BreakAfter: after, EndSessions: spec.EndSessions}
}

// clock checks that a timed policy can be kept.
func (p *policyParser) clock(spec v1alpha1.RotationPolicySpec, policy Policy) {
	if spec.TTL == "" {
		p.problem("policy-ttl", at("spec"), "rotationType time without a ttl")
		return
	}
	if len(p.problems) > 0 {
		return
	}
	switch {
	case policy.TTL <= 0:
		p.problem("policy-ttl", at("spec", "ttl"), "the ttl is nothing")
		return
	case policy.RotateBefore >= policy.TTL:
		p.problem("policy-arithmetic", at("spec", "rotateBefore"), "rotateBefore (%s) is not less than the ttl (%s)",
			duration.Format(policy.RotateBefore), duration.Format(policy.TTL))
	case policy.Jitter >= policy.TTL-policy.RotateBefore:
		p.problem("policy-arithmetic", at("spec", "jitter"), "jitter (%s) is not less than the ttl less rotateBefore (%s)",
			duration.Format(policy.Jitter), duration.Format(policy.TTL-policy.RotateBefore))
	}
	if policy.MaxOverlap+policy.Settle >= policy.TTL {
		p.problem("policy-arithmetic", at("spec", "maxOverlap"), "maxOverlap (%s) and settle (%s) together are not less than the ttl (%s)",
			duration.Format(policy.MaxOverlap), duration.Format(policy.Settle), duration.Format(policy.TTL))
	}
}

var (
	weekdays = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
	clock    = lazyregexp.New(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)
)

func (p *policyParser) window(t trail, spec v1alpha1.MaintenanceWindow) Window {
	out := Window{Zone: time.UTC, Duration: p.duration(t.to("duration"), spec.Duration, 0)}
	if out.Duration <= 0 && spec.Duration != "" || out.Duration > 7*duration.Day {
		p.problem("window-form", t.to("duration"), "a window must last more than 0s and at most a week")
	}
	if parts := clock.FindStringSubmatch(spec.Start); parts != nil {
		out.Hour, _ = strconv.Atoi(parts[1])
		out.Minute, _ = strconv.Atoi(parts[2])
	} else if spec.Start != "" {
		p.problem("window-form", t.to("start"), "the start is not HH:MM")
	}
	if spec.Zone != "" {
		zone, err := time.LoadLocation(spec.Zone)
		if err != nil || spec.Zone == "Local" {
			p.problem("window-form", t.to("zone"), "there is no zone %s", plaintext.Show(spec.Zone))
		} else {
			out.Zone = zone
		}
	}
	for i, name := range spec.Days {
		number := slices.Index(weekdays, name)
		switch {
		case number < 0:
			p.problem("window-form", t.to("days", i), "there is no day %s", plaintext.Show(name))
		case slices.Contains(out.Days, time.Weekday(number)):
			p.problem("window-form", t.to("days", i), "%s is given twice", name)
		default:
			out.Days = append(out.Days, time.Weekday(number))
		}
	}
	return out
}
