// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"custody.dev/custody/internal/realparts"
)

// pace is how often each of an exhibit's workers signs in, unless that costs the server much.
const pace = 500 * time.Millisecond

func apiToken() *exhibit {
	return &exhibit{
		id: "gitea", what: "an API token", server: "Gitea", secret: "ci-token", needs: "gitea", built: true, start: startGitea,
		about: "Gitea creates its access tokens itself, and shows each only once. A recipe describes its API: which requests to send,\nand what the answers mean. The token's name has the run's id: if a reply is lost, Custody finds that token and removes it.",
		shows: "url:|recipe:|origin:|http: ",
	}
}

func startGitea(ctx context.Context, _ *tour, dir string) (*stand, error) {
	server, err := realparts.StartGitea(ctx, dir, realparts.GiteaOptions{})
	if err != nil {
		return nil, err
	}
	user, err := server.AddUser(ctx, "ci")
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &stand{
		documents: map[string]string{
			"gitea.yaml": upstreamDocument("forge", "forge-ci", "http:\n    url: "+server.URL+"\n    recipe: gitea-token\n"+authority(4, server.CACertificate)) +
				rotatedDocument("ci-token", "Lets the build read what it builds.", "{issued: {}}", "gitea", `
    upstreamRef: forge
    http: {parameters: {user: ci, scopes: ["read:user"]}}`),
			"gitea-admin.yaml": adminDocument("forge-ci", "Lets Custody make and remove the access tokens of the user ci."),
		},
		seals: []sealed{
			{"forge-ci", "username", user.ExposeText("username")},
			{"forge-ci", "password", user.ExposeText("password")},
		},
		target: target{Kind: token, Address: server.URL + "/api/v1/user", Authority: server.CACertificate}, workers: 4, every: pace,
		stop: server.Stop, log: server.Log,
	}, nil
}

func objectKey() *exhibit {
	return &exhibit{
		id: "minio", what: "a cloud storage key", server: "MinIO, by the S3 interface", secret: "orders-bucket", needs: "minio", built: true, start: startMinIO,
		about: "Custody creates a second access key beside the one in use. The admin is an access key too, with permission to create\nand remove keys, and nothing else.",
		shows: "endpoint:|origin:|minio: ",
	}
}

const (
	minioRights = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [
		"admin:CreateServiceAccount", "admin:ListServiceAccounts", "admin:RemoveServiceAccount"]}]}`
	minioBuckets = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`
)

func startMinIO(ctx context.Context, _ *tour, dir string) (*stand, error) {
	program, err := realparts.Build(ctx, "minio")
	if err != nil {
		return nil, err
	}
	server, err := realparts.StartMinIO(ctx, dir, realparts.MinIOOptions{Program: program})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		server.AddPolicy(ctx, "custody", minioRights), server.AddPolicy(ctx, "orders", minioBuckets),
		server.AddUser(ctx, "custody", "custody"), server.AddUser(ctx, "orders", "orders"))
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	admin, err := server.AddKey(ctx, "custody")
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &stand{
		documents: map[string]string{
			"minio.yaml": upstreamDocument("objects", "objects-admin", "minio:\n    endpoint: "+server.URL()+"\n    settle: 0s\n"+authority(4, server.CACertificate)) +
				rotatedDocument("orders-bucket", "Lets the order service write to its bucket.", "{generated: {type: password, length: 40}}", "minio", `
    upstreamRef: objects
    minio: {user: orders}`),
			"minio-admin.yaml": adminDocument("objects-admin", "Lets Custody make and remove access keys of the object store."),
		},
		seals: []sealed{
			{"objects-admin", "accessKeyId", admin.ExposeText("accessKeyId")},
			{"objects-admin", "secretAccessKey", admin.ExposeText("secretAccessKey")},
		},
		target: target{Kind: objects, Address: server.URL(), Authority: server.CACertificate}, workers: 4, every: pace,
		stop: server.Stop, log: server.Log,
	}, nil
}

func mailPassword() *exhibit {
	return &exhibit{
		id: "dovecot", what: "an SMTP password", server: "Dovecot", secret: "shop-mail", needs: "dovecot", start: startDovecot,
		about: "This password existed before Custody: it was sealed in Git and handed over. The login can have two passwords, in two\nfiles that Dovecot asks in turn, so no sign-in is refused. Dovecot checks a file for changes at most once a second.",
		shows: "passwdFile|settle:|origin:|mail: ",
	}
}

