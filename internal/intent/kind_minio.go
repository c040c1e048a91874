// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/transport"
)

const (
	maxMinIOPolicy = 2048
	maxMinIOExpiry = 365 * day
)

// minioKind: access keys of users of a MinIO server. Several secrets may be keys of one user, so nothing is claimed here:
// each key carries its own claim.
func minioKind() kind {
	return kind{
		name: "minio", admin: adminNeeded,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			m := *spec.MinIO
			m.Region = cmp.Or(m.Region, "us-east-1")
			m.Settle = cmp.Or(m.Settle, "10s")
			spec.MinIO = &m
		},
		server: minioServer, account: minioAccount,
		endpoints: func(spec v1alpha1.UpstreamSpec) []string {
			return []string{originOf(spec.MinIO.Endpoint, spec.MinIO.CACertificate)}
		},
	}
}

func minioServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.MinIO
	endpointRule("endpoint", server.Endpoint, bad)
	certificateRule(server.CACertificate, bad)
	if settle, err := ParseDuration(server.Settle); err != nil || settle > time.Hour {
		bad("upstream-form", at("settle"), "not a duration of at most 1h")
	}
	if !regionForm.MatchString(server.Region) {
		bad("upstream-form", at("region"), "not the name of a region")
	}
}

func minioAccount(_ v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	account := *rotation.MinIO
	if strings.TrimSpace(account.User) != account.User {
		bad("account-form", at("user"), "the user begins or ends with a space")
	}
	if account.Policy != "" {
		var document struct{ Statement []any }
		if len(account.Policy) > maxMinIOPolicy || json.Unmarshal([]byte(account.Policy), &document) != nil || len(document.Statement) == 0 {
			bad("account-form", at("policy"), "not a policy document in JSON, with statements, of at most 2048 bytes")
		}
	}
	if account.ExpiresAfter != "" {
		if after, err := ParseDuration(account.ExpiresAfter); err != nil || after < time.Hour || after > maxMinIOExpiry {
			bad("account-form", at("expiresAfter"), "not a duration of 1h to 365d")
		}
	}
}

// endpointRule checks a URL of scheme and host alone; empty is left to whoever requires the field.
func endpointRule(field, text string, bad report) {
	if text == "" {
		return
	}
	where, err := url.Parse(text)
	switch {
	case err != nil || where.Hostname() == "" || where.User != nil || strings.Trim(where.Path, "/") != "" || where.RawQuery != "" || where.Fragment != "",
		where.Scheme != "https" && where.Scheme != "http":
		bad("upstream-form", at(field), "not a URL of scheme (https) and host alone")
	case where.Scheme == "http" && !transport.Local(where.Hostname()):
		bad("upstream-tls", at(field), "http to a host that is not loopback")
	}
}
