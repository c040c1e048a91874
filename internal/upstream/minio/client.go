// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
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

// transport checks the server's parameters. Nothing is taken from the process's environment, and no connection outlives
// its request, or its call (see linked).
func (s Server) transport() (*http.Transport, error) {
	where, err := url.Parse(s.Endpoint)
	if err != nil || where.Hostname() == "" || where.User != nil || strings.Trim(where.Path, "/") != "" || where.RawQuery != "" || where.Fragment != "" {
		return nil, errors.New("the endpoint must be a URL of scheme and host alone")
	}
	address, err := netip.ParseAddr(where.Hostname())
	local := where.Hostname() == "localhost" || err == nil && address.Unmap().IsLoopback()
	if where.Scheme != "https" && (where.Scheme != "http" || !local) {
		return nil, fmt.Errorf("endpoint of scheme %q: want https, or http to loopback", where.Scheme)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CACertificate != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.CACertificate)) {
			return nil, errors.New("the CA certificate is not PEM")
		}
	}
	return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true}, nil
}

// linked is u with a connection of its own that lasts for several requests, until it is cut.
func (u *Upstream) linked() (link *Upstream, cut func()) {
	own := *u
	own.transport = u.transport.Clone()
	own.transport.DisableKeepAlives = false
	return &own, own.transport.CloseIdleConnections
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

// answer is what came back; sent is false when the request certainly never left.
type answer struct {
	sent   bool
	status int
	// code is MinIO's name of an error, "" when there is none or the answer is not MinIO's.
	code string
	body []byte
	// date is the server's clock, to the second.
	date time.Time
}

// ask signs and sends one request as v. The error is for what brought no answer and quotes nothing.
func (u *Upstream) ask(ctx context.Context, v secret.Value, q question) (answer, error) {
	body := []byte{}
	if q.message != nil {
		var err error
		if body, err = seal(u.Random, v.ExposeText(FieldSecret), q.message); err != nil {
			return answer{}, err
		}
	}
	return u.askPlain(ctx, v, q, body)
}

// askPlain is ask with a body that is sent as it is.
func (u *Upstream) askPlain(ctx context.Context, v secret.Value, q question, body []byte) (a answer, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { a.sent = true }}
	where := strings.TrimSuffix(u.Server.Endpoint, "/") + q.path
	if len(q.query) > 0 {
		where += "?" + q.query.Encode()
	}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), q.method, where, bytes.NewReader(body))
	if err != nil {
		return a, errors.New("preparing the request failed")
	}
	digest := sha256.Sum256(body)
	sum := hex.EncodeToString(digest[:])
	request.Header.Set("X-Amz-Content-Sha256", sum)
	signer := aws.Credentials{AccessKeyID: v.ExposeText(FieldKey), SecretAccessKey: v.ExposeText(FieldSecret)}
	err = v4.NewSigner().SignHTTP(ctx, signer, request, sum, "s3", u.Server.Region, q.signed, func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = true
	})
	if err != nil {
		return a, errors.New("signing the request failed")
	}
	client := http.Client{Transport: u.transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a signature is for one host
	}}
	response, err := client.Do(request)
	if err != nil {
		return a, describe(err)
	}
	defer func() { _ = response.Body.Close() }() // it is read as far as it matters
	a.status = response.StatusCode
	if a.date, err = http.ParseTime(response.Header.Get("Date")); err != nil {
		a.date = time.Time{}
	}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return a, describe(err)
	}
	a.code = errorCode(a.body)
	return a, nil
}

// errorCode reads the name of an error in either of MinIO's forms: XML for S3, JSON for administration.
func errorCode(body []byte) string {
	var inXML struct {
		XMLName xml.Name `xml:"Error"`
		Code    string   `xml:"Code"`
	}
	if xml.Unmarshal(body, &inXML) == nil {
		return plain(inXML.Code)
	}
	var inJSON struct{ Code string }
	if json.Unmarshal(body, &inJSON) == nil {
		return plain(inJSON.Code)
	}
	return ""
}

// plain keeps what can be the name of an error, so that an answer cannot put other words into a message.
func plain(code string) string {
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		return ""
	}
	return code
}

// read asks what changes nothing. A server that finds the clocks too far apart tells its own; it is asked once more.
func (u *Upstream) read(ctx context.Context, v secret.Value, q question) (answer, error) {
	for again := false; ; again = true {
		q.signed = u.Clock().Add(time.Duration(u.ahead.Load()))
		a, err := u.ask(ctx, v, q)
		if err != nil || again || a.code != codeSkewed || a.date.IsZero() {
			return a, err
		}
		u.ahead.Store(int64(a.date.Sub(u.Clock())))
	}
}
