// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
)

// told wants a right credential to be taken, a wrong one to be refused, and neither of a server that is away.
func told(t *testing.T, right, wrong func(context.Context) error, stop func() error) {
	t.Helper()
	ctx := t.Context()
	if err := right(ctx); err != nil {
		t.Errorf("the right credential: %v", err)
	}
	err := wrong(ctx)
	if !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a wrong credential: got %v, want ErrRefused", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for name, sign := range map[string]func(context.Context) error{"right": right, "wrong": wrong} {
		if err := sign(ctx); err == nil || errors.Is(err, signin.ErrRefused) || strings.Contains(err.Error(), password) {
			t.Errorf("the %s credential while the server is away: got %v", name, err)
		}
	}
}

const password = "not-so-secret-any-more"

// Real servers are not for a fast loop. AMQP is tested on the broker of package rabbitmq: one takes long to start.
func TestPostgreSQL(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	server := realparts.Postgres(t, realparts.PostgresOptions{})
	if _, err := server.Exec(t.Context(), "CREATE ROLE shop LOGIN PASSWORD '"+password+"'"); err != nil {
		t.Fatal(err)
	}
	for _, form := range []func(context.Context, string) error{
		func(ctx context.Context, as string) error {
			return signin.PostgreSQL(ctx, server.Host, server.Port, "shop", as)
		},
		func(ctx context.Context, as string) error {
			return signin.ConnectionString(ctx, fmt.Sprintf("postgres://shop:%s@%s:%d/postgres?sslmode=disable", as, server.Host, server.Port))
		},
	} {
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		told(t, func(ctx context.Context) error { return form(ctx, password) }, func(ctx context.Context) error { return form(ctx, "x"+password) }, server.Stop)
	}
	if err := signin.ConnectionString(t.Context(), "postgres://shop:"+password+"@%zz"); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("a string that is none: got %v", err)
	}
}

func TestSMTP(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	server := realparts.MailServer(t, realparts.MailOptions{Passdbs: "passdb {\n  driver = passwd-file\n  args = DIR/users\n}\n"})
	if err := os.WriteFile(server.File("users"), []byte("shop@example.org:{PLAIN}"+password+"::::::\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	as := func(password string) func(context.Context) error {
		return func(ctx context.Context) error {
			return signin.SMTP(ctx, server.Host, server.Port, server.CA, "shop@example.org", password)
		}
	}
	told(t, as(password), as("x"+password), server.Stop)
}

func TestOIDCClient(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	provider := realparts.OIDC(t, realparts.OIDCOptions{Open: true})
	id, secret := register(t, provider.Issuer)
	as := func(secret string) func(context.Context) error {
		return func(ctx context.Context) error {
			return signin.OIDCClient(ctx, provider.Issuer+"/token", "", id, secret, "orders.read")
		}
	}
	told(t, as(secret), as("x"+secret), provider.Stop)
}

func TestS3(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	server := realparts.MinIO(t, realparts.MinIOOptions{})
	for _, err := range []error{
		server.AddPolicy(t.Context(), "buckets", `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`),
		server.AddUser(t.Context(), "orders", "buckets"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := server.AddKey(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := server.Ask(t.Context(), http.MethodGet, "list-service-accounts", map[string][]string{"user": {"orders"}}, nil, true)
	if err != nil || !strings.Contains(string(listed), key.ExposeText("accessKeyId")) {
		t.Errorf("listing the user's keys: got %s, %v", listed, err)
	}
	as := func(text string) func(context.Context) error {
		return func(ctx context.Context) error {
			return signin.S3(ctx, server.URL(), realparts.MinIORegion, server.CACertificate, key.ExposeText("accessKeyId"), text)
		}
	}
	told(t, as(key.ExposeText("secretAccessKey")), as(password), server.Stop)
}

// One server for a token and for a client.
func TestTokenAndIntrospection(t *testing.T) {
	if testing.Short() {
		return
	}
	t.Parallel()
	server := realparts.Gitea(t, realparts.GiteaOptions{})
	user, err := server.AddUser(t.Context(), "ci")
	if err != nil {
		t.Fatal(err)
	}
	made := giteaToken(t, server, user.ExposeText("password"))
	as := func(token string) func(context.Context) error {
		return func(ctx context.Context) error {
			return signin.Token(ctx, server.URL+"/api/v1/user", server.CACertificate, token)
		}
	}
	told(t, as(made), as(strings.Repeat("0", len(made))), server.Stop)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, secret := giteaApplication(t, server, user.ExposeText("password"))
	client := func(secret string) func(context.Context) error {
		return func(ctx context.Context) error {
			return signin.Introspection(ctx, server.URL+"/login/oauth/introspect", server.CACertificate, id, secret)
		}
	}
	told(t, client(secret), client("x"+secret), server.Stop)
}
