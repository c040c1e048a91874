// SPDX-License-Identifier: Apache-2.0

package http

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is any HTTP API, described by a recipe. Exactly one of recipe and define is set.
type ServerSpec struct {
	// Base URL, https://. http:// is allowed only for loopback addresses. The paths in the recipe are below it.
	URL string `json:"url"`
	// Other base URLs that the recipe uses, by name, if its defaults are not right.
	Endpoints map[string]string `json:"endpoints,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// Name of a built-in recipe.
	Recipe string `json:"recipe,omitempty"`
	// Your own recipe, in the form that `custody upstream explain http` describes.
	Define any `json:"define,omitempty"`
	// Parameters of the recipe that are the same for all accounts.
	Parameters map[string]any `json:"parameters,omitempty"`
}

// AccountSpec is one account of the API.
type AccountSpec struct {
	// Parameters of the recipe for this account. A parameter cannot be given here and in the Upstream too.
	Parameters map[string]any `json:"parameters,omitempty"`
}

// Type is accounts of any HTTP interface, by a recipe. The recipe is data and is checked as a document is: whole, and before
// anything is called. Whether an admin is needed, and whether rotating interrupts, is the recipe's to say.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "http", Check: checkServer, CheckAccount: checkAccount, Endpoints: endpoints,
		Interrupts: func(server ServerSpec, _ AccountSpec) bool {
			r, faults := recipeOf(server)
			return len(faults) == 0 && r.Interrupts()
		},
		AdminFields: adminFields,
		Claims: func(server ServerSpec, account AccountSpec) []string {
			r, faults := recipeOf(server)
			if len(faults) > 0 {
				return nil // reported at the upstream
			}
			where := strings.TrimSuffix(strings.ToLower(server.URL), "/")
			return fields.Claims(where, r.Account(parameters(server, account))) // none where the recipe lets several secrets share an account
		},
		Describe: recipe.Describe, Open: openAccount,
	}.Type()
}

// adminFields are all that the recipe lists.
func adminFields(server ServerSpec) (needed []upstream.OneOf) {
	r, faults := recipeOf(server)
	if len(faults) > 0 || r.Source.Admin == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.Source.Admin.Fields)) {
		needed = append(needed, upstream.OneOf{name})
	}
	return needed
}

// parameters are the server's and the account's.
func parameters(server ServerSpec, account AccountSpec) map[string]any {
	all := map[string]any{}
	maps.Copy(all, server.Parameters)
	maps.Copy(all, account.Parameters)
	return all
}

// recipeOf returns the recipe of an upstream, compiled, or what is wrong with it.
func recipeOf(spec ServerSpec) (*recipe.Compiled, []error) {
	var r *recipe.Compiled
	var err error
	switch {
	case (spec.Recipe == "") == (spec.Define == nil):
		return nil, []error{errors.New("want exactly one of recipe and define")}
	case spec.Recipe != "":
		r, err = recipe.Builtin(spec.Recipe)
	default:
		r, err = recipe.Defined(spec.Define)
	}
	return r, eachError(err)
}

// eachError lists what an error joins.
func eachError(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func checkServer(server ServerSpec, admin bool, bad upstream.Report) {
	fields.Certificate(server.CACertificate, bad)
	address := func(where upstream.Trail, text string) {
		if err := recipe.CheckURL(text); err != nil {
			rule := upstream.RuleForm
			if strings.HasPrefix(text, "http://") {
				rule = upstream.RuleTLS
			}
			bad(rule, where, err.Error())
		}
	}
	if server.URL != "" {
		address(upstream.At("url"), server.URL)
	}
	for _, name := range slices.Sorted(maps.Keys(server.Endpoints)) {
		address(upstream.At("endpoints", name), server.Endpoints[name])
	}
	r, faults := recipeOf(server)
	where := upstream.At("recipe")
	if server.Define != nil {
		where = upstream.At("define")
	}
	for _, fault := range faults {
		bad(upstream.RuleForm, where, fault.Error())
	}
	if r == nil {
		return
	}
	for _, err := range eachError(r.CheckEndpoints(server.Endpoints)) {
		bad(upstream.RuleForm, upstream.At("endpoints"), err.Error())
	}
	for _, err := range eachError(r.CheckParameters(server.Parameters, true)) {
		bad(upstream.RuleForm, upstream.At("parameters"), err.Error())
	}
	switch {
	case r.Admin != nil && !admin:
		bad(upstream.RuleAdmin, nil, "the recipe needs an admin credential, and there is no adminRef")
	case r.Admin == nil && admin:
		bad(upstream.RuleAdmin, nil, "the recipe has no use for an admin credential")
	}
}

func checkAccount(server ServerSpec, account AccountSpec, bad upstream.Report) {
	r, faults := recipeOf(server)
	if len(faults) > 0 {
		return // reported at the upstream
	}
	all := map[string]any{}
	maps.Copy(all, server.Parameters)
	for _, name := range slices.Sorted(maps.Keys(account.Parameters)) {
		if _, twice := all[name]; twice {
			bad(upstream.RuleAccount, upstream.At("parameters", name), "the parameter stands in the Upstream too")
		}
		all[name] = account.Parameters[name]
	}
	if r.CheckParameters(server.Parameters, true) == nil {
		for _, err := range eachError(r.CheckParameters(all, false)) {
			bad(upstream.RuleAccount, upstream.At("parameters"), err.Error())
		}
	}
}

// wordsOf names the recipe, a defined one by what it says.
func wordsOf(server ServerSpec) string {
	if server.Define == nil {
		return server.Recipe
	}
	text, err := json.Marshal(server.Define)
	if err != nil {
		return "that cannot be written" // it was read from a document
	}
	sum := sha256.Sum256(text)
	return "defined as " + hex.EncodeToString(sum[:16])
}

// endpoints are the origins of every base address that the recipe has, with the recipe, which decides what is sent there.
// It has no others, and follows no redirect.
func endpoints(server ServerSpec) []string {
	r, faults := recipeOf(server)
	if len(faults) > 0 {
		return nil // reported at the upstream
	}
	bases, err := r.Bases(server.URL, server.Endpoints)
	if err != nil {
		return nil
	}
	var all []string
	for _, base := range bases {
		all = append(all, fields.OriginOf(base.String(), server.CACertificate)+" by recipe "+wordsOf(server))
	}
	return all
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config, err := Configured(server, account)
	if err != nil {
		return nil, err
	}
	config.Admin, config.NewPassword, config.Claim, config.Clock, config.Random = b.Admin, b.Password, b.Claim, b.Clock, b.Random
	made, err := New(config)
	if err != nil {
		return nil, err
	}
	return made.Powers(), nil
}

// Configured is what documents say of an account: the part of a Config that comes from nowhere else.
func Configured(server ServerSpec, account AccountSpec) (Config, error) {
	compiled, faults := recipeOf(server)
	if len(faults) > 0 {
		return Config{}, errors.Join(faults...)
	}
	return Config{
		Recipe: compiled, URL: server.URL, Endpoints: server.Endpoints, CACertificate: server.CACertificate, Parameters: parameters(server, account),
	}, nil
}
