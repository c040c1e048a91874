// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

func TestGitHubKind(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.GitHubUpstream, *v1alpha1.GitHubAccount)
		want   []string
	}{
		"as it should be": {func(*v1alpha1.GitHubUpstream, *v1alpha1.GitHubAccount) {}, nil},
		"enterprise": {
			func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) {
				s.APIURL = "https://github.example.org/api/v3"
			}, nil,
		},
		"loopback": {func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) { s.APIURL = "http://[::1]:8080" }, nil},
		"http elsewhere": {
			func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) {
				s.APIURL = "http://github.example.org/api/v3"
			},
			[]string{"upstream-tls apiUrl"},
		},
		"the site itself": {
			func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) { s.APIURL = "https://github.com" }, []string{"upstream-form apiUrl"},
		},
		"no address":      {func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) { s.APIURL = "api.github.com" }, []string{"upstream-form apiUrl"}},
		"CA that is none": {func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) { s.CACertificate = "x" }, []string{"upstream-form caCertificate"}},
		"settle no time":  {func(s *v1alpha1.GitHubUpstream, _ *v1alpha1.GitHubAccount) { s.Settle = "soon" }, []string{"upstream-form settle"}},
		"negative":        {func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) { a.InstallationID = -1 }, []string{"account-form installationId"}},
		"no repositories": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) { a.Repositories = nil }, []string{"account-form"},
		},
		"all repositories": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) {
				a.Repositories, a.AllRepositories = nil, true
			}, nil,
		},
		"all and some": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) { a.AllRepositories = true }, []string{"account-form allRepositories"},
		},
		"too many": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) {
				a.Repositories = slices.Repeat([]string{"orders"}, 501)
			},
			[]string{"account-form repositories"},
		},
		"with the owner": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) {
				a.Repositories = []string{"orders", "shop/orders"}
			},
			[]string{"account-form repositories[1]"},
		},
		"level unknown": {
			func(_ *v1alpha1.GitHubUpstream, a *v1alpha1.GitHubAccount) { a.Permissions["contents"] = "all" },
			[]string{"account-form permissions.contents"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := v1alpha1.GitHubUpstream{}
			account := v1alpha1.GitHubAccount{InstallationID: 1, Repositories: []string{"orders"}, Permissions: map[string]string{"contents": "read"}}
			test.change(&server, &account)
			got := reported(githubKind(), v1alpha1.UpstreamSpec{GitHub: &server}, v1alpha1.RotationSpec{Account: v1alpha1.Account{GitHub: &account}})
			if diff := cmp.Diff(append([]string{}, test.want...), got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
