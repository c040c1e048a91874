// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// HTTPUpstream is any HTTP interface, by a recipe. Exactly one of recipe and define is set.
type HTTPUpstream struct {
	// Base address, https://; http:// to loopback alone. The recipe's paths lie beneath it.
	URL string `json:"url"`
	// Further base addresses that the recipe names, where its defaults do not fit.
	Endpoints map[string]string `json:"endpoints,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// A recipe that is built in.
	Recipe string `json:"recipe,omitempty"`
	// A recipe of the estate's own, in the form that the page of the upstream type http describes.
	Define any `json:"define,omitempty"`
	// The recipe's parameters that all accounts have in common.
	Parameters map[string]any `json:"parameters,omitempty"`
}

// HTTPAccount is one account there.
type HTTPAccount struct {
	// The recipe's parameters for this account. None of them stands in the Upstream too.
	Parameters map[string]any `json:"parameters,omitempty"`
}
