// SPDX-License-Identifier: Apache-2.0

package intent

import "custody.dev/custody/api/v1alpha1"

// derivedRules check what is computed from other secrets.
func (c *checker) derivedRules(_ *view, _ *document, _ v1alpha1.ManagedSecretSpec) {}
