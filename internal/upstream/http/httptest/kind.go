// SPDX-License-Identifier: Apache-2.0

// Package httptest tests the type of upstream http with the whole product, on Gitea. It sets up what people set up by
// hand, as the page says, and has clients that sign in with code of their own. It uses no code of the adapter.
package httptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Kinds share one real Gitea. By the recipe gitea-token each account is a user of it, and the admin a site
// administrator; by gitea-oauth-application each is an application of one user, told apart by where people are sent
// back to.
func Kinds() []acceptance.Kind {
	return []acceptance.Kind{
		{
			Name: "http-gitea", Capability: upstream.Dual, Issues: true, Pace: 500 * time.Millisecond, SignIn: giteaSignIn, Crowd: 4, Abreast: 3,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				g := startGitea(s)
				s.Upstream("http-gitea", g.document("gitea-token"),
					map[string]string{"username": g.Admin.ExposeText("username"), "password": g.Admin.ExposeText("password")}, "")
				for _, name := range accounts {
					s.Must(g.AddUser(s.T().Context(), name))
				}
				return acceptance.Part{
					At: g.URL + "\n" + g.CACertificate, Upstream: "http-gitea", Log: g.Log,
					Account: func(name string) string {
						return fmt.Sprintf("http: {parameters: {user: %s, scopes: ['read:repository']}}", name)
					},
					Held: func(ctx context.Context, name string) (held []string, err error) {
						var tokens []struct{ Name string }
						err = g.ask(ctx, http.MethodGet, "users/"+name+"/tokens", g.Admin, nil, &tokens)
						for _, token := range tokens {
							held = append(held, token.Name)
						}
						return held, err
					},
				}
			},
		},
		{ // the server hashes each secret slowly on purpose, and again at each sign-in
			Name: "http-gitea-oauth", Capability: upstream.Dual, Issues: true, Pace: 3 * time.Second, SignIn: giteaClientSignIn, Crowd: 4, Abreast: 3,
			Start: func(s *acceptance.Stage, _ []string) acceptance.Part {
				g := startGitea(s)
				owner, err := g.AddUser(s.T().Context(), "portals")
				s.Must(nil, err)
				var token struct{ SHA1 string }
				s.Must(nil, g.ask(s.T().Context(), http.MethodPost, "users/portals/tokens", owner, map[string]any{"name": "custody", "scopes": []string{"write:user"}}, &token))
				s.Upstream("http-gitea-oauth", g.document("gitea-oauth-application"), map[string]string{"token": token.SHA1}, "")
				back := func(name string) string { return "https://portal.example.org/" + name }
				applications := func(ctx context.Context, name string) (of []giteaApplication, err error) {
					var all []giteaApplication
					err = g.ask(ctx, http.MethodGet, "user/applications/oauth2?limit=50", owner, nil, &all)
					return slices.DeleteFunc(all, func(a giteaApplication) bool { return !slices.Contains(a.Back, back(name)) }), err
				}
				return acceptance.Part{
					At: g.URL + "\n" + g.CACertificate, Upstream: "http-gitea-oauth", Log: g.Log,
					Account: func(name string) string { return "http: {parameters: {redirectURIs: ['" + back(name) + "']}}" },
					Held: func(ctx context.Context, name string) (held []string, err error) {
						all, err := applications(ctx, name)
						for _, application := range all {
							held = append(held, application.Name)
						}
						return held, err
					},
					Rights: func(ctx context.Context, name string, fields map[string]string) (string, error) {
						all, err := applications(ctx, name)
						for _, application := range all {
							if application.Client == fields["clientId"] {
								return fmt.Sprint(application.Back, application.Confidential), err
							}
						}
						return "none", err
					},
				}
			},
		},
	}
}

type giteaApplication struct {
	Name         string
	Client       string   `json:"client_id"`
	Back         []string `json:"redirect_uris"`
	Confidential bool     `json:"confidential_client"`
}

// gitea is the server, and where documents name it.
type gitea struct {
	*realparts.GiteaServer
	host string
	port int
}

func startGitea(s *acceptance.Stage) *gitea {
	return acceptance.Once(s, "http", func() *gitea {
		g := &gitea{GiteaServer: realparts.Gitea(s.T(), realparts.GiteaOptions{})}
		g.host, g.port = s.Via(g.Host, g.Port)
		return g
	})
}

func (g *gitea) document(recipe string) string {
	return fmt.Sprintf("http: {url: 'https://%s:%d', recipe: %s, caCertificate: %q}", g.host, g.port, recipe, g.CACertificate)
}

// ask calls the interface as a user, past any proxy.
func (g *gitea) ask(ctx context.Context, method, path string, as secret.Value, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, g.URL+"/api/v1/"+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(as.ExposeText("username"), as.ExposeText("password"))
	response, err := g.Client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// giteaSignIn uses the token where any is asked for; at is the address and, beneath it, the authority's certificate.
func giteaSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, certificate, _ := strings.Cut(at, "\n")
	return acceptance.VerdictOf(signin.Token(ctx, address+"/api/v1/repos/search?limit=1", certificate, fields["token"]))
}

// giteaClientSignIn asks about an empty token, which the server answers only an application that it knows.
func giteaClientSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	address, certificate, _ := strings.Cut(at, "\n")
	return acceptance.VerdictOf(signin.Introspection(ctx, address+"/login/oauth/introspect", certificate, fields["clientId"], fields["clientSecret"]))
}
