// SPDX-License-Identifier: Apache-2.0

package github

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestGitHubKind(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*ServerSpec, *AccountSpec)
		want   []string
	}{
		"as it should be": {func(*ServerSpec, *AccountSpec) {}, nil},
		"enterprise": {
			func(s *ServerSpec, _ *AccountSpec) {
				s.APIURL = "https://github.example.org/api/v3"
			}, nil,
		},
		"loopback": {func(s *ServerSpec, _ *AccountSpec) { s.APIURL = "http://[::1]:8080" }, nil},
		"http elsewhere": {
			func(s *ServerSpec, _ *AccountSpec) {
				s.APIURL = "http://github.example.org/api/v3"
			},
			[]string{"upstream-tls apiUrl"},
		},
		"the site itself": {
			func(s *ServerSpec, _ *AccountSpec) { s.APIURL = "https://github.com" }, []string{"upstream-form apiUrl"},
		},
		"no address":      {func(s *ServerSpec, _ *AccountSpec) { s.APIURL = "api.github.com" }, []string{"upstream-form apiUrl"}},
		"CA that is none": {func(s *ServerSpec, _ *AccountSpec) { s.CACertificate = "x" }, []string{"upstream-form caCertificate"}},
		"settle no time":  {func(s *ServerSpec, _ *AccountSpec) { s.Settle = "soon" }, []string{"upstream-form settle"}},
		"negative":        {func(_ *ServerSpec, a *AccountSpec) { a.InstallationID = -1 }, []string{"account-form installationId"}},
		"no repositories": {
			func(_ *ServerSpec, a *AccountSpec) { a.Repositories = nil }, []string{"account-form"},
		},
		"all repositories": {
			func(_ *ServerSpec, a *AccountSpec) {
				a.Repositories, a.AllRepositories = nil, true
			}, nil,
		},
		"all and some": {
			func(_ *ServerSpec, a *AccountSpec) { a.AllRepositories = true }, []string{"account-form allRepositories"},
		},
		"too many": {
			func(_ *ServerSpec, a *AccountSpec) {
				a.Repositories = slices.Repeat([]string{"orders"}, 501)
			},
			[]string{"account-form repositories"},
		},
		"with the owner": {
			func(_ *ServerSpec, a *AccountSpec) {
				a.Repositories = []string{"orders", "shop/orders"}
			},
			[]string{"account-form repositories[1]"},
		},
		"level unknown": {
			func(_ *ServerSpec, a *AccountSpec) { a.Permissions["contents"] = "all" },
			[]string{"account-form permissions.contents"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := ServerSpec{}
			account := AccountSpec{InstallationID: 1, Repositories: []string{"orders"}, Permissions: map[string]string{"contents": "read"}}
			test.change(&server, &account)
			got := upstreamtest.Faults(Type(), true, &server, &account)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
