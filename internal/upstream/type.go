// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"custody.dev/custody/internal/secret"
)

// AdminNeed says whether upstreams of a type name an admin credential.
type AdminNeed int

const (
	// AdminOptional: the document may name one; what its parameters want beyond that is CheckServer's to say.
	AdminOptional AdminNeed = iota
	// AdminNeeded: the document names one.
	AdminNeeded
	// AdminNone: nothing would use one.
	AdminNone
)

// Trail leads to a field of the parameters: keys (string) and the numbers of items (int). An empty one is the whole.
type Trail []any

// At is a Trail.
func At(steps ...any) Trail { return steps }

// Report notes a fault: the id of the rule that is broken, the place in the parameters, and the reason, which holds no text
// of the document but what plaintext.Show lets through.
type Report func(rule string, at Trail, reason string)

// Under reports faults of a part of the parameters.
func (r Report) Under(steps ...any) Report {
	return func(rule string, at Trail, reason string) { r(rule, append(slices.Clone(Trail(steps)), at...), reason) }
}

// Rules that the parameters of a type can break; the catalogue of lint rules says what each is for.
const (
	RuleForm      = "upstream-form"
	RuleTLS       = "upstream-tls"
	RuleAdmin     = "admin-needed"
	RuleFields    = "admin-fields"
	RuleAccount   = "account-form"
	RuleMode      = "account-mode"
	RuleAlternate = "account-alternate"
	RuleOverwrite = "account-overwrite"
)

// Things of the host's own that parameters can name.
const (
	HostProgram = "upstream program"
	HostFolder  = "folder"
)

// Pick is a name that parameters take from the host's own configuration.
type Pick struct {
	// From is HostProgram or HostFolder.
	From string
	Name string
	// At is where in the parameters it stands.
	At Trail
}

// Program is one that the host's own configuration names for upstreams.
type Program struct {
	Argv []string
	// Timeout of a call; 0 for the type's own.
	Timeout time.Duration
}

// Host answers for what parameters pick.
type Host interface {
	// Program returns a program that may be run, or says why it may not.
	Program(name string) (Program, error)
	// Folder returns the path of a folder.
	Folder(name string) (string, error)
}

// Binding is what the upstream of one secret is made with, beside what documents say.
type Binding struct {
	// Admin returns the admin credentials to try, in order; nil when the upstream names none.
	Admin func(context.Context) ([]secret.Value, error)
	// Known returns what the secret has: its value of record, and the candidate of its live run.
	Known func(context.Context) ([]secret.Value, error)
	// Claim names the owner of the account, for types that can mark it: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// Password draws one from random by the secret's own rule.
	Password func(random io.Reader) (string, error)
	Host     Host
	Clock    func() time.Time
	Random   io.Reader
	Log      *slog.Logger
}

// Typed is one type of upstream as its own package writes it. S are the parameters of a server and A those of an account:
// structs whose JSON names are what documents say, and whose comments are the reference. Functions are given parameters with
// their defaults applied; one that is nil has nothing to say. No function changes what a pointer, a list or a mapping in its
// parameters holds.
type Typed[S, A any] struct {
	// Name is the key of the parameters, in an Upstream and in rotation.
	Name  string
	Admin AdminNeed
	// AccountOptional: rotation may leave the account's parameters out.
	AccountOptional bool
	// Defaults and AccountDefaults fill in what documents may leave out.
	Defaults        func(*S)
	AccountDefaults func(*A)
	// Check checks the parameters of a server, admin saying whether the upstream names an admin credential, and CheckAccount
	// those of an account at it.
	Check        func(server S, admin bool, bad Report)
	CheckAccount func(server S, account A, bad Report)
	// Interrupts reports whether rotating the account refuses sign-ins for a moment.
	Interrupts func(S, A) bool
	// AdminFields are those without which nothing can sign in with the admin credential.
	AdminFields func(S) []OneOf
	// Endpoints lists where credentials are sent, each with how the server is identified; the first is the server itself.
	Endpoints func(S) []string
	// Told is what an account's own parameters tell a program, which may be an address; "" for nothing.
	Told func(A) string
	// Claims lists what belongs to one secret alone; see fields.Claims.
	Claims func(S, A) []string
	// Picks lists what is named of the host's own.
	Picks func(S) []Pick
	// SignsIn is the account of that user name, for types that are opened by signing in as an account.
	SignsIn func(name string) A
	// Describe tells people what the type can do: once, or once for each recipe.
	Describe func() []Description
	// Open makes the upstream of one secret. It calls nothing outside.
	Open func(Binding, S, A) (Upstream, error)
}

