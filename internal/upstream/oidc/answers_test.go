// SPDX-License-Identifier: Apache-2.0

package oidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/oidc"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// provider answers as a test says: what other providers do, and what stands before them.
type provider struct {
	*httptest.Server
	discovery                   map[string]string
	token, registration, manage http.HandlerFunc
	deleted                     atomic.Int64
}

const initialToken = "initial-token-that-is-secret"

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, p.discovery)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) { p.token(w, r) })
	mux.HandleFunc("POST /register", func(w http.ResponseWriter, r *http.Request) { p.registration(w, r) })
	mux.HandleFunc("DELETE /register/one", func(w http.ResponseWriter, r *http.Request) {
		p.deleted.Add(1)
		if p.manage != nil {
			p.manage(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.discovery = map[string]string{"issuer": p.URL, "token_endpoint": p.URL + "/token", "registration_endpoint": p.URL + "/register"}
	return p
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// registers answers as a provider that changes what was asked for.
func (p *provider) registers(change func(map[string]any)) {
	p.registration = func(w http.ResponseWriter, r *http.Request) {
		client := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&client); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		client["client_id"], client["client_secret"], client["client_secret_expires_at"] = "one", "the-secret-of-one", 0
		client["registration_client_uri"], client["registration_access_token"] = p.URL+"/register/one", "manage-token-of-one"
		change(client)
		say(w, http.StatusCreated, client)
	}
}

func (p *provider) config(t *testing.T) oidc.Config {
	t.Helper()
	return oidc.Config{
		Issuer: p.URL, Orphans: oidc.Accept, Claim: "shop/test/orders", Clock: time.Now,
		Client: oidc.Client{Name: "Orders", GrantTypes: []string{"client_credentials"}},
		Admin:  upstreamtest.Admins(upstreamtest.Value(t, map[string]string{oidc.AdminInitial: initialToken})),
	}
}

func open(t *testing.T, config oidc.Config) *oidc.Upstream {
	t.Helper()
	u, err := oidc.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func client(t *testing.T, p *provider) secret.Value {
	t.Helper()
	return upstreamtest.Value(t, map[string]string{
		oidc.FieldID: "one", oidc.FieldSecret: "the-secret-of-one", oidc.FieldAuthMethod: oidc.Basic,
		oidc.FieldManageURI: p.URL + "/register/one", oidc.FieldManageToken: "manage-token-of-one",
	})
}

func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	code := func(word string) string {
		return fmt.Sprintf(`{"error":%q,"error_description":"said the provider"}`, word)
	}
	const object, page = "application/json", "text/html"
	for name, test := range map[string]struct {
		grant   string
		answer  http.HandlerFunc
		want    upstream.Verdict
		isLater bool
	}{
		"token":                            {"client_credentials", upstreamtest.Says(200, object, `{"access_token":"x","token_type":"Bearer"}`), upstream.Accepted, false},
		"token, of a media type with more": {"client_credentials", upstreamtest.Says(200, object+"; charset=utf-8", `{"access_token":"x"}`), upstream.Accepted, false},
		"no token in it":                   {"client_credentials", upstreamtest.Says(200, object, `{}`), upstream.Unknown, false},
		"page instead of a token":          {"client_credentials", upstreamtest.Says(200, page, `{"access_token":"x"}`), upstream.Unknown, false},
		"token for a grant never given":    {"authorization_code", upstreamtest.Says(200, object, `{"access_token":"x"}`), upstream.Unknown, false},
		"invalid client":                   {"client_credentials", upstreamtest.Says(401, object, code("invalid_client")), upstream.Refused, false},
		"invalid client, by 400":           {"client_credentials", upstreamtest.Says(400, object, code("invalid_client")), upstream.Refused, false},
		"wrong secret, called unauthorized_client": {
			"client_credentials", upstreamtest.Says(401, object, code("unauthorized_client")), upstream.Refused, false,
		},
		"grant never given":            {"authorization_code", upstreamtest.Says(400, object, code("invalid_grant")), upstream.Accepted, false},
		"not for this client":          {"authorization_code", upstreamtest.Says(400, object, code("unauthorized_client")), upstream.Accepted, false},
		"scope not for this client":    {"client_credentials", upstreamtest.Says(400, object, code("invalid_scope")), upstream.Accepted, false},
		"grant unknown to everybody":   {"authorization_code", upstreamtest.Says(400, object, code("unsupported_grant_type")), upstream.Unknown, false},
		"request not understood":       {"authorization_code", upstreamtest.Says(400, object, code("invalid_request")), upstream.Unknown, false},
		"401 without a word":           {"client_credentials", upstreamtest.Says(401, object, `{}`), upstream.Unknown, false},
		"401 of something between":     {"client_credentials", upstreamtest.Says(401, page, "<html>sign in</html>"), upstream.Unknown, false},
		"403 of something between":     {"client_credentials", upstreamtest.Says(403, page, "<html>no</html>"), upstream.Unknown, false},
		"error in another form":        {"client_credentials", upstreamtest.Says(401, object, `{"error":{"code":"invalid_client"}}`), upstream.Unknown, false},
		"error of the provider":        {"client_credentials", upstreamtest.Says(500, object, code("server_error")), upstream.Unknown, false},
		"invalid client within a 500":  {"client_credentials", upstreamtest.Says(500, object, code("invalid_client")), upstream.Unknown, false},
		"starting":                     {"client_credentials", upstreamtest.Says(503, page, "<html>wait</html>"), upstream.Unknown, true},
		"too often":                    {"client_credentials", upstreamtest.Says(429, object, code("invalid_client")), upstream.Unknown, true},
		"too often, by another status": {"client_credentials", upstreamtest.Says(400, object, code("slow_down")), upstream.Unknown, true},
		"redirect": {"client_credentials", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/token-elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, upstream.Unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.token = test.answer
			config := p.config(t)
			config.Client.GrantTypes, config.Client.RedirectURIs = []string{test.grant}, []string{"https://orders.example.org/back"}
			got, err := open(t, config).Verify(t.Context(), client(t, p))
			if got != test.want || (err != nil) != (got == upstream.Unknown) {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
			if _, isLater := errors.AsType[*upstream.Later](err); isLater != test.isLater {
				t.Errorf("got %v; is to be asked later: %v, want %v", err, isLater, test.isLater)
			}
		})
	}
}

func TestSecretsAreFormEncodedBeforeTheyAreJoined(t *testing.T) {
	p := newProvider(t)
	var user, password string
	p.token = func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		say(w, http.StatusOK, map[string]string{"access_token": "x"})
	}
	v := upstreamtest.Value(t, map[string]string{oidc.FieldID: "one:two", oidc.FieldSecret: "a b+c%"})
	if got, err := open(t, p.config(t)).Verify(t.Context(), v); got != upstream.Accepted {
		t.Fatalf("got %s (%v), want accepted", got, err)
	}
	if user != "one%3Atwo" || password != "a+b%2Bc%25" {
		t.Errorf("got %q and %q, want them form-encoded (RFC 6749, section 2.3.1)", user, password)
	}
}

// TestClientIsTriedAsItWasRegistered, whatever the estate says now.
func TestClientIsTriedAsItWasRegistered(t *testing.T) {
	p := newProvider(t)
	var basic bool
	var posted string
	p.token = func(w http.ResponseWriter, r *http.Request) {
		_, _, basic = r.BasicAuth()
		posted = r.PostFormValue("client_secret")
		say(w, http.StatusOK, map[string]string{"access_token": "x"})
	}
	v, err := client(t, p).With(oidc.FieldAuthMethod, []byte(oidc.Post))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, p.config(t)).Verify(t.Context(), v); got != upstream.Accepted {
		t.Fatalf("got %s (%v), want accepted", got, err)
	}
	if basic || posted != "the-secret-of-one" {
		t.Errorf("by basic: %v, by post: %v; want post alone", basic, posted != "")
	}
}

func TestAnswersOfTheRegistrationEndpoint(t *testing.T) {
	const object = "application/json"
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		class  error // nil: ambiguous
	}{
		"metadata refused":       {upstreamtest.Says(400, object, `{"error":"invalid_client_metadata","error_description":"grant_types is wrong"}`), upstream.ErrRefusedCandidate},
		"redirect refused":       {upstreamtest.Says(400, object, `{"error":"invalid_redirect_uri"}`), upstream.ErrRefusedCandidate},
		"token refused":          {upstreamtest.Says(401, object, `{"error":"invalid_token"}`), upstream.ErrNotApplied},
		"policy of the provider": {upstreamtest.Says(403, object, `{"error":"insufficient_scope"}`), upstream.ErrNotApplied},
		"something between":      {upstreamtest.Says(400, "text/html", "<html>bad</html>"), upstream.ErrNotApplied},
		"too often":              {upstreamtest.Says(429, object, `{}`), upstream.ErrNotApplied},
		"redirect":               {upstreamtest.Says(308, "text/html", ""), upstream.ErrNotApplied},
		"see other":              {upstreamtest.Says(303, "text/html", ""), nil},
		"error of the provider":  {upstreamtest.Says(500, object, `{"error":"invalid_client_metadata"}`), nil},
		"gateway":                {upstreamtest.Says(504, "text/html", "<html></html>"), nil},
		"timed out between":      {upstreamtest.Says(408, "text/html", ""), nil},
		"made, unreadable":       {upstreamtest.Says(201, "text/html", "<html></html>"), nil},
		"made, without an id":    {upstreamtest.Says(201, object, `{}`), nil},
		"accepted for later":     {upstreamtest.Says(202, object, `{}`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.registration = test.answer
			_, err := open(t, p.config(t)).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			upstreamtest.Fails(t, test.class, err, name)
		})
	}
}

