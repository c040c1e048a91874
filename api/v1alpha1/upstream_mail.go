// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MailUpstream is a mail server: where its passwords are kept, and where they are tried.
type MailUpstream struct{}

// MailAccount is one account there.
type MailAccount struct{}
