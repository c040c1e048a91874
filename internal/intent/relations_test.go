// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"slices"
	"testing"

	"custody.dev/custody/api/v1alpha1"
)

// Each question about one secret sorted and scanned the names of all: an inventory of 10,000 secrets took 80 s, and so did binding
// them.
func TestAQuestionAboutOneSecretScansNoOther(t *testing.T) {
	e := &Estate{Secrets: map[string]*Secret{}, Upstreams: map[string]v1alpha1.Upstream{"db": {Spec: v1alpha1.UpstreamSpec{AdminRef: "s0000"}}}}
	for i := range 1000 {
		name := fmt.Sprintf("s%04d", i)
		e.Secrets[name] = &Secret{Name: name, Spec: v1alpha1.ManagedSecretSpec{Rotation: &v1alpha1.RotationSpec{}}}
	}
	e.Secrets["s0001"].Spec.Rotation.Group, e.Secrets["s0000"].Spec.Rotation.Group = "pair", "pair"
	e.Secrets["s0002"].Spec.Origin.Derived = &v1alpha1.DerivedOrigin{Inputs: map[string]string{"password": "s0000"}}
	ask := func() (opens []string, dependents []Dependent, group []*Secret) {
		s := e.Secrets["s0000"]
		return e.Opens(s.Name), e.Dependents(s), e.GroupOf(s)
	}
	check := func() {
		t.Helper()
		opens, dependents, group := ask()
		if !slices.Equal(opens, []string{"db"}) || len(dependents) != 1 || dependents[0].Name != "s0002" || dependents[0].Input != "password" {
			t.Errorf("opens %v, dependents %v", opens, dependents)
		}
		if len(group) != 2 || group[0].Name != "s0000" || e.GroupOf(e.Secrets["s0003"]) != nil {
			t.Errorf("group %v", group)
		}
	}
	check()
	e.Relate()
	check()
	if allocated := testing.AllocsPerRun(10, func() { ask() }); allocated > 6 {
		t.Errorf("asking about one of 1000 secrets allocates %.0f times", allocated)
	}
}
