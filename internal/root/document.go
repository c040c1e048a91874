// SPDX-License-Identifier: Apache-2.0

package root

import (
	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
)

// Document is a BootstrapSecret once opened, or before it is sealed. It stands here, and not beside the code that reads
// SOPS files, so that packages can speak of it without the weight of that library.
type Document struct {
	// Name is the document's own.
	Name string
	// Labels are plain.
	Labels map[string]string
	// Seeds names the managed secret it seeds. It is plain, and therefore only a claim: Binding is what counts.
	Seeds string
	// NeededBy says who needs the value before the authority exists. It is plain.
	NeededBy []string
	// Binding says where the document belongs. It is encrypted with the value.
	Binding v1alpha1.Binding
	// Value is what was sealed.
	Value secret.Value
}
