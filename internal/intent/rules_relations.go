// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/plaintext"
)

// defaultGap is the time between the rotations of a stagger set.
const defaultGap = "1h"

// relationRules check secrets that rotate as one, and secrets that must not rotate near each other.
func (c *checker) relationRules(v *view) {
	groups := map[string][]*document{}
	for _, d := range v.secrets {
		rotation := d.value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil {
			continue
		}
		if rotation.Group != "" {
			groups[rotation.Group] = append(groups[rotation.Group], d)
		}
		if rotation.Stagger != nil {
			c.staggerRules(d, *rotation)
		}
	}
	for name, members := range groups {
		c.groupRules(name, members)
	}
}

func (c *checker) groupRules(name string, members []*document) {
	t := at("spec", "rotation", "group")
	first := members[0].value.(*v1alpha1.ManagedSecret).Spec.Rotation
	for _, d := range members {
		rotation := d.value.(*v1alpha1.ManagedSecret).Spec.Rotation
		switch {
		case !v1alpha1.WellNamed(name):
			c.fault(d, "group-form", t, fmt.Sprintf("the group's name %s is not well-formed", plaintext.Show(name)), "")
		case len(members) == 1:
			c.fault(d, "group-form", t, fmt.Sprintf("the group %s has no other member", plaintext.Show(name)), "")
		case rotation.PolicyRef != first.PolicyRef || rotation.RotatedBy != first.RotatedBy:
			c.fault(d, "group-form", t, fmt.Sprintf("another policyRef or rotatedBy than that of the member at %s", members[0].position()), "")
		}
	}
}

func (c *checker) staggerRules(d *document, rotation v1alpha1.RotationSpec) {
	t := at("spec", "rotation", "stagger")
	if rotation.Stagger.Set != "" && !v1alpha1.WellNamed(rotation.Stagger.Set) {
		c.fault(d, "stagger-form", t.to("set"), fmt.Sprintf("the set's name %s is not well-formed", plaintext.Show(rotation.Stagger.Set)), "")
	}
	if rotation.Group != "" {
		c.fault(d, "stagger-form", t, "a secret that rotates with its group cannot be staggered on its own", "")
	}
	if gap := rotation.Stagger.Gap; gap != "" {
		if parsed, err := duration.Parse(gap); err != nil || parsed <= 0 {
			c.fault(d, "duration-form", t.to("gap"), "the gap is not a duration above 0s", "")
		}
	}
}

// GapOf returns the time that is kept between the rotations of the secret's stagger set, 0 when it has none.
func (e *Estate) GapOf(s *Secret) time.Duration {
	if s.Spec.Rotation == nil || s.Spec.Rotation.Stagger == nil {
		return 0
	}
	gap, _ := duration.Parse(s.Spec.Rotation.Stagger.Gap) // checked by its rule
	return gap
}
