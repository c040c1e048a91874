// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"encoding/json"
	"testing"

	"custody.dev/custody/api/v1alpha1"
)

// Digests of estates, and copies of them that are kept, are made of this JSON: parameters of a type of upstream stand under its
// name, where their field does.
func TestParametersStandInTheirPlace(t *testing.T) {
	type account struct {
		User string `json:"user"`
		Role string `json:"role,omitempty"`
	}
	given := v1alpha1.Parameters{"mysql": &account{User: "a<b"}}
	secret := v1alpha1.ManagedSecret{Spec: v1alpha1.ManagedSecretSpec{Rotation: &v1alpha1.RotationSpec{
		PolicyRef: "monthly", UpstreamRef: "db", Account: given, AllowInterruption: true, Stagger: &v1alpha1.Stagger{Set: "s"},
	}}}
	for want, value := range map[string]any{
		`{"policyRef":"monthly","upstreamRef":"db","mysql":{"user":"a\u003cb"},"allowInterruption":true,"stagger":{"set":"s"}}`: secret.Spec.Rotation,
		`{"policyRef":""}`: v1alpha1.RotationSpec{},
		`{"adminRef":"root","mysql":{"user":"a\u003cb"}}`: v1alpha1.UpstreamSpec{AdminRef: "root", Server: given},
		`{"mysql":{"user":"a\u003cb"}}`:                   v1alpha1.UpstreamSpec{Server: given},
		`{}`:                                              v1alpha1.UpstreamSpec{},
	} {
		got, err := json.Marshal(value)
		if err != nil || string(got) != want {
			t.Errorf("got %s, want %s (%v)", got, want, err)
		}
	}
}

func TestWellNamed(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "a-1": true, "shop-db": true, "": false, "-a": false, "a-": false, "a--b": false, "A": false, "a_b": false, "ä": false,
		"a23456789-123456789-123456789-123456789-123456789-123456789-123": true, "a23456789-123456789-123456789-123456789-123456789-123456789-1234": false,
	} {
		if got := v1alpha1.WellNamed(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}