// TestErrorsQuoteTheProviderButNoToken: what it says of metadata is passed on, unless it repeats what it was sent.
func TestErrorsQuoteTheProviderButNoToken(t *testing.T) {
	p := newProvider(t)
	for said, want := range map[string]string{
		"scope nowhere is unknown": "scope nowhere is unknown", "who sent " + initialToken + "?": "", "a\x1b[31mred": "a[31mred",
	} {
		encoded, err := json.Marshal(map[string]string{"error": "invalid_client_metadata", "error_description": said})
		if err != nil {
			t.Fatal(err)
		}
		p.registration = upstreamtest.Says(400, "application/json", string(encoded))
		_, err = open(t, p.config(t)).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), initialToken) {
			t.Errorf("got %v, want it to contain %q and no token", err, want)
		}
	}
}

// TestRegisteredOtherwise: a client that is not what was asked for is deleted again.
func TestRegisteredOtherwise(t *testing.T) {
	for name, test := range map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"as asked":              {func(map[string]any) {}, true},
		"answer says less":      {func(c map[string]any) { delete(c, "grant_types"); delete(c, "scope"); delete(c, "client_name") }, true},
		"more grants":           {func(c map[string]any) { c["grant_types"] = []string{"client_credentials", "refresh_token"} }, true},
		"secret expires":        {func(c map[string]any) { c["client_secret_expires_at"] = 4102444800 }, true},
		"fewer grants":          {func(c map[string]any) { c["grant_types"] = []string{"refresh_token"} }, false},
		"fewer scopes":          {func(c map[string]any) { c["scope"] = "" }, false},
		"other redirect":        {func(c map[string]any) { c["redirect_uris"] = []string{"https://evil.example.org/"} }, false},
		"without redirects":     {func(c map[string]any) { c["redirect_uris"] = nil }, false},
		"another method":        {func(c map[string]any) { c["token_endpoint_auth_method"] = "none" }, false},
		"without a secret":      {func(c map[string]any) { delete(c, "client_secret") }, false},
		"scope of another form": {func(c map[string]any) { c["scope"] = []string{"orders.read"} }, false},
		"secret expired long":   {func(c map[string]any) { c["client_secret_expires_at"] = 1000000000 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.registers(test.change)
			config := p.config(t)
			config.Client.Scopes, config.Client.RedirectURIs = []string{"orders.read"}, []string{"https://orders.example.org/back"}
			v, err := open(t, config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if test.ok {
				if err != nil || v.ExposeText(oidc.FieldID) != "one" || p.deleted.Load() != 0 {
					t.Errorf("got %v and %d deletions, want the client", err, p.deleted.Load())
				}
				want := ""
				if name == "secret expires" {
					want = "2100-01-01T00:00:00Z"
				}
				if got := v.ExposeText(oidc.FieldExpires); got != want {
					t.Errorf("expiresAt: got %q, want %q", got, want)
				}
				return
			}
			if !errors.Is(err, upstream.ErrRefusedCandidate) || p.deleted.Load() != 1 {
				t.Errorf("got %v and %d deletions, want ErrRefusedCandidate and one", err, p.deleted.Load())
			}
		})
	}
}

