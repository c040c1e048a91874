// SPDX-License-Identifier: Apache-2.0

// Package signin signs in to the servers of realparts like an application, without code of Custody's own adapters.
//
// Guaranteed: it returns ErrRefused only if the server refused the credential itself, and nil only if the server
// accepted it; errors contain no credential. Not guaranteed: anything about other errors, such as those of a server
// that is down.
package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrRefused: the server refused the credential itself.
var ErrRefused = errors.New("refused")

// away is an answer that did not come, and why.
func away(err error) error { return fmt.Errorf("the server does not answer: %w", err) }

// PostgreSQL signs in to the database postgres, without TLS.
func PostgreSQL(ctx context.Context, host string, port int, user, password string) error {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: net.JoinHostPort(host, strconv.Itoa(port)),
		Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return ConnectionString(ctx, address.String())
}

// ConnectionString signs in to PostgreSQL as the text says, and asks who it is.
func ConnectionString(ctx context.Context, text string) error {
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return errors.New("the connection string cannot be read")
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch answer.Code {
		case "28P01", "28000": // invalid_password, invalid_authorization_specification
			return ErrRefused
		}
		return fmt.Errorf("the server answers %s", answer.Code)
	}
	if err != nil {
		return away(err)
	}
	_, err = conn.Exec(ctx, "SELECT current_user").ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// roots is a pool of one authority, in PEM; nil for the system's.
func roots(authority string) *x509.CertPool {
	if authority == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority))
	return pool
}

// SMTP signs in for submission, over STARTTLS, and does no more: the servers relay nothing. The server's certificate is
// for its host and from authority.
func SMTP(ctx context.Context, host string, port int, authority, user, password string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return away(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	client, err := smtp.NewClientStartTLS(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots(authority), ServerName: host})
	if err != nil {
		return errors.Join(fmt.Errorf("speaking TLS: %w", err), conn.Close())
	}
	defer func() { _ = client.Close() }()
	err = client.Auth(sasl.NewPlainClient("", user, password))
	if said, ok := errors.AsType[*smtp.SMTPError](err); ok {
		if said.Code == 535 {
			return ErrRefused
		}
		return fmt.Errorf("the server answers %d", said.Code)
	}
	if err != nil {
		return away(err)
	}
	return nil
}

// Token asks an HTTP interface for address by a bearer token.
func Token(ctx context.Context, address, authority, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return status(request, authority)
}

// OIDCClient gets an access token by client credentials at a token endpoint.
func OIDCClient(ctx context.Context, endpoint, authority, id, secret, scope string) error {
	return asClient(ctx, endpoint, authority, id, secret, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}})
}

// Introspection asks a token introspection endpoint (RFC 7662) about an empty token, as an OAuth 2 client. Gitea takes any
// other for a user's own sign-in.
func Introspection(ctx context.Context, endpoint, authority, id, secret string) error {
	return asClient(ctx, endpoint, authority, id, secret, url.Values{"token": {""}})
}

// asClient posts a form as an OAuth 2 client.
func asClient(ctx context.Context, endpoint, authority, id, secret string, form url.Values) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return status(request, authority)
}

func transport(authority string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots(authority)}}
}

// status sends a request that carries a credential.
func status(request *http.Request, authority string) error {
	response, err := (&http.Client{Transport: transport(authority)}).Do(request)
	if err != nil {
		return away(err)
	}
	_ = response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return ErrRefused
	}
	return fmt.Errorf("the server answers %s", response.Status)
}

// S3 lists the buckets at an endpoint of the S3 interface.
func S3(ctx context.Context, endpoint, region, authority, accessKeyID, secretAccessKey string) error {
	client := s3.New(s3.Options{
		BaseEndpoint: &endpoint, Region: region, UsePathStyle: true, RetryMaxAttempts: 1,
		HTTPClient:  &http.Client{Transport: transport(authority)},
		Credentials: credentials.NewStaticCredentialsProvider(accessKeyID, secretAccessKey, ""),
	})
	_, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		if slices.Contains([]string{"InvalidAccessKeyId", "SignatureDoesNotMatch"}, said.ErrorCode()) {
			return ErrRefused
		}
		return fmt.Errorf("the server answers %s", said.ErrorCode())
	}
	if err != nil {
		return away(err)
	}
	return nil
}