func startDovecot(ctx context.Context, t *tour, dir string) (*stand, error) {
	const user = "shop@example.org"
	password := drawn("mail-")
	passdbs := ""
	for name, text := range map[string]string{"users": user + ":{PLAIN}" + password + "::::::\n", "users.next": ""} {
		file := filepath.Join(t.base, mailFolder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		passdbs += "passdb {\n  driver = passwd-file\n  args = " + file + "\n}\n"
	}
	server, err := realparts.StartMail(ctx, dir, realparts.MailOptions{Passdbs: passdbs})
	if errors.Is(err, realparts.ErrNoDovecot) {
		return nil, absentError("not installed here: as root, `tools/install-parts dovecot`")
	}
	if err != nil {
		return nil, err
	}
	return &stand{
		documents: map[string]string{
			"dovecot.yaml": upstreamDocument("relay", "", fmt.Sprintf("mail:\n    submission:\n      host: %s\n      port: %d\n%s    passwdFile: {folder: mail, file: users, secondFile: users.next}\n    settle: 2s\n",
				server.Host, server.Port, authority(6, server.CA))) +
				rotatedDocument("shop-mail", "Lets the shop send receipts.", "{bootstrap: {secretRef: shop-mail}}", "dovecot", `
    upstreamRef: relay
    mail: {mode: dual, user: `+user+`}`),
		},
		seals:   []sealed{{"shop-mail", "username", user}, {"shop-mail", "password", password}},
		target:  target{Kind: submission, Host: server.Host, Port: server.Port, Authority: server.CA},
		workers: 2, every: time.Second, // each sign-in costs the server a bcrypt
		stop: server.Stop, log: server.Log,
	}, nil
}

func identityClient() *exhibit {
	return &exhibit{
		id: "oidc", what: "a client of an identity provider", server: "oidc-provider", secret: "orders-client", needs: "oidc-provider", built: true, start: startOIDC,
		about: "The provider creates id and secret, by dynamic registration. The standard cannot list clients, but this provider has a\nlist of its own. If the reply to a registration is lost, Custody finds that client there and deletes it: `orphans: collect`.",
		shows: "issuer:|orphans:|origin:|oidc: ",
	}
}

func startOIDC(ctx context.Context, _ *tour, dir string) (*stand, error) {
	provider, err := realparts.StartOIDC(ctx, dir, realparts.OIDCOptions{})
	if err != nil {
		return nil, err
	}
	return &stand{
		documents: map[string]string{
			"oidc.yaml": upstreamDocument("login", "login-registration", "oidc:\n    issuer: "+provider.Issuer+"\n    orphans: collect\n    clients: "+provider.ClientsURL+"\n    settle: 0s\n") +
				rotatedDocument("orders-client", "Lets the order service get tokens for itself.", "{issued: {}}", "oidc", `
    upstreamRef: login
    oidc: {clientName: Orders, grantTypes: [client_credentials], scopes: [`+oidcScope+`]}`),
			"oidc-admin.yaml": adminDocument("login-registration", "Lets Custody register and delete clients at the identity provider."),
		},
		seals: []sealed{
			{"login-registration", "initialAccessToken", provider.InitialAccessToken},
			{"login-registration", "clientsToken", provider.AdminToken},
		},
		target: target{Kind: oidcClient, Address: provider.Issuer + "/token"}, workers: 4, every: pace,
		stop: func() error {
			defer provider.Proxy.Stop()
			return provider.Stop()
		},
		log: provider.Log,
	}, nil
}

func connectionString() *exhibit {
	return &exhibit{
		id: "url", what: "a connection string", server: "PostgreSQL", secret: "shop-database-url", asked: "shop-database", start: startURL,
		about: "Custody computes it from the database credential, and again whenever that rotates. The old user is revoked only after\nevery consumer of the connection string uses the new one too.",
		shows: "class:|inputs:|url:",
	}
}

func startURL(_ context.Context, t *tour, _ string) (*stand, error) {
	if t.database == nil {
		return nil, absentError("it is a PostgreSQL account's, and there is none")
	}
	return &stand{
		documents: map[string]string{"url.yaml": derivedDocument("shop-database-url", t.database.Host, t.database.Port)},
		target:    target{Kind: dsn}, workers: 4, every: pace,
	}, nil
}

// authority are lines of YAML, indented by n spaces, that name a server's certificate authority.
func authority(n int, pem string) string {
	indent := strings.Repeat(" ", n)
	return indent + "caCertificate: |\n" + indent + "  " + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n"+indent+"  ") + "\n"
}
