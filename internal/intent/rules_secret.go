// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
)

const (
	classBootstrap = "bootstrap"
	classRuntime   = "runtime"
	classDerived   = "derived"
)

// fieldForm is what a value's field may be called.
var fieldForm = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// secretRules check one secret apart from its consumers and its account.
func (c *checker) secretRules(v *view, d *document, paths, names *claims) {
	spec := d.value.(*v1alpha1.ManagedSecret).Spec
	if !slices.Contains([]string{classBootstrap, classRuntime, classDerived, ""}, spec.Class) {
		c.fault(d, "class-unknown", at("spec", "class"), "there is no class "+plaintext.Show(spec.Class), "")
	}
	c.pathRules(v, d, spec.Path, paths)
	c.originRules(v, d, spec)
	if spec.Class == classBootstrap && len(spec.Consumers) > 0 {
		c.fault(d, "class-bootstrap-consumed", at("spec", "consumers"), "a bootstrap secret has consumers", "")
	}
	if spec.ExpiresAt != "" {
		if _, err := time.Parse(time.RFC3339, spec.ExpiresAt); err != nil {
			c.fault(d, "expires-form", at("spec", "expiresAt"), "expiresAt is not an RFC 3339 time", "")
		}
	}
	if spec.Rotation != nil {
		c.rotationRules(v, d, *spec.Rotation)
	}
}

func (c *checker) pathRules(v *view, d *document, path string, paths *claims) {
	if path == "" {
		return
	}
	t := at("spec", "path")
	if _, err := authority.ParsePath(path); err != nil {
		reason := fmt.Sprintf("the path %s is not well-formed", plaintext.Show(path))
		if strings.HasPrefix(path, authority.ReservedPrefix) {
			reason = fmt.Sprintf("the path %s is beneath %s, which is reserved", plaintext.Show(path), authority.ReservedPrefix)
		}
		c.fault(d, "path-form", t, reason, "")
		return
	}
	for segment := range strings.SplitSeq(path, "/") {
		if slices.Contains(v.environments(), segment) {
			c.fault(d, "path-environment", t, fmt.Sprintf("the path has the environment name %s as a segment", segment), "")
		}
	}
	if first := paths.claim(path, d); first != nil {
		c.fault(d, "path-duplicate", t, "the path is taken by the secret at "+first.position(), "")
	}
}

// given lists the YAML keys of the pointers that are set in a union.
func given(union any) []string {
	v := reflect.ValueOf(union)
	var out []string
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, name)
		}
	}
	return out
}

func (c *checker) originRules(v *view, d *document, spec v1alpha1.ManagedSecretSpec) {
	origin := spec.Origin
	if !d.hasOrigin {
		return // a missing field, reported as such
	}
	t := at("spec", "origin")
	switch ways := given(origin); {
	case len(ways) == 0:
		c.fault(d, "origin-single", t, "the origin names no way", "")
	case len(ways) > 1:
		c.fault(d, "origin-single", t, "the origin names several ways: "+strings.Join(ways, ", "), "")
	}
	c.derivedRules(v, d, spec)
	if origin.Generated != nil {
		c.generatedRules(d, t.to("generated"), *origin.Generated)
		if spec.Class == classBootstrap {
			c.fault(d, "class-origin", at("spec", "class"), "a bootstrap secret is generated", "")
		}
	}
	if origin.Bootstrap == nil || origin.Bootstrap.SecretRef == "" {
		return
	}
	switch found := v.bootstrap[origin.Bootstrap.SecretRef]; {
	case found == nil:
		c.missing(d, "origin-bootstrap", t.to("bootstrap", "secretRef"),
			"there is no BootstrapSecret "+plaintext.Show(origin.Bootstrap.SecretRef))
	case found.value.(*v1alpha1.BootstrapSecret).Spec.Seeds != d.name:
		c.fault(d, "origin-bootstrap", t.to("bootstrap", "secretRef"),
			fmt.Sprintf("the BootstrapSecret at %s seeds another secret", found.position()), "")
	}
}

// generatedRules check what is to be generated: a setting without effect is a misunderstanding.
func (c *checker) generatedRules(d *document, t trail, rule v1alpha1.GenerateRule) {
	bad := func(field, reason string, args ...any) {
		c.fault(d, "generated-form", t.to(field), fmt.Sprintf(reason, args...), "")
	}
	settings := []struct {
		name  string
		given bool
		types []string
	}{
		{"length", rule.Length != 0, []string{"password", "token"}},
		{"classes", len(rule.Classes) > 0, []string{"password"}},
		{"encoding", rule.Encoding != "", []string{"token"}},
		{"bits", rule.Bits != 0, []string{"rsa"}},
	}
	switch rule.Type {
	case "":
		return
	case "password", "token", "ed25519", "rsa":
	default:
		bad("type", "there is no type %s to generate", plaintext.Show(rule.Type))
		return
	}
	for _, s := range settings {
		if s.given && !slices.Contains(s.types, rule.Type) {
			bad(s.name, "%s has no meaning for type %s", s.name, rule.Type)
		}
	}
	if rule.Field != "" && !fieldForm.MatchString(rule.Field) {
		bad("field", "the field name %s is not well-formed", plaintext.Show(rule.Field))
	}
	switch rule.Type {
	case "password":
		passwordRule(rule, bad)
	case "token":
		if rule.Length != 0 && (rule.Length < 16 || rule.Length > 512) {
			bad("length", "a token of %d bytes is not within 16 and 512", rule.Length)
		}
		if rule.Encoding != "" && rule.Encoding != "base64url" && rule.Encoding != "hex" {
			bad("encoding", "there is no encoding %s", plaintext.Show(rule.Encoding))
		}
	case "rsa":
		if !slices.Contains([]int{0, 2048, 3072, 4096}, rule.Bits) {
			bad("bits", "an RSA key of %d bits is not one of 2048, 3072, 4096", rule.Bits)
		}
	}
}

func passwordRule(rule v1alpha1.GenerateRule, bad func(field, reason string, args ...any)) {
	if rule.Length != 0 && (rule.Length < 8 || rule.Length > 256) {
		bad("length", "a password of %d characters is not within 8 and 256", rule.Length)
	}
	for i, class := range rule.Classes {
		if !slices.Contains([]string{"lower", "upper", "digit", "symbol"}, class) {
			bad("classes", "there is no character class %s", plaintext.Show(class))
		} else if slices.Index(rule.Classes, class) < i {
			bad("classes", "the character class %s is given twice", class)
		}
	}
	if len(rule.Classes) == 1 && rule.Classes[0] == "digit" && rule.Length != 0 && rule.Length < 20 {
		bad("length", "a password of %d digits alone can be guessed", rule.Length)
	}
}

// fields lists the fields that a value of the secret will have, nil when that cannot be told.
func fields(spec v1alpha1.ManagedSecretSpec) []string {
	if spec.Origin.Derived != nil {
		return slices.Sorted(maps.Keys(spec.Origin.Derived.Fields))
	}
	if spec.Origin.Generated == nil || (spec.Rotation != nil && spec.Rotation.UpstreamRef != "") {
		return nil
	}
	rule := generateDefaults(*spec.Origin.Generated)
	if rule.Type == "ed25519" || rule.Type == "rsa" {
		return []string{rule.Field, rule.Field + ".pub"}
	}
	return []string{rule.Field}
}
