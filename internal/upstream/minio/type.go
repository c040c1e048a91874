// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/fields"
)

// ServerSpec is a MinIO server, for S3 access keys.
type ServerSpec struct {
	// URL of the server, scheme and host, such as https://minio.internal:9000. http is allowed only for loopback
	// addresses.
	Endpoint string `json:"endpoint"`
	// Region that the server is configured with. Default us-east-1.
	Region string `json:"region,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long a change takes to reach every node and every site of a replication. Default 10s; a single node needs 0s.
	Settle string `json:"settle,omitempty"`
}

// AccountSpec names the user that the access keys of one secret belong to.
type AccountSpec struct {
	// User that owns the access keys. It must exist. Several secrets may be access keys of one user.
	User string `json:"user"`
	// JSON policy document of at most 2048 bytes that restricts the keys. Default: they may do everything that the user
	// may do.
	Policy string `json:"policy,omitempty"`
	// The server refuses a key that is older than this, whether or not Custody has replaced it. 1h to 365d; choose a
	// time well above the time between rotations. Default: keys do not expire.
	ExpiresAfter string `json:"expiresAfter,omitempty"`
}

// Type is access keys of users of a MinIO server. Several secrets may be keys of one user, so nothing is claimed here: each key
// carries its own claim.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "minio", Admin: upstream.AdminNeeded, Check: checkServer, CheckAccount: checkAccount,
		AdminFields: func(ServerSpec) []upstream.OneOf { return accesskey.AdminFields() },
		Defaults: func(server *ServerSpec) {
			server.Region = cmp.Or(server.Region, defaultRegion)
			server.Settle = cmp.Or(server.Settle, "10s")
		},
		Endpoints: func(server ServerSpec) []string {
			return []string{fields.OriginOf(server.Endpoint, server.CACertificate)}
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

const maxExpiry = 365 * duration.Day

func checkServer(server ServerSpec, _ bool, bad upstream.Report) {
	fields.Origin("endpoint", server.Endpoint, bad)
	fields.Certificate(server.CACertificate, bad)
	if settle, err := duration.Parse(server.Settle); err != nil || settle > time.Hour {
		bad(upstream.RuleForm, upstream.At("settle"), "not a duration of at most 1h")
	}
	if !fields.Region(server.Region) {
		bad(upstream.RuleForm, upstream.At("region"), "not the name of a region")
	}
}

func checkAccount(_ ServerSpec, account AccountSpec, bad upstream.Report) {
	if strings.TrimSpace(account.User) != account.User {
		bad(upstream.RuleAccount, upstream.At("user"), "the user begins or ends with a space")
	}
	if account.Policy != "" && !isPolicy(account.Policy) {
		bad(upstream.RuleAccount, upstream.At("policy"), fmt.Sprintf("not a policy document in JSON, with statements, of at most %d bytes", maxPolicy))
	}
	if account.ExpiresAfter != "" {
		if after, err := duration.Parse(account.ExpiresAfter); err != nil || after < time.Hour || after > maxExpiry {
			bad(upstream.RuleAccount, upstream.At("expiresAfter"), "not a duration of 1h to 365d")
		}
	}
}

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	settle, err := fields.Time("settle", server.Settle)
	if err != nil {
		return nil, err
	}
	expires, err := fields.Time("expiresAfter", account.ExpiresAfter)
	if err != nil {
		return nil, err
	}
	return New(Config{
		Server: Server{Endpoint: server.Endpoint, Region: server.Region, CACertificate: server.CACertificate},
		Admin:  b.Admin, User: account.User, Policy: account.Policy, ExpiresAfter: expires,
		NewPassword: b.Password, Claim: b.Claim, Settle: settle, Clock: b.Clock, Random: b.Random,
	})
}
