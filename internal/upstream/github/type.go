// SPDX-License-Identifier: Apache-2.0

package github

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is GitHub or a GitHub Enterprise Server, for tokens of a GitHub App.
type ServerSpec struct {
	// URL of the REST API. Default https://api.github.com. For an Enterprise Server https://HOST/api/v3.
	APIURL string `json:"apiUrl,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long a change takes to reach every part of GitHub. Default 10s.
	Settle string `json:"settle,omitempty"`
}

// AccountSpec says what the tokens of one secret give access to.
type AccountSpec struct {
	// Number of the installation of the App.
	InstallationID int `json:"installationId"`
	// Names of the repositories, without their owner; at most 500.
	Repositories []string `json:"repositories,omitempty"`
	// Access to all repositories of the installation. Use it instead of repositories.
	AllRepositories bool `json:"allRepositories,omitempty"`
	// Permissions, by the names that GitHub uses, such as contents: read. Levels: read, write, admin.
	Permissions map[string]string `json:"permissions"`
}

// Type is tokens of an App's installation. Each is new, so no two secrets share one.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "github", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount,
		AdminFields: func(ServerSpec) []upstream.OneOf { return []upstream.OneOf{{AdminClientID, AdminAppID}, {AdminKey}} },
		Defaults: func(server *ServerSpec) {
			server.APIURL = cmp.Or(server.APIURL, DefaultURL)
			server.Settle = cmp.Or(server.Settle, "10s")
		},
		Endpoints: func(server ServerSpec) []string {
			return []string{fields.OriginOf(server.APIURL, server.CACertificate)}
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	if rule, fault := addressFault(server.APIURL); fault != "" {
		bad(rule, upstream.At("apiUrl"), fault)
	}
	fields.Certificate(server.CACertificate, bad)
	if _, err := duration.Parse(server.Settle); err != nil {
		bad(upstream.RuleForm, upstream.At("settle"), "the settle time is not a duration such as 10s")
	}
}

// addressFault says why there is no REST interface at text, by the rule that this breaks; "" when there can be one.
func addressFault(text string) (rule, fault string) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return upstream.RuleForm, "not an address such as https://api.github.com"
	case u.Scheme == "http" && !transport.Local(u.Hostname()):
		return upstream.RuleTLS, "an address of http that is not on loopback"
	case strings.EqualFold(u.Hostname(), "github.com") || strings.EqualFold(u.Hostname(), "www.github.com"):
		return upstream.RuleForm, "GitHub's REST interface is at https://api.github.com"
	}
	return "", ""
}

// isRepository reports whether name can be a repository's, without its owner.
func isRepository(name string) bool { return name != "" && !strings.ContainsAny(name, "/ ") }

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	if account.InstallationID < 0 {
		bad(upstream.RuleAccount, upstream.At("installationId"), "the number of an installation is positive")
	}
	switch {
	case len(account.Repositories) == 0 && !account.AllRepositories:
		bad(upstream.RuleAccount, nil, "neither repositories nor allRepositories: true")
	case len(account.Repositories) > 0 && account.AllRepositories:
		bad(upstream.RuleAccount, upstream.At("allRepositories"), "repositories are given, and all of them are asked for")
	case len(account.Repositories) > maxRepositories:
		bad(upstream.RuleAccount, upstream.At("repositories"), fmt.Sprintf("GitHub restricts a token to %d repositories at most", maxRepositories))
	}
	for i, name := range account.Repositories {
		if !isRepository(name) {
			bad(upstream.RuleAccount, upstream.At("repositories", i), "a repository is named without its owner")
		}
	}
	for name, level := range account.Permissions {
		if !slices.Contains(levels, level) {
			bad(upstream.RuleAccount, upstream.At("permissions", name), "a permission is read, write or admin, not "+plaintext.Show(level))
		}
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	settle, err := fields.Time("settle", server.Settle)
	if err != nil {
		return nil, err
	}
	return New(Config{
		URL: server.APIURL, CACertificate: server.CACertificate, Admin: b.Admin, Settle: settle,
		InstallationID: int64(account.InstallationID), Repositories: account.Repositories, AllRepositories: account.AllRepositories,
		Permissions: account.Permissions, Clock: b.Clock, Random: b.Random,
		Tell: func(ctx context.Context, run authority.RunID, dead time.Time) {
			b.Log.WarnContext(ctx, "a token that nobody knows may have been issued; it dies by itself",
				"installation", account.InstallationID, "run", run, "dead by", dead)
		},
	})
}