// Type is t for those who know its parameters by name only.
func (t Typed[S, A]) Type() Type { return erased[S, A]{t} }

// Type is one type of upstream to those who read documents, explain and assemble. Parameters are pointers to the structs that
// NewServer and NewAccount make, and are not changed; any other panics. An account that was left out is nil. Functions other
// than the defaults want parameters with defaults applied. See Typed for what each answers.
type Type interface {
	Name() string
	Admin() AdminNeed
	AccountOptional() bool
	// NewServer and NewAccount make blank parameters, to be decoded into.
	NewServer() any
	NewAccount() any
	// Defaults and AccountDefaults return copies.
	Defaults(server any) any
	AccountDefaults(account any) any
	Check(server any, admin bool, bad Report)
	CheckAccount(server, account any, bad Report)
	AdminFields(server any) []OneOf
	Interrupts(server, account any) bool
	Endpoints(server any) []string
	Told(account any) string
	Claims(server, account any) []string
	Picks(server any) []Pick
	// SignsIn is nil for types that are not opened by signing in.
	SignsIn(name string) any
	Describe() []Description
	Open(b Binding, server, account any) (Upstream, error)
}

// Types are all types of upstream, in the order in which people are told of them.
type Types []Type

// Find returns the type with the name, nil when there is none.
func (l Types) Find(name string) Type {
	for _, t := range l {
		if t.Name() == name {
			return t
		}
	}
	return nil
}

// Given returns the types that parameters are given of, in the order of l.
func (l Types) Given(parameters map[string]any) Types {
	var given Types
	for _, t := range l {
		if parameters[t.Name()] != nil {
			given = append(given, t)
		}
	}
	return given
}

// erased is a Typed behind a Type.
type erased[S, A any] struct{ t Typed[S, A] }

func (e erased[S, A]) Name() string          { return e.t.Name }
func (e erased[S, A]) Admin() AdminNeed      { return e.t.Admin }
func (e erased[S, A]) AccountOptional() bool { return e.t.AccountOptional }
func (e erased[S, A]) NewServer() any        { return new(S) }
func (e erased[S, A]) NewAccount() any       { return new(A) }

func (e erased[S, A]) Defaults(server any) any {
	filled := *server.(*S)
	if e.t.Defaults != nil {
		e.t.Defaults(&filled)
	}
	return &filled
}

func (e erased[S, A]) AccountDefaults(account any) any {
	filled := *account.(*A)
	if e.t.AccountDefaults != nil {
		e.t.AccountDefaults(&filled)
	}
	return &filled
}

// account is what was given, or what holds where nothing was.
func (e erased[S, A]) account(given any) A {
	if given == nil {
		given = e.AccountDefaults(new(A))
	}
	return *given.(*A)
}

func (e erased[S, A]) Check(server any, admin bool, bad Report) {
	if e.t.Check != nil {
		e.t.Check(*server.(*S), admin, bad)
	}
}

func (e erased[S, A]) CheckAccount(server, account any, bad Report) {
	if e.t.CheckAccount != nil {
		e.t.CheckAccount(*server.(*S), e.account(account), bad)
	}
}

func (e erased[S, A]) AdminFields(server any) []OneOf {
	if e.t.AdminFields == nil {
		return nil
	}
	return e.t.AdminFields(*server.(*S))
}

func (e erased[S, A]) Interrupts(server, account any) bool {
	return e.t.Interrupts != nil && e.t.Interrupts(*server.(*S), e.account(account))
}

func (e erased[S, A]) Endpoints(server any) []string {
	if e.t.Endpoints == nil {
		return nil
	}
	return e.t.Endpoints(*server.(*S))
}

func (e erased[S, A]) Told(account any) string {
	if e.t.Told == nil {
		return ""
	}
	return e.t.Told(e.account(account))
}

func (e erased[S, A]) Claims(server, account any) []string {
	if e.t.Claims == nil {
		return nil
	}
	return e.t.Claims(*server.(*S), e.account(account))
}

func (e erased[S, A]) Picks(server any) []Pick {
	if e.t.Picks == nil {
		return nil
	}
	return e.t.Picks(*server.(*S))
}

func (e erased[S, A]) SignsIn(name string) any {
	if e.t.SignsIn == nil {
		return nil
	}
	account := e.t.SignsIn(name)
	return &account
}

func (e erased[S, A]) Describe() []Description { return e.t.Describe() }

func (e erased[S, A]) Open(b Binding, server, account any) (Upstream, error) {
	return e.t.Open(b, *server.(*S), e.account(account))
}
