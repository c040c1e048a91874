// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import _ "embed"

//go:embed types.go
var source string

// Source returns the Go source of the document types, from which package reference renders the reference.
func Source() string { return source }
