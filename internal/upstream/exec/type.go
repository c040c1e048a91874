// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is a program that the host file names.
type ServerSpec struct {
	// Name of the program from upstreams in the host file.
	Program string `json:"program"`
	// What Custody tells the program about the system it works on. Passed on unchanged; must not contain secrets.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// AccountSpec is one account that the program manages.
type AccountSpec struct {
	// How old and new credentials overlap: dual (default), alternate or overwrite. The program must report the same.
	Mode upstream.Capability `json:"mode,omitempty"`
	// What Custody tells the program about the account. Passed on unchanged; must not contain secrets.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Type is accounts behind a program. What the program can do is known when it runs; the document declares how credentials
// overlap, and the program must agree.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: typeName, AccountOptional: true, Check: checkServer, CheckAccount: checkAccount,
		AccountDefaults: func(account *AccountSpec) { account.Mode = cmp.Or(account.Mode, upstream.Dual) },
		// The program is the host's own. What the estate tells it may be an address.
		Endpoints: func(server ServerSpec) []string {
			if len(server.Parameters) == 0 {
				return nil
			}
			return []string{"program " + server.Program + told(server.Parameters)}
		},
		Told:       func(account AccountSpec) string { return told(account.Parameters) },
		Interrupts: func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		Claims: func(server ServerSpec, account AccountSpec) []string {
			return fields.Claims(server.Program+told(server.Parameters), "account"+told(account.Parameters))
		},
		Picks: func(server ServerSpec) []upstream.Pick {
			return []upstream.Pick{{From: upstream.HostProgram, Name: server.Program, At: upstream.At("program")}}
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

// told writes parameters in one way.
func told(parameters map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		b.WriteString(" " + name + "=" + strconv.Quote(parameters[name]))
	}
	return b.String()
}

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	if server.Program != "" && !v1alpha1.WellNamed(server.Program) {
		bad(upstream.RuleForm, upstream.At("program"), "the program is not a name; the host's configuration says what it stands for")
	}
	for _, name := range badParameters(server.Parameters) {
		bad(upstream.RuleForm, upstream.At("parameters", name), "the parameter's name is not letters, digits, dots, dashes and underscores")
	}
}

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	switch account.Mode {
	case upstream.Dual, upstream.Alternate, upstream.Overwrite:
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
	}
	for _, name := range badParameters(account.Parameters) {
		bad(upstream.RuleAccount, upstream.At("parameters", name), "the parameter's name is not letters, digits, dots, dashes and underscores")
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

// openAccount takes the program from the host's own configuration, by the name that the document picks.
func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	program, err := b.Host.Program(server.Program)
	if err != nil {
		return nil, err
	}
	return New(Config{
		Argv: program.Argv, Timeout: program.Timeout, Mode: account.Mode, Parameters: server.Parameters, Account: account.Parameters,
		Claim: b.Claim, Admin: b.Admin, NewPassword: b.Password, Random: b.Random,
	})
}
