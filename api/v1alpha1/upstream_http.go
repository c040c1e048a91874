// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// HTTPUpstream is any HTTP interface, by a recipe.
type HTTPUpstream struct{}

// HTTPAccount is one account there.
type HTTPAccount struct{}
