// SPDX-License-Identifier: Apache-2.0

package github

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

const (
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
	// apiVersion is the version of the interface that is spoken.
	apiVersion = "2022-11-28"
	// defaultLater is GitHub's rule where it does not say how long to wait; maxLater bounds what it says.
	defaultLater = time.Minute
	maxLater     = 2 * time.Hour
)

// answer is what GitHub said.
type answer struct{ transport.Answer }

// has reports whether the answer is a JSON object with a member of that name.
func (a *answer) has(name string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(a.Body, &object) == nil && object[name] != nil
}

// limited reports whether the answer says itself that it is a limit. Not every limit does.
func (a *answer) limited() bool {
	return a.Header.Get("Retry-After") != "" || a.Header.Get("X-RateLimit-Remaining") == "0"
}

// send makes one request. Its error is ErrNotApplied when the request was certainly not sent.
func (u *Upstream) send(ctx context.Context, doing, method, path, bearer string, body any) (*answer, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, upstream.NotApplied(doing, "making the request")
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, u.URL+path, content)
	if err != nil {
		return nil, upstream.NotApplied(doing, "making the request")
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+bearer)
	request.Header.Set("User-Agent", "custody")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	got, err := transport.Exchange(u.client, request, maxAnswer)
	if err != nil {
		return nil, upstream.Unanswered(doing, "GitHub", err, "the connection broke, or the other side does not speak HTTP as expected",
			"see that this machine reaches GitHub, and that apiUrl and caCertificate in the Upstream document are right")
	}
	return &answer{got}, nil
}

// wrong is the error for an answer that is not what was hoped for; class says what it means. GitHub limits requests by 403
// and by 429, and says so in words alone where it gives no header: after either, it is asked later.
func (u *Upstream) wrong(doing, detail string, class error, a *answer) error {
	e := &upstream.Error{Doing: doing, Class: class, Detail: detail, Said: a.String()}
	switch a.Status {
	case http.StatusUnauthorized:
		if class == nil {
			break
		}
		e.Next = "see that appId or clientId and privateKey are one app's, and that the key was not deleted there; then hand the right ones in, as the secret that adminRef names: " + upstream.SupplyAdmin
	case http.StatusForbidden, http.StatusTooManyRequests:
		e.Detail = upstream.Join(detail, "GitHub is asked too often, or forbids it")
		e.Next = "nothing, if it was asked too often; else see that the installation is not suspended, and that GitHub lets this address in; " +
			"a token with permissions of an organization alone may need metadata: read too"
		return &upstream.Later{After: u.wait(a), Err: e}
	case http.StatusServiceUnavailable:
		return &upstream.Later{After: u.wait(a), Err: e}
	case http.StatusNotFound:
		e.Next = "see that installationId is that of the app's installation, and apiUrl that of the interface"
	case http.StatusUnprocessableEntity:
		e.Detail = upstream.Join(detail, "the installation has not all of the repositories and permissions that are asked for")
		e.Next = "grant them to the app and its installation, or ask for fewer"
	}
	if a.Status >= 300 && a.Status < 400 {
		e.Detail, e.Next = upstream.Join(detail, "GitHub redirects elsewhere"), "write apiUrl as GitHub serves it; Custody follows no redirect with a token"
	}
	return e
}

// wait is how long GitHub wants to be left alone, by the rules that it publishes.
func (u *Upstream) wait(a *answer) time.Duration {
	if wait, told := a.RetryAfter(u.Clock()); told {
		return min(wait, maxLater)
	}
	reset, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || a.Header.Get("X-RateLimit-Remaining") != "0" {
		return defaultLater
	}
	now := a.Date()
	if now.IsZero() {
		now = u.Clock()
	}
	return min(max(time.Unix(reset, 0).Sub(now), 0)+time.Second, maxLater)
}
