// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

// maxGitHubRepositories is how many repositories GitHub restricts one token to.
const maxGitHubRepositories = 500

// githubKind: tokens of an App's installation. Each is new, so no two secrets share one.
func githubKind() kind {
	return kind{
		name: "github", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			g := *spec.GitHub
			g.APIURL = cmp.Or(g.APIURL, "https://api.github.com")
			g.Settle = cmp.Or(g.Settle, "10s")
			spec.GitHub = &g
		},
		server: githubServer, account: githubAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			return []string{originOf(spec.GitHub.APIURL, spec.GitHub.CACertificate)}
		},
	}
}

func githubServer(spec v1alpha1.UpstreamSpec, bad report) {
	g := *spec.GitHub
	u, err := url.Parse(g.APIURL)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		bad("upstream-form", at("apiUrl"), "not an address such as https://api.github.com")
	case u.Scheme == "http" && !transport.Local(u.Hostname()):
		bad("upstream-tls", at("apiUrl"), "an address of http that is not on loopback")
	case strings.EqualFold(u.Hostname(), "github.com") || strings.EqualFold(u.Hostname(), "www.github.com"):
		bad("upstream-form", at("apiUrl"), "GitHub's REST interface is at https://api.github.com")
	}
	certificateRule(g.CACertificate, bad)
	if _, err := ParseDuration(g.Settle); err != nil {
		bad("upstream-form", at("settle"), "the settle time is not a duration such as 10s")
	}
}

func githubAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.GitHub
	if account.InstallationID < 0 {
		bad("account-form", at("installationId"), "the number of an installation is positive")
	}
	switch {
	case len(account.Repositories) == 0 && !account.AllRepositories:
		bad("account-form", nil, "neither repositories nor allRepositories: true")
	case len(account.Repositories) > 0 && account.AllRepositories:
		bad("account-form", at("allRepositories"), "repositories are given, and all of them are asked for")
	case len(account.Repositories) > maxGitHubRepositories:
		bad("account-form", at("repositories"), fmt.Sprintf("GitHub restricts a token to %d repositories at most", maxGitHubRepositories))
	}
	for i, name := range account.Repositories {
		if name == "" || strings.ContainsAny(name, "/ ") {
			bad("account-form", at("repositories", i), "a repository is named without its owner")
		}
	}
	for name, level := range account.Permissions {
		if !slices.Contains([]string{"read", "write", "admin"}, level) {
			bad("account-form", at("permissions", name), "a permission is read, write or admin, not "+show(level))
		}
	}
}
