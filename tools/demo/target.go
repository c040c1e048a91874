// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
)

// signInLimit bounds one sign-in, however busy the machine is.
const signInLimit = 30 * time.Second

// The ways to use what is delivered.
const (
	nowhere    = "" // nothing outside checks it: a worker only looks whether what it has is whole
	postgresql = "postgresql"
	dsn        = "connection string"
	token      = "token"
	objects    = "s3"
	submission = "smtp"
	oidcClient = "oidc client"
)

// target is where a client signs in, and how.
type target struct {
	Kind      string
	Host      string `json:",omitempty"`
	Port      int    `json:",omitempty"`
	Address   string `json:",omitempty"` // a URL
	Authority string `json:",omitempty"` // PEM
}

// oidcScope is what the client asks for.
const oidcScope = "orders.read"

// signIn uses f. Its errors hold no credential; signin.ErrRefused when the server refused the credential itself.
func (t target) signIn(f fields) error {
	ctx, cancel := context.WithTimeout(context.Background(), signInLimit)
	defer cancel()
	switch t.Kind {
	case nowhere:
		if len(f["value"]) < 40 || f["version"] == "" {
			return errors.New("the file is not whole")
		}
		return nil
	case postgresql:
		return signin.PostgreSQL(ctx, t.Host, t.Port, f["username"], f["password"])
	case dsn:
		return signin.ConnectionString(ctx, f["url"])
	case token:
		return signin.Token(ctx, t.Address, t.Authority, f["token"])
	case objects:
		return signin.S3(ctx, t.Address, realparts.MinIORegion, t.Authority, f["accessKeyId"], f["secretAccessKey"])
	case submission:
		return signin.SMTP(ctx, t.Host, t.Port, t.Authority, f["username"], f["password"])
	case oidcClient:
		return signin.OIDCClient(ctx, t.Address, t.Authority, f["client_id"], f["client_secret"], oidcScope)
	}
	return fmt.Errorf("nobody knows how to sign in to %q", t.Kind)
}

// secrets are the values in f that nobody else may see.
func (f fields) secrets() (values []string) {
	for _, name := range []string{"value", "password", "url", "token", "secretAccessKey", "client_secret", "registration_access_token"} {
		if f[name] != "" {
			values = append(values, f[name])
		}
	}
	return values
}
