// SPDX-License-Identifier: Apache-2.0

// Package expiry reads from a value when it expires: from certificates in PEM, JSON Web Tokens, and the field expiresAt of upstreams.
// It verifies no signature: whoever made the value may have written any time into it. Only that time leaves the package.
//
// Cost: linear in the size of the value. A value without any of these is not parsed.
package expiry

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math"
	"time"

	"custody.dev/custody/internal/secret"
)

// What an end of life was read from.
const (
	Certificate = "certificate"
	Token       = "token"
	Upstream    = "upstream"
)

// Field is the one in which upstreams that create credentials say when these end, in RFC 3339.
const Field = "expiresAt"

// End is when a value ends, in UTC, and what says so; the zero End is none.
type End struct {
	At time.Time
	By string
}

// Of returns the earliest end that any field of the value tells, the zero End where none does.
func Of(v secret.Value) End {
	var first End
	for _, name := range v.Names() {
		data := v.Expose(name)
		if name == Field {
			if at, err := time.Parse(time.RFC3339, string(data)); err == nil {
				first = first.or(at, Upstream)
			}
			continue
		}
		first = first.or(certificates(data), Certificate)
		first = first.or(token(data), Token)
	}
	return first
}

// or is the earlier of the two; a zero at is none.
func (e End) or(at time.Time, by string) End {
	if at.IsZero() || !e.At.IsZero() && !at.Before(e.At) {
		return e
	}
	return End{at.UTC(), by}
}

// certificates is the earliest end in a chain: once one link has ended, the chain proves nothing.
func certificates(data []byte) (first time.Time) {
	for {
		if !bytes.Contains(data, []byte("-----BEGIN ")) {
			return first
		}
		block, rest := pem.Decode(data)
		if block == nil {
			return first
		}
		data = rest
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (first.IsZero() || certificate.NotAfter.Before(first)) {
			first = certificate.NotAfter
		}
	}
}

// latest is the last second that RFC 3339 can write.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// token is the exp of a signed JWT (RFC 7519), zero of anything else.
func token(data []byte) time.Time {
	parts := bytes.Split(bytes.TrimSpace(data), []byte("."))
	if len(parts) != 3 {
		return time.Time{}
	}
	var header struct {
		Algorithm *string `json:"alg"`
	}
	var claims struct {
		Ends *float64 `json:"exp"`
	}
	if !part(parts[0], &header) || header.Algorithm == nil || !part(parts[1], &claims) || claims.Ends == nil {
		return time.Time{}
	}
	seconds := math.Floor(*claims.Ends)
	if seconds <= 0 || seconds > float64(latest.Unix()) {
		return time.Time{} // no time that anybody meant
	}
	return time.Unix(int64(seconds), 0)
}

func part(encoded []byte, into any) bool {
	data, err := base64.RawURLEncoding.DecodeString(string(encoded))
	return err == nil && json.Unmarshal(data, into) == nil
}