// TestProviderThatDropsTheMarkIsNoneToCollectFrom: a lost client could not be found.
func TestProviderThatDropsTheMarkIsNoneToCollectFrom(t *testing.T) {
	p := newProvider(t)
	p.registers(func(c map[string]any) { delete(c, "software_version") })
	config := p.config(t)
	config.Orphans, config.Clients, config.Marker = oidc.Collect, p.URL+"/clients", oidc.SoftwareVersion
	if _, err := open(t, config).Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); !errors.Is(err, upstream.ErrRefusedCandidate) {
		t.Errorf("got %v, want ErrRefusedCandidate", err)
	}
	if p.deleted.Load() != 1 {
		t.Error("the client was not deleted again")
	}
}

// TestCredentialsGoNowhereElse: neither where discovery points, nor where a client's own address does, nor by redirect.
func TestCredentialsGoNowhereElse(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	p := newProvider(t)
	p.token = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}
	p.registration, p.manage = p.token, p.token
	v := client(t, p)
	try := func(what string) {
		t.Helper()
		u := open(t, p.config(t))
		if got, err := u.Verify(t.Context(), v); got != upstream.Unknown || err == nil {
			t.Errorf("%s: Verify: got %s (%v), want unknown", what, got, err)
		}
		if _, err := u.Apply(t.Context(), "run-1", v, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("%s: Apply: got %v, want ErrNotApplied", what, err)
		}
		if err := u.Revoke(t.Context(), "run-1", v, secret.Value{}); err == nil {
			t.Errorf("%s: Revoke: got no error", what)
		}
		if asked.Load() != 0 {
			t.Errorf("%s: something was sent elsewhere", what)
		}
	}
	try("redirects")
	right := p.discovery
	for _, field := range []string{"token_endpoint", "registration_endpoint"} {
		p.discovery = map[string]string{"issuer": right["issuer"], "token_endpoint": right["token_endpoint"], "registration_endpoint": right["registration_endpoint"]}
		p.discovery[field] = elsewhere.URL + "/token"
		try(field + " elsewhere")
	}
	p.discovery = map[string]string{"issuer": elsewhere.URL, "token_endpoint": right["token_endpoint"], "registration_endpoint": right["registration_endpoint"]}
	try("another issuer")
	p.discovery = right
	moved, err := v.With(oidc.FieldManageURI, []byte(elsewhere.URL+"/register/one"))
	if err != nil {
		t.Fatal(err)
	}
	v = moved
	try("the client's own address elsewhere")

	// What the configuration names is served.
	p.token = upstreamtest.Says(401, "application/json", `{"error":"invalid_client"}`)
	config := p.config(t)
	config.EndpointHosts = []string{strings.TrimPrefix(elsewhere.URL, "http://")}
	if err := open(t, config).Revoke(t.Context(), "run-1", v, secret.Value{}); err != nil {
		t.Errorf("a host that is allowed: got %v", err)
	}
	if asked.Load() != 1 {
		t.Errorf("a host that is allowed was asked %d times, want once", asked.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	p := newProvider(t)
	for text, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 30 * time.Second, "-3": 0, "999999": time.Hour, "soon": 30 * time.Second,
		"Sun, 06 Nov 1994 08:49:37 GMT": 90 * time.Second,
	} {
		p.token = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", text)
			w.Header().Set("Date", "Sun, 06 Nov 1994 08:48:07 GMT")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		_, err := open(t, p.config(t)).Verify(t.Context(), client(t, p))
		if later, ok := errors.AsType[*upstream.Later](err); !ok || later.After != want {
			t.Errorf("Retry-After %q: got %v (%v), want %s", text, later, err, want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*oidc.Config)
		ok     bool
	}{
		"as it should be":      {func(*oidc.Config) {}, true},
		"http elsewhere":       {func(c *oidc.Config) { c.Issuer = "http://login.example.org" }, false},
		"issuer with a query":  {func(c *oidc.Config) { c.Issuer += "?x=y" }, false},
		"issuer with a user":   {func(c *oidc.Config) { c.Issuer = "https://a:b@login.example.org" }, false},
		"no clock":             {func(c *oidc.Config) { c.Clock = nil }, false},
		"no claim":             {func(c *oidc.Config) { c.Claim = "" }, false},
		"no orphans":           {func(c *oidc.Config) { c.Orphans = "" }, false},
		"collect, no list":     {func(c *oidc.Config) { c.Orphans = oidc.Collect }, false},
		"list, no collect":     {func(c *oidc.Config) { c.Clients = c.Issuer + "/clients" }, false},
		"list elsewhere":       {func(c *oidc.Config) { c.Orphans, c.Clients = oidc.Collect, "https://other.example.org/clients" }, false},
		"list without TLS":     {func(c *oidc.Config) { c.Orphans, c.Clients = oidc.Collect, "http://login.example.org/clients" }, false},
		"list":                 {func(c *oidc.Config) { c.Orphans, c.Clients = oidc.Collect, "https://login.example.org/clients" }, true},
		"collect, no admin":    {func(c *oidc.Config) { c.Orphans, c.Clients, c.Admin = oidc.Collect, c.Issuer+"/clients", nil }, false},
		"unknown marker":       {func(c *oidc.Config) { c.Marker = "contacts" }, false},
		"unknown method":       {func(c *oidc.Config) { c.Client.AuthMethod = "private_key_jwt" }, false},
		"nothing to try":       {func(c *oidc.Config) { c.Client.GrantTypes = []string{"implicit"} }, false},
		"no name":              {func(c *oidc.Config) { c.Client.Name = "" }, false},
		"certificate not PEM":  {func(c *oidc.Config) { c.CACertificate = "x" }, false},
		"negative settle time": {func(c *oidc.Config) { c.Settle = -1 }, false},
	} {
		config := oidc.Config{
			Issuer: "https://login.example.org", Orphans: oidc.Accept, Claim: "shop/test/orders", Clock: time.Now,
			Client: oidc.Client{Name: "Orders", GrantTypes: []string{"client_credentials"}},
			Admin:  upstreamtest.Admins(),
		}
		test.change(&config)
		if _, err := oidc.New(config); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want ok %v", name, err, test.ok)
		}
	}
}

