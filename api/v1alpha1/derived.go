// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// DerivedOrigin computes a value from other secrets. It is rebuilt whenever one of them has a new version.
type DerivedOrigin struct{}
