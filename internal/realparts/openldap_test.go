// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"

	"github.com/go-ldap/ldap/v3"
)

func TestOpenLDAPLivesAndDies(t *testing.T) {
	server := realparts.Directory(t, realparts.OpenLDAPOptions{
		Entries: "dn: cn=app,dc=example,dc=org\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: app\nuserPassword: first\n",
	})
	if err := server.Set(t.Context(), "cn=app,dc=example,dc=org", "description", "kept"); err != nil {
		t.Fatal(err)
	}
	wrong, err := secret.Text(map[string]string{"username": server.Root.ExposeText("username"), "password": "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.As(t.Context(), wrong, func(*ldap.Conn) error { return nil }); err == nil {
		t.Error("a wrong password signs in")
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.Values(t.Context(), server.Suffix, "o"); err == nil {
		t.Error("the server still answers")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	values, err := server.Values(t.Context(), "cn=app,dc=example,dc=org", "description")
	if err != nil || strings.Join(values, ",") != "kept" {
		t.Errorf("got %q, %v: data did not outlive a restart", values, err)
	}
}

// The administrator sets passwords of services, and no other's but its own.
func TestServicesDirectoryDelegatesServices(t *testing.T) {
	server, admin := realparts.ServicesDirectory(t, realparts.OpenLDAPOptions{
		Entries: "dn: cn=app,dc=example,dc=org\nobjectClass: person\ncn: app\nsn: app\n",
	})
	service, err := server.AddService(t.Context(), "wiki", map[string][]string{"description": {"the wiki's"}})
	if err != nil {
		t.Fatal(err)
	}
	for dn, may := range map[string]bool{service: true, realparts.LDAPAdmin: true, "cn=app,dc=example,dc=org": false} {
		err := server.As(t.Context(), admin, func(conn *ldap.Conn) error {
			request := ldap.NewModifyRequest(dn, nil)
			request.Add("userPassword", []string{"added"})
			return conn.Modify(request)
		})
		if (err == nil) != may {
			t.Errorf("setting the password of %s: got %v, want it taken: %v", dn, err, may)
		}
	}
}

func TestOpenLDAPNotInstalled(t *testing.T) {
	_, err := realparts.StartOpenLDAP(t.Context(), t.TempDir(), realparts.OpenLDAPOptions{Bin: os.DevNull})
	if !errors.Is(err, realparts.ErrNoOpenLDAP) || !strings.Contains(err.Error(), "install the package slapd") {
		t.Errorf("got %v, want what to install", err)
	}
}
