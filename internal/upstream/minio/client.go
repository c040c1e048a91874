// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
)

const (
	defaultRegion = "us-east-1"
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 8 << 20
	// validFor is how long the server takes a request after the time it was signed for.
	validFor = 15 * time.Minute
)

// Server says where MinIO is and how its identity is checked.
type Server struct {
	// Endpoint is a URL of scheme and host alone. http is for loopback.
	Endpoint string
	// Region that the server is set to. Default us-east-1.
	Region string
	// CACertificate is PEM; default the system's.
	CACertificate string
}

// client checks the server's parameters. No connection outlives its request, or its call (see linked).
func (s Server) client() (*http.Client, error) {
	if err := transport.Endpoint(s.Endpoint); err != nil {
		return nil, err
	}
	return transport.Client(s.CACertificate)
}

// linked is u with a connection of its own that lasts for several requests, until it is cut.
func (u *Upstream) linked() (link *Upstream, cut func()) {
	kept := u.client.Transport.(*http.Transport).Clone()
	kept.DisableKeepAlives = false
	own := *u
	own.client = &http.Client{Transport: kept, CheckRedirect: u.client.CheckRedirect}
	return &own, kept.CloseIdleConnections
}

// question is one request. What changes something has an end, after which the server must not take it.
type question struct {
	method, path string
	query        url.Values
	// message is sealed for the server when it is not nil.
	message []byte
	// signed is the time that the request is signed for, by the server's clock.
	signed time.Time
}

// answer is what came back.
type answer struct {
	transport.Answer
	// code is MinIO's name of an error, "" when there is none or the answer is not MinIO's.
	code string
}

// ask signs and sends one request as v. Its error is ErrNotApplied when the request certainly never left.
func (u *Upstream) ask(ctx context.Context, doing string, v secret.Value, q question) (answer, error) {
	var body []byte
	if q.message != nil {
		var err error
		if body, err = seal(u.Random, v.ExposeText(accesskey.Secret), q.message); err != nil {
			return answer{}, upstream.NotApplied(doing, err.Error())
		}
	}
	where := strings.TrimSuffix(u.Server.Endpoint, "/") + q.path
	if len(q.query) > 0 {
		where += "?" + q.query.Encode()
	}
	request, err := accesskey.Request(ctx, v, q.method, where, u.Server.Region, body, q.signed)
	if err != nil {
		return answer{}, upstream.NotApplied(doing, err.Error())
	}
	got, err := transport.Exchange(u.client, request, maxAnswer)
	if err != nil {
		return answer{}, upstream.Unanswered(doing, "the server", err, broke, nextReachable)
	}
	return answer{got, errorCode(got.Body)}, nil
}

// errorCode reads the name of an error in either of MinIO's forms: XML for S3, JSON for administration.
func errorCode(body []byte) string {
	var inXML struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	if xml.Unmarshal(body, &inXML) == nil {
		return accesskey.Code(inXML.Code)
	}
	var inJSON struct{ Code string }
	if json.Unmarshal(body, &inJSON) == nil {
		return accesskey.Code(inJSON.Code)
	}
	return ""
}

// read asks what changes nothing. A server that finds the clocks too far apart tells its own; it is asked once more.
func (u *Upstream) read(ctx context.Context, doing string, v secret.Value, q question) (answer, error) {
	for again := false; ; again = true {
		q.signed = u.theirs.Now()
		a, err := u.ask(ctx, doing, v, q)
		if err != nil || again || a.code != codeSkewed || a.Date().IsZero() {
			return a, err
		}
		u.theirs.Set(a.Date())
	}
}
