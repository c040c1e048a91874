// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// GitHubUpstream is GitHub, or a GitHub Enterprise Server, for tokens of an App.
type GitHubUpstream struct {
	// Address of the REST interface. Default https://api.github.com; of an Enterprise Server https://HOST/api/v3.
	APIURL string `json:"apiUrl,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long a change takes to show in every part of GitHub. Default 10s.
	Settle string `json:"settle,omitempty"`
}

// GitHubAccount says what the tokens of one secret open.
type GitHubAccount struct {
	// Number of the App's installation.
	InstallationID int `json:"installationId"`
	// Names of the repositories, without their owner; 500 at most.
	Repositories []string `json:"repositories,omitempty"`
	// Instead of repositories: everything that the installation has.
	AllRepositories bool `json:"allRepositories,omitempty"`
	// Permissions by GitHub's names, such as contents: read. Levels: read, write, admin.
	Permissions map[string]string `json:"permissions"`
}
