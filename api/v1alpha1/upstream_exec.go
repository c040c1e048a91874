// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ExecUpstream is a program that this host names.
type ExecUpstream struct {
	// Name of the program, as the host's own configuration lists it under upstreams.
	Program string `json:"program"`
	// What the program is told of the system that it speaks to. Passed on as it is; never a secret.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// ExecAccount is one account there.
type ExecAccount struct {
	// How old and new credentials overlap: dual (default), alternate or overwrite. The program must say the same.
	Mode string `json:"mode,omitempty"`
	// What the program is told of the account. Passed on as it is; never a secret.
	Parameters map[string]string `json:"parameters,omitempty"`
}
