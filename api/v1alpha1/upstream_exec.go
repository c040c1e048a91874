// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ExecUpstream is a program that this host names.
type ExecUpstream struct{}

// ExecAccount is one account there.
type ExecAccount struct{}
