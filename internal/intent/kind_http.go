// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/recipe"
)

// httpKind: accounts of any HTTP interface, by a recipe. The recipe is data and is checked as a document is: whole, and
// before anything is called. Whether an admin is needed, and whether rotating interrupts, is the recipe's to say.
func httpKind() kind {
	return kind{
		name: "http", admin: adminOptional, server: httpServer, account: httpAccount, endpoints: httpEndpoints,
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			r, faults := httpRecipe(*spec.HTTP)
			if len(faults) > 0 {
				return nil // reported at the upstream
			}
			all := map[string]any{}
			maps.Copy(all, spec.HTTP.Parameters)
			maps.Copy(all, rotation.HTTP.Parameters)
			server := strings.TrimSuffix(strings.ToLower(spec.HTTP.URL), "/")
			return claimsAt(server, r.Account(all)) // none where the recipe lets several secrets share an account
		},
	}
}

// httpRecipe returns the recipe of an upstream, compiled, or what is wrong with it.
func httpRecipe(spec v1alpha1.HTTPUpstream) (*recipe.Compiled, []error) {
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

func httpServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.HTTP
	certificateRule(server.CACertificate, bad)
	address := func(where trail, text string) {
		if err := recipe.CheckURL(text); err != nil {
			rule := "upstream-form"
			if strings.HasPrefix(text, "http://") {
				rule = "upstream-tls"
			}
			bad(rule, where, err.Error())
		}
	}
	if server.URL != "" {
		address(at("url"), server.URL)
	}
	for _, name := range slices.Sorted(maps.Keys(server.Endpoints)) {
		address(at("endpoints", name), server.Endpoints[name])
	}
	r, faults := httpRecipe(server)
	where := at("recipe")
	if server.Define != nil {
		where = at("define")
	}
	for _, fault := range faults {
		bad("upstream-form", where, fault.Error())
	}
	if r == nil {
		return
	}
	for _, err := range eachError(r.CheckEndpoints(server.Endpoints)) {
		bad("upstream-form", at("endpoints"), err.Error())
	}
	for _, err := range eachError(r.CheckParameters(server.Parameters, true)) {
		bad("upstream-form", at("parameters"), err.Error())
	}
	switch {
	case r.Admin != nil && spec.AdminRef == "":
		bad("admin-needed", nil, "the recipe needs an admin credential, and there is no adminRef")
	case r.Admin == nil && spec.AdminRef != "":
		bad("admin-needed", nil, "the recipe has no use for an admin credential")
	}
}

func httpAccount(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	r, faults := httpRecipe(*spec.HTTP)
	if len(faults) > 0 {
		return // reported at the upstream
	}
	all := map[string]any{}
	maps.Copy(all, spec.HTTP.Parameters)
	for _, name := range slices.Sorted(maps.Keys(rotation.HTTP.Parameters)) {
		if _, twice := all[name]; twice {
			bad("account-form", at("parameters", name), "the parameter stands in the Upstream too")
		}
		all[name] = rotation.HTTP.Parameters[name]
	}
	if r.CheckParameters(spec.HTTP.Parameters, true) == nil {
		for _, err := range eachError(r.CheckParameters(all, false)) {
			bad("account-form", at("parameters"), err.Error())
		}
	}
	if r.Interrupts() && !rotation.AllowInterruption {
		bad("account-interrupts", nil, "rotating this account refuses sign-ins for a moment, and allowInterruption: true is not set")
	}
}

// recipeOf names the recipe, a defined one by what it says.
func recipeOf(server v1alpha1.HTTPUpstream) string {
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

// httpEndpoints are the origins of every base address that the recipe has, with the recipe, which decides what is sent there.
// It has no others, and follows no redirect.
func httpEndpoints(spec v1alpha1.UpstreamSpec) []string {
	server := *spec.HTTP
	r, faults := httpRecipe(server)
	if len(faults) > 0 {
		return nil // reported at the upstream
	}
	bases, err := r.Bases(server.URL, server.Endpoints)
	if err != nil {
		return nil
	}
	var all []string
	for _, base := range bases {
		all = append(all, originOf(base.String(), server.CACertificate)+" by recipe "+recipeOf(server))
	}
	return all
}
