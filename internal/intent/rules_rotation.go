// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// rotationRules check one secret's rotation and its account.
func (c *checker) rotationRules(v *view, d *document, spec v1alpha1.RotationSpec) {
	t := at("spec", "rotation")
	if spec.PolicyRef != "" && v.policy[spec.PolicyRef] == nil {
		c.missing(d, "policy-dangling", t.to("policyRef"), "there is no RotationPolicy "+show(spec.PolicyRef))
	}
	c.rotatedBy(v, d, spec.RotatedBy)
	switch upstream := v.upstream[spec.UpstreamRef]; {
	case spec.UpstreamRef == "" && spec.Postgres != nil:
		c.fault(d, "account-kind", t.to("postgres"), "an account is given, and no upstream", "")
	case spec.UpstreamRef == "":
	case upstream == nil:
		c.missing(d, "upstream-dangling", t.to("upstreamRef"), "there is no Upstream "+show(spec.UpstreamRef))
	case upstream.value.(*v1alpha1.Upstream).Spec.Postgres != nil && spec.Postgres == nil:
		c.fault(d, "account-kind", t, "the upstream is PostgreSQL, and no postgres account is given", "")
	}
	if spec.Postgres != nil {
		c.accountForm(d, t.to("postgres"), spec)
	}
}

func (c *checker) rotatedBy(v *view, d *document, text string) {
	if text == "" || v.platform == nil {
		return
	}
	platform, environment, ok := strings.Cut(text, "/")
	t := at("spec", "rotation", "rotatedBy")
	switch {
	case !ok || !wellNamed(platform) || !wellNamed(environment):
		c.fault(d, "rotated-by", t, "rotatedBy is not PLATFORM/ENVIRONMENT", "")
	case platform == v.platform.name && !slices.Contains(v.environments(), environment):
		c.fault(d, "rotated-by", t, fmt.Sprintf("the platform has no environment %s", show(environment)), "")
	}
}

// accountForm checks the roles. PostgreSQL cuts names off after 63 bytes.
func (c *checker) accountForm(d *document, t trail, spec v1alpha1.RotationSpec) {
	account := *spec.Postgres
	role := func(step trail, name string) {
		if len(name) > 63 || strings.HasPrefix(name, "pg_") {
			c.fault(d, "account-role", step, "the role name is longer than 63 bytes or begins with pg_", "")
		}
	}
	switch account.Mode {
	case modeAlternate:
		resolved := accountDefaults(account)
		switch {
		case account.Owner == "":
			c.fault(d, "account-alternate", t, "mode alternate without an owner", "")
		case len(resolved.Users) != 2:
			c.fault(d, "account-alternate", t.to("users"), fmt.Sprintf("mode alternate wants two users, not %d", len(resolved.Users)), "")
		case resolved.Users[0] == resolved.Users[1]:
			c.fault(d, "account-alternate", t.to("users"), "both users are the same", "")
		case slices.Contains(resolved.Users, account.Owner):
			c.fault(d, "account-alternate", t.to("users"), "the owner is one of the users", "")
		case slices.Contains(resolved.Users, ""):
			c.fault(d, "account-alternate", t.to("users"), "a user has no name", "")
		}
		if account.User != "" {
			c.fault(d, "account-alternate", t.to("user"), "user belongs to mode overwrite", "")
		}
		role(t.to("owner"), account.Owner)
		for i, user := range resolved.Users {
			role(t.to("users", i), user)
		}
	case modeOverwrite:
		if account.User == "" {
			c.fault(d, "account-overwrite", t, "mode overwrite without a user", "")
		}
		if account.Owner != "" || len(account.Users) > 0 {
			c.fault(d, "account-overwrite", t, "owner and users belong to mode alternate", "")
		}
		if !spec.AllowInterruption {
			c.fault(d, "account-overwrite", t.to("mode"), "mode overwrite without allowInterruption: true", "")
		}
		role(t.to("user"), account.User)
	case "":
	default:
		c.fault(d, "account-mode", t.to("mode"), "there is no mode "+show(account.Mode), "")
	}
}

