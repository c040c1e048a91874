// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
)

// rotationRules check one secret's rotation and its account.
func (c *checker) rotationRules(v *view, d *document, spec v1alpha1.RotationSpec) {
	t := at("spec", "rotation")
	if spec.PolicyRef != "" && v.policy[spec.PolicyRef] == nil {
		c.missing(d, "policy-dangling", t.to("policyRef"), "there is no RotationPolicy "+plaintext.Show(spec.PolicyRef))
	}
	c.rotatedBy(v, d, spec.RotatedBy)
	c.accountOf(v, d, spec)
}

func (c *checker) rotatedBy(v *view, d *document, text string) {
	if text == "" || v.platform == nil {
		return
	}
	platform, environment, ok := strings.Cut(text, "/")
	t := at("spec", "rotation", "rotatedBy")
	switch {
	case !ok || !v1alpha1.WellNamed(platform) || !v1alpha1.WellNamed(environment):
		c.fault(d, "rotated-by", t, "rotatedBy is not PLATFORM/ENVIRONMENT", "")
	case platform == v.platform.name && !slices.Contains(v.environments(), environment):
		c.fault(d, "rotated-by", t, fmt.Sprintf("the platform has no environment %s", plaintext.Show(environment)), "")
	}
}

// adminCycles finds upstreams whose admin credentials need each other. An admin credential that rotates itself, on the
// upstream that it opens, is the one legal loop.
func (c *checker) adminCycles(v *view) {
	next := func(name string) string {
		admin := v.upstream[name].value.(*v1alpha1.Upstream).Spec.AdminRef
		if v.secret[admin] == nil {
			return ""
		}
		rotation := v.secret[admin].value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil || v.upstream[rotation.UpstreamRef] == nil || rotation.UpstreamRef == name {
			return ""
		}
		return rotation.UpstreamRef
	}
	for _, d := range v.upstreams {
		way := []string{d.name}
		// Each upstream leads to one other at most: following the way either ends, or comes back, or joins a loop that
		// is reported where it begins.
		for step := next(d.name); step != "" && !slices.Contains(way[1:], step); step = next(step) {
			way = append(way, step)
			if step == d.name {
				c.fault(d, "admin-cycle", at("spec", "adminRef"),
					"the admin credentials of these upstreams need each other: "+strings.Join(way, ", "), "")
				break
			}
		}
	}
}
