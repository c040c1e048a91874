// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func parseIssuer(text string) (*url.URL, error) {
	issuer, err := parseEndpoint(text)
	if err != nil {
		return nil, fmt.Errorf("the issuer: %w", err)
	}
	if issuer.RawQuery != "" {
		return nil, errors.New("the issuer has a query")
	}
	if issuer.Scheme == "http" && !transport.Local(issuer.Hostname()) {
		return nil, errors.New("the issuer is neither https nor on loopback")
	}
	return issuer, nil
}

// parseEndpoint errors without quoting text, which a provider may have made.
func parseEndpoint(text string) (*url.URL, error) {
	endpoint, err := url.Parse(text)
	if err != nil || endpoint.Host == "" || endpoint.Opaque != "" || endpoint.Scheme != "https" && endpoint.Scheme != "http" {
		return nil, errors.New("not an address of https")
	}
	if endpoint.User != nil || endpoint.Fragment != "" {
		return nil, errors.New("an address with a user or a fragment")
	}
	return endpoint, nil
}

// allowed says whether credentials may be sent to an address.
func (u *Upstream) allowed(text string) (*url.URL, error) {
	endpoint, err := parseEndpoint(text)
	if err != nil {
		return nil, err
	}
	if endpoint.Scheme != "https" && (u.issuer.Scheme == "https" || !transport.Local(endpoint.Hostname())) {
		return nil, errors.New("an address without TLS")
	}
	same := func(host string) bool { return strings.EqualFold(host, endpoint.Host) }
	if !same(u.issuer.Host) && !slices.ContainsFunc(u.EndpointHosts, same) {
		return nil, fmt.Errorf("the host %s is neither the issuer's nor one of endpointHosts", endpoint.Host)
	}
	return endpoint, nil
}

// answer is what the provider said.
type answer struct {
	transport.Answer
	// object: the body is JSON and was said to be.
	object bool
	// code is the standard's word for the error, "" when there is none; description the provider's own words.
	code, description string
}

// request is one request; its fields are not shown.
type request struct {
	method, address, bearer string
	form                    url.Values
	metadata                any
	user, password          string
}

func (r request) build(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch {
	case r.form != nil:
		body, contentType = strings.NewReader(r.form.Encode()), "application/x-www-form-urlencoded"
	case r.metadata != nil:
		encoded, err := json.Marshal(r.metadata)
		if err != nil {
			return nil, err
		}
		body, contentType = bytes.NewReader(encoded), "application/json"
	}
	built, err := http.NewRequestWithContext(ctx, r.method, r.address, body)
	if err != nil {
		return nil, err
	}
	built.Header.Set("Accept", "application/json")
	built.Header.Set("User-Agent", "custody")
	if contentType != "" {
		built.Header.Set("Content-Type", contentType)
	}
	if r.bearer != "" {
		built.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	if r.user != "" {
		// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
		built.SetBasicAuth(url.QueryEscape(r.user), url.QueryEscape(r.password))
	}
	return built, nil
}

// send makes one request. Its error is ErrNotApplied when the request was certainly not sent.
func (u *Upstream) send(ctx context.Context, doing string, r request) (*answer, error) {
	built, err := r.build(ctx)
	if err != nil {
		return nil, upstream.NotApplied(doing, "making the request")
	}
	got, err := transport.Exchange(u.client, built, maxAnswer)
	if err != nil {
		return nil, upstream.Unanswered(doing, "the provider", err, "the connection broke, or the provider does not speak HTTP as expected", nextReach)
	}
	a := &answer{Answer: got}
	a.read()
	return a, nil
}

func (a *answer) read() {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return
	}
	a.object = json.Valid(a.Body)
	var failure struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.Body, &failure) == nil && codeForm.MatchString(failure.Error) {
		a.code, a.description = failure.Error, failure.Description
	}
}

// said is what may be shown of the answer.
func (a *answer) said() string { return upstream.Join(a.String(), a.code) }

// throttled reports whether the provider wants to be asked later.
func (a *answer) throttled() bool {
	return a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable || a.code == "slow_down"
}

// wrong is the error for an answer that is not what was hoped for; class says what it means.
func (u *Upstream) wrong(doing, detail string, class error, a *answer) error {
	e := &upstream.Error{Doing: doing, Class: class, Detail: detail, Said: a.said()}
	switch {
	case a.throttled():
		e.Detail = upstream.Join(detail, "the provider is asked too often, or not ready")
		wait, told := a.RetryAfter(u.Clock())
		if !told {
			wait = defaultLater
		}
		return &upstream.Later{After: min(wait, maxLater), Err: e}
	case a.Status >= 300 && a.Status < 400:
		e.Detail, e.Next = upstream.Join(detail, "the provider redirects elsewhere"), nextEndpoint
	case !a.object && len(a.Body) > 0:
		e.Detail = upstream.Join(detail, "the answer is not JSON: something between may have given it")
	}
	return e
}

// endpoints are what discovery tells.
type endpoints struct {
	registration, token string
}

// discover reads the issuer's metadata and checks that credentials may go where it points. It changes nothing.
func (u *Upstream) discover(ctx context.Context, doing string) (endpoints, error) {
	doing += ": reading the provider's discovery document"
	address := strings.TrimSuffix(u.Issuer, "/") + "/.well-known/openid-configuration"
	a, err := u.send(ctx, doing, request{method: http.MethodGet, address: address})
	if err != nil {
		return endpoints{}, upstream.Unapplied(err)
	}
	var document struct {
		Issuer       string `json:"issuer"`
		Registration string `json:"registration_endpoint"`
		Token        string `json:"token_endpoint"`
	}
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &document) != nil {
		return endpoints{}, u.wrong(doing, "", upstream.ErrNotApplied, a)
	}
	if document.Issuer != u.Issuer {
		return endpoints{}, &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Detail: "it names another issuer than the Upstream document",
			Next: "write the issuer as its own discovery document does, to the last slash",
		}
	}
	found := endpoints{registration: document.Registration, token: document.Token}
	for name, endpoint := range map[string]string{"token_endpoint": found.token, "registration_endpoint": found.registration} {
		if endpoint == "" && name == "registration_endpoint" {
			continue // only registering needs it
		}
		if _, err := u.allowed(endpoint); err != nil {
			return endpoints{}, &upstream.Error{
				Doing: doing, Class: upstream.ErrNotApplied, Detail: name + ": " + err.Error(),
				Next: "if that host is the provider's too, list it in endpointHosts of the Upstream document",
			}
		}
	}
	return found, nil
}