// accountRules find two secrets on one account. Roles are the server's, whichever Upstream document names it.
func (c *checker) accountRules(v *view) {
	taken := newClaims()
	for _, d := range v.secrets {
		rotation := d.value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil || rotation.Postgres == nil || v.upstream[rotation.UpstreamRef] == nil {
			continue
		}
		server := v.upstream[rotation.UpstreamRef].value.(*v1alpha1.Upstream).Spec.Postgres
		if server == nil {
			continue
		}
		address := fmt.Sprintf("%s:%d", strings.ToLower(server.Host), cmp.Or(server.Port, defaultPostgresPort))
		account := accountDefaults(*rotation.Postgres)
		roles := append([]string{account.Owner, account.User}, account.Users...)
		slices.Sort(roles)
		for _, role := range slices.Compact(roles) {
			if role == "" {
				continue
			}
			if first := taken.claim(address+"/"+role, d); first != nil {
				c.fault(d, "account-shared", at("spec", "rotation", "postgres"),
					fmt.Sprintf("the role %s on that server belongs to the secret at %s", show(role), first.position()), "")
			}
		}
	}
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

// upstreamRules check one upstream.
func (c *checker) upstreamRules(v *view, d *document) {
	spec := d.value.(*v1alpha1.Upstream).Spec
	if spec.Postgres == nil {
		if lookup(d.root, at("spec")) != nil {
			c.fault(d, "upstream-type", at("spec"), "the upstream has no type", "")
		}
		return
	}
	server, t := *spec.Postgres, at("spec", "postgres")
	bad := func(field, reason string) { c.fault(d, "upstream-form", t.to(field), reason, "") }
	if _, err := netip.ParseAddr(server.Host); err != nil && server.Host != "" &&
		!strings.HasPrefix(server.Host, "/") && !hostForm.MatchString(server.Host) {
		bad("host", "the host is neither a name, nor an address, nor the folder of a socket")
	}
	if server.Port < 0 || server.Port > 65535 {
		bad("port", fmt.Sprintf("there is no port %d", server.Port))
	}
	if server.CACertificate != "" && !certificates(server.CACertificate) {
		bad("caCertificate", "not a sequence of certificates in PEM")
	}
	switch server.TLS {
	case "", "verify-full", "verify-ca", "require":
	case "disable":
		if !local(server.Host) {
			c.fault(d, "upstream-tls", t.to("tls"), "TLS is disabled to a host that is neither loopback nor a socket", "")
		}
	default:
		c.fault(d, "upstream-tls", t.to("tls"), "there is no TLS mode "+show(server.TLS), "")
	}
	if server.AdminRef != "" && v.secret[server.AdminRef] == nil {
		c.missing(d, "admin-dangling", t.to("adminRef"), "there is no ManagedSecret "+show(server.AdminRef))
	}
}

// local reports whether what is sent to host stays on the machine.
func local(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.HasPrefix(host, "/") || strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
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

// adminCycles finds upstreams whose admin credentials need each other. An admin credential that rotates itself, on the
// upstream that it opens, is the one legal loop.
func (c *checker) adminCycles(v *view) {
	next := func(name string) string {
		server := v.upstream[name].value.(*v1alpha1.Upstream).Spec.Postgres
		if server == nil || v.secret[server.AdminRef] == nil {
			return ""
		}
		rotation := v.secret[server.AdminRef].value.(*v1alpha1.ManagedSecret).Spec.Rotation
		if rotation == nil || v.upstream[rotation.UpstreamRef] == nil || rotation.UpstreamRef == name {
			return ""
		}
		return rotation.UpstreamRef
	}
	for _, d := range v.upstreams {
		way := []string{d.name}
		// Each upstream leads to one other at most: following the way either ends, or comes back, or joins a loop that
		// is reported where it begins.
		for step := next(d.name); step != "" && !slices.Contains(way[1:], step); step = next(step) {
			way = append(way, step)
			if step == d.name {
				c.fault(d, "admin-cycle", at("spec", "postgres", "adminRef"),
					"the admin credentials of these upstreams need each other: "+strings.Join(way, ", "), "")
				break
			}
		}
	}
}
