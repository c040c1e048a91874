// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"slices"

	"filippo.io/age"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
)

// platformRules check the estate's own document, and that it is the one the host and the caller mean.
func (c *checker) platformRules(v *view) {
	d := v.platform
	spec := d.value.(*v1alpha1.Platform).Spec
	for i, environment := range spec.Environments {
		t := at("spec", "environments", i)
		if !v1alpha1.WellNamed(environment) {
			c.fault(d, "environment-form", t, fmt.Sprintf("the environment name %s is not well-formed", plaintext.Show(environment)), "")
		} else if slices.Index(spec.Environments, environment) < i {
			c.fault(d, "environment-form", t, fmt.Sprintf("the environment %s is listed twice", environment), "")
		}
	}
	if c.options.Environment != "" && !slices.Contains(spec.Environments, c.options.Environment) {
		c.fault(d, "environment-unknown", at("spec", "environments"),
			fmt.Sprintf("the estate is loaded for environment %s, which the platform does not have", plaintext.Show(c.options.Environment)), "")
	}
	if host := c.options.Host; host != nil {
		if d.name != "" && host.Platform != d.name {
			c.fault(d, "host-mismatch", at("metadata", "name"), fmt.Sprintf("the host runs the platform %s", plaintext.Show(host.Platform)), "")
		}
		if c.options.Environment != "" && host.Environment != c.options.Environment {
			c.fault(d, "host-mismatch", at("spec", "environments"),
				fmt.Sprintf("the estate is loaded for environment %s, and the host is %s", plaintext.Show(c.options.Environment), plaintext.Show(host.Environment)), "")
		}
	}
	for i, recipient := range spec.RootRecipients {
		t := at("spec", "rootRecipients", i)
		if _, err := age.ParseX25519Recipient(recipient); err != nil {
			c.fault(d, "root-recipients", t, "not an age X25519 recipient", "")
		} else if slices.Index(spec.RootRecipients, recipient) < i {
			c.fault(d, "root-recipients", t, "the recipient is listed twice", "")
		}
	}
	for _, environment := range slices.Sorted(maps.Keys(spec.BootstrapRecipients)) {
		t := at("spec", "bootstrapRecipients", environment)
		if !slices.Contains(spec.Environments, environment) {
			c.fault(d, "bootstrap-recipients", t, fmt.Sprintf("the platform has no environment %s", plaintext.Show(environment)), "")
		}
		recipient := spec.BootstrapRecipients[environment]
		if _, err := age.ParseX25519Recipient(recipient); err != nil {
			c.fault(d, "bootstrap-recipients", t, "not an age X25519 recipient", "")
		} else if slices.Contains(spec.RootRecipients, recipient) {
			c.fault(d, "bootstrap-recipients", t, "the recipient is a root recipient as well", "")
		}
	}
	for i, recipient := range spec.RetiredRecipients {
		t := at("spec", "retiredRecipients", i)
		if _, err := age.ParseX25519Recipient(recipient); err != nil {
			c.fault(d, "bootstrap-recipients", t, "not an age X25519 recipient", "Write the public key that was the recipient of an environment before.")
		} else if slices.Contains(spec.RootRecipients, recipient) || slices.Contains(slices.Collect(maps.Values(spec.BootstrapRecipients)), recipient) {
			c.fault(d, "bootstrap-recipients", t, "the recipient is retired, and in use as well", "Take it out of one of the two lists.")
		}
	}
	if spec.Authority.Type != "" && spec.Authority.Type != "embedded" {
		c.fault(d, "authority-type", at("spec", "authority", "type"), "there is no authority type "+plaintext.Show(spec.Authority.Type), "")
	}
	if spec.Rotation.MaxTimedRunsPerHour < 0 {
		c.fault(d, "platform-limit", at("spec", "rotation", "maxTimedRunsPerHour"), "the limit is negative", "")
	}
}
