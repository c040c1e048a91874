// SPDX-License-Identifier: Apache-2.0

package ldap_test

import (
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestSuite(t *testing.T) {
	plain := newRig(t, realparts.OpenLDAPOptions{Modules: []string{"pw-sha2", "argon2"}})
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name   string
		mode   upstream.Capability
		change func(*ldap.Config)
	}{
		{"dual", upstream.Dual, func(*ldap.Config) {}},
		{"alternate", upstream.Alternate, func(c *ldap.Config) { c.LastUse = "pwdLastSuccess" }},
		{"overwrite", upstream.Overwrite, func(*ldap.Config) {}},
		{"dual over StartTLS, SSHA512", upstream.Dual, func(c *ldap.Config) {
			c.Server.TLS, c.Server.Port, c.Hash = ldap.StartTLS, plain.server.Port, ldap.SSHA512
		}},
		{"overwrite, hashed by the server", upstream.Overwrite, func(c *ldap.Config) { c.Hash = ldap.ByServer }},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := plain.on(t)
			config := r.config(test.mode)
			test.change(&config)
			return r.fixture(config)
		}})
	}
	upstreamtest.Forms(t, forms)
	if log := plain.server.Log(); !strings.Contains(log, "BIND dn=") {
		t.Error("the server did not log sign-ins: the search of its log proves nothing")
	}
}

// With a password policy that keeps a history, locks accounts out, and tells nobody.
func TestSuiteUnderPasswordPolicy(t *testing.T) {
	lenient := newRig(t, policed("", "pwdInHistory: 3", "pwdLockout: TRUE", "pwdMaxFailure: 40", "pwdCheckQuality: 1", "pwdMinLength: 8"))
	strict := newRig(t, policed("", "pwdInHistory: 3", "pwdCheckQuality: 2", "pwdMinLength: 8"))
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name string
		rig  *rig
		mode upstream.Capability
		hash string
	}{
		{"dual", lenient, upstream.Dual, ""},
		{"alternate", lenient, upstream.Alternate, ""},
		{"overwrite", lenient, upstream.Overwrite, ""},
		{"alternate, hashed by the server", strict, upstream.Alternate, ldap.ByServer},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := test.rig.on(t)
			config := r.config(test.mode)
			config.Hash = test.hash
			fixture := r.fixture(config)
			if test.hash == ldap.ByServer {
				fixture.Refused = func(t *testing.T, v secret.Value) secret.Value {
					return upstreamtest.Login(t, v.ExposeText("username"), "sh0rt-")
				}
			}
			return fixture
		}})
	}
	upstreamtest.Forms(t, forms)
}
