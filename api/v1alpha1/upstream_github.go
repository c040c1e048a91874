// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// GitHubUpstream is GitHub, or a GitHub Enterprise Server, for tokens of an App.
type GitHubUpstream struct{}

// GitHubAccount is one account there.
type GitHubAccount struct{}
