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
	// URL of scheme and host, such as https://minio.internal:9000. http is refused unless the host is loopback.
	Endpoint string `json:"endpoint"`
	// Region that the server is set to. Default us-east-1.
	Region string `json:"region,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long a change takes to reach every node and every site that replicates. Default 10s; 0s for a single node.
	Settle string `json:"settle,omitempty"`
}

// AccountSpec says whose access keys one secret is.
type AccountSpec struct {
	// User that owns the access keys. It must exist. Several secrets may be access keys of one user.
	User string `json:"user"`
	// Policy document in JSON, 2048 bytes at most, that narrows what the keys may do. Default: all that the user may.
	Policy string `json:"policy,omitempty"`
	// The server refuses a key that is older, whether or not Custody has replaced it: 1h to 365d, well above the time
	// between rotations. Default: never.
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
