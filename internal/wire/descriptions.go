// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/wire/kinds"
)

// Descriptions are what people are told of every type of upstream, in the order in which they are listed: the recipes of
// http behind http itself.
func Descriptions() []upstream.Description {
	all := []upstream.Description{generated.Describe()}
	for _, t := range kinds.Upstreams() {
		all = append(all, t.Describe()...)
	}
	return all
}

// Recipes are the types among them that are recipes of http.
func Recipes() []string { return recipe.Names() }
