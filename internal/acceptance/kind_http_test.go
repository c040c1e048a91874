// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"
)

// httpKinds: the recipe gitea-token, on the real Gitea. Each account is a user of it; the admin is a site administrator.
func httpKinds() []kind {
	return []kind{{
		name: "http-gitea", capability: upstream.Dual, issues: true, pace: 300 * time.Millisecond, signIn: giteaSignIn, crowd: 4, abreast: 3,
		start: func(s *stage, accounts []string) part {
			gitea := once(s, "http", func() *realparts.GiteaServer {
				return realparts.Gitea(s.t, realparts.GiteaOptions{})
			})
			host, port := s.via(gitea.Host, gitea.Port)
			s.upstream("http-gitea", fmt.Sprintf("http: {url: 'https://%s:%d', recipe: gitea-token, caCertificate: %q}", host, port, gitea.CACertificate),
				map[string]string{"username": gitea.Admin.ExposeText("username"), "password": gitea.Admin.ExposeText("password")}, "")
			for _, name := range accounts {
				if _, err := gitea.AddUser(s.t.Context(), name); err != nil {
					s.t.Fatal(err)
				}
			}
			return part{
				at: gitea.URL + "\n" + gitea.CACertificate, upstream: "http-gitea", log: gitea.Log,
				account: func(name string) string {
					return fmt.Sprintf("http: {parameters: {user: %s, scopes: ['read:repository']}}", name)
				},
				held: func(ctx context.Context, name string) ([]string, error) { return giteaTokens(ctx, gitea, name) },
			}
		},
	}}
}

// giteaTokens names every access token of a user, as the site's administrator sees them.
func giteaTokens(ctx context.Context, gitea *realparts.GiteaServer, user string) (held []string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gitea.URL+"/api/v1/users/"+user+"/tokens", nil)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(gitea.Admin.ExposeText("username"), gitea.Admin.ExposeText("password"))
	response, err := gitea.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var tokens []struct{ Name string }
	if err := json.NewDecoder(response.Body).Decode(&tokens); err != nil {
		return nil, err
	}
	for _, token := range tokens {
		held = append(held, token.Name)
	}
	return held, nil
}

// giteaSignIn uses the token where any is asked for; at is the address and, beneath it, the authority's certificate.
func giteaSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, certificate, _ := strings.Cut(at, "\n")
	return verdictOf(signin.Token(ctx, address+"/api/v1/repos/search?limit=1", certificate, fields["token"]))
}
