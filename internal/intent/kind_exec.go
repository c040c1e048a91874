// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// execDual is the mode of programs that honour two credentials at once.
const execDual = "dual"

// execKind: an account behind a program. What the program can do is known when it runs; the document declares how
// credentials overlap, and the program must agree.
func execKind() kind {
	return kind{
		name: "exec", admin: adminOptional, accountOptional: true,
		accountDefaults: func(rotation *v1alpha1.RotationSpec) {
			account := *rotation.Exec
			account.Mode = cmp.Or(account.Mode, execDual)
			rotation.Exec = &account
		},
		server: execServer, account: execAccount,
		// The program is the host's own. What the estate tells it may be an address.
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			if len(spec.Exec.Parameters) == 0 {
				return nil
			}
			return []string{"program " + spec.Exec.Program + told(spec.Exec.Parameters)}
		},
		interrupts: func(rotation v1alpha1.RotationSpec) bool {
			return rotation.Exec != nil && rotation.Exec.Mode == modeOverwrite
		},
		claims: func(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
			account := "account"
			if rotation.Exec != nil {
				account += told(rotation.Exec.Parameters)
			}
			return claimsAt(spec.Exec.Program+told(spec.Exec.Parameters), account)
		},
	}
}

// told writes parameters in one way.
func told(parameters map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		b.WriteString(" " + name + "=" + strconv.Quote(parameters[name]))
	}
	return b.String()
}

func execServer(spec v1alpha1.UpstreamSpec, bad report) {
	if spec.Exec.Program != "" && !wellNamed(spec.Exec.Program) {
		bad("upstream-form", at("program"), "the program is not a name; the host's configuration says what it stands for")
	}
	for _, name := range badParameters(spec.Exec.Parameters) {
		bad("upstream-form", at("parameters", name), "the parameter's name is not letters, digits, dots, dashes and underscores")
	}
}

func execAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	switch rotation.Exec.Mode {
	case execDual, modeAlternate, modeOverwrite:
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(rotation.Exec.Mode))
	}
	for _, name := range badParameters(rotation.Exec.Parameters) {
		bad("account-form", at("parameters", name), "the parameter's name is not letters, digits, dots, dashes and underscores")
	}
}

// badParameters lists names that a program might misread.
func badParameters(parameters map[string]string) []string {
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			bad = append(bad, name)
		}
	}
	return bad
}

// programRule holds an upstream of type exec to what the host names.
func (c *checker) programRule(d *document, spec v1alpha1.UpstreamSpec) {
	if c.options.Host == nil || spec.Exec == nil || spec.Exec.Program == "" {
		return
	}
	if known := slices.Sorted(maps.Keys(c.options.Host.Upstreams)); !slices.Contains(known, spec.Exec.Program) {
		c.fault(d, "host-name", at("spec", "exec", "program"),
			fmt.Sprintf("the host has no upstream program %s (it has: %s)", show(spec.Exec.Program), listed(known)), "")
	}
}