func TestDescription(t *testing.T) {
	d := oidc.Type().Describe()[0]
	for _, mode := range d.Modes {
		if err := mode.Kind.Check(); err != nil {
			t.Errorf("%s: %v", mode.Name, err)
		}
	}
	if !strings.HasPrefix(d.Page, "## Documents\n") || d.Tried == "" {
		t.Errorf("the page begins with %.20q, want its documents", d.Page)
	}
}

// TestAnotherIssuer: whoever answers for it gets no credential.
func TestAnotherIssuer(t *testing.T) {
	p := newProvider(t)
	var asked atomic.Int64
	p.token = func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		say(w, http.StatusOK, map[string]string{"access_token": "x"})
	}
	p.registration = p.token
	p.discovery["issuer"] = p.URL + "/" // to the last slash
	u := open(t, p.config(t))
	if got, err := u.Verify(t.Context(), client(t, p)); got != upstream.Unknown || err == nil {
		t.Errorf("Verify: got %s (%v), want unknown", got, err)
	}
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("Apply: got %v, want ErrNotApplied", err)
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests were made after the issuer was seen to be another", asked.Load())
	}
}

// TestWhatCertainlyMadeNoClientIsNoLostReply: neither a refused token nor an endpoint that cannot be reached.
func TestWhatCertainlyMadeNoClientIsNoLostReply(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, spoil := range map[string]func(*provider){
		"token refused": func(p *provider) {
			p.registration = upstreamtest.Says(401, "application/json", `{"error":"invalid_token"}`)
		},
		"metadata refused": func(p *provider) {
			p.registration = upstreamtest.Says(400, "application/json", `{"error":"invalid_client_metadata"}`)
		},
		"endpoint not there": func(p *provider) { p.discovery["registration_endpoint"] = gone.URL + "/register" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			spoil(p)
			config := p.config(t)
			config.EndpointHosts = []string{strings.TrimPrefix(gone.URL, "http://")}
			told := 0
			config.Tell = func(context.Context, string) { told++ }
			u := open(t, config).Collecting()
			_, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{})
			if !errors.Is(err, upstream.ErrNotApplied) && !errors.Is(err, upstream.ErrRefusedCandidate) {
				t.Errorf("got %v, want an error that says that nothing was made", err)
			}
			if err := u.Collect(t.Context(), "run-1"); err != nil {
				t.Fatal(err)
			}
			if told != 0 {
				t.Error("an orphan is told of that cannot be there")
			}
		})
	}
}
