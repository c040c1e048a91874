// SPDX-License-Identifier: Apache-2.0

// Package fields has what the parameters of many types of upstream share: checks of hosts, ports, certificates,
// addresses, durations and pairs of users, which report to lint, and the texts that identify servers and accounts. A
// check accepts an empty field; whether the field is required is checked elsewhere. Nothing here opens a connection.
package fields

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

var (
	hostForm   = lazyregexp.New(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
	regionForm = lazyregexp.New(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// HostName reports whether text has the form of a host's name.
func HostName(text string) bool { return hostForm.MatchString(text) }

// Region reports whether text can be the name of a region of a cloud.
func Region(text string) bool { return regionForm.MatchString(text) }

// Host checks the field host: a name, an address, or the path of a socket or of its folder.
func Host(host string, bad upstream.Report) {
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !strings.HasPrefix(host, "/") && !HostName(host) {
		bad(upstream.RuleForm, upstream.At("host"), "the host is neither a name, nor an address, nor the folder of a socket")
	}
}

// Port checks the field port.
func Port(port int, bad upstream.Report) {
	if port < 0 || port > 65535 {
		bad(upstream.RuleForm, upstream.At("port"), fmt.Sprintf("there is no port %d", port))
	}
}

// Certificate checks the field caCertificate.
func Certificate(text string, bad upstream.Report) {
	if text != "" && !certificates(text) {
		bad(upstream.RuleForm, upstream.At("caCertificate"), "not a sequence of certificates in PEM")
	}
}

func certificates(text string) bool {
	rest, count := []byte(strings.TrimSpace(text)), 0
	for len(rest) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		count++
	}
	return count > 0
}

// Origin checks a URL of scheme and host alone.
func Origin(field, text string, bad upstream.Report) {
	if text == "" {
		return
	}
	where, err := url.Parse(text)
	switch {
	case err != nil || where.Hostname() == "" || where.User != nil || strings.Trim(where.Path, "/") != "" || where.RawQuery != "" || where.Fragment != "",
		where.Scheme != "https" && where.Scheme != "http":
		bad(upstream.RuleForm, upstream.At(field), "not a URL of scheme (https) and host alone")
	case where.Scheme == "http" && !transport.Local(where.Hostname()):
		bad(upstream.RuleTLS, upstream.At(field), "http to a host that is not loopback")
	}
}

// Duration checks one.
func Duration(field, text string, bad upstream.Report) {
	if text == "" {
		return
	}
	if _, err := duration.Parse(text); err != nil {
		bad(upstream.RuleForm, upstream.At(field), "not a duration")
	}
}

// Time is the duration that a document has under field; an empty one is 0.
func Time(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := duration.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", field, err)
	}
	return d, nil
}

// Pair names a template's two users where they are left out.
func Pair(mode upstream.Capability, template string, users []string) []string {
	if mode == upstream.Alternate && len(users) == 0 && template != "" {
		return []string{template + "_a", template + "_b"}
	}
	return users
}

// PairOfTemplate checks two users that take turns and get the rights of a template.
func PairOfTemplate(template string, users []string, bad upstream.Report) {
	switch {
	case template == "":
		bad(upstream.RuleAlternate, nil, "mode alternate without a template")
	case len(users) != 2:
		bad(upstream.RuleAlternate, upstream.At("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(users)))
	case users[0] == users[1]:
		bad(upstream.RuleAlternate, upstream.At("users"), "both users are the same")
	case users[0] == template || users[1] == template:
		bad(upstream.RuleAlternate, upstream.At("users"), "the template is one of the users")
	case users[0] == "" || users[1] == "":
		bad(upstream.RuleAlternate, upstream.At("users"), "a user has no name")
	}
}
