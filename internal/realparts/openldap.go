// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"

	"github.com/go-ldap/ldap/v3"
)

const (
	ldapSuffix = "dc=example,dc=org"
	ldapRoot   = "cn=root," + ldapSuffix
	// LDAPServices is the name that the entries of a ServicesDirectory lie beneath.
	LDAPServices = "ou=services," + ldapSuffix
	// LDAPAdmin is the name of who may rotate them.
	LDAPAdmin = "cn=custody," + ldapSuffix
)

// servicesAccess is what the page of the ldap kind states, and no more.
const servicesAccess = `access to dn.subtree="ou=services,dc=example,dc=org" attrs=userPassword
  by dn.exact="cn=custody,dc=example,dc=org" write
  by anonymous auth
  by * none
access to dn.subtree="ou=services,dc=example,dc=org" attrs=description
  by dn.exact="cn=custody,dc=example,dc=org" write
  by * read
access to dn.subtree="ou=services,dc=example,dc=org"
  by dn.exact="cn=custody,dc=example,dc=org" read
  by * none
access to dn.exact="cn=custody,dc=example,dc=org" attrs=userPassword,description
  by self write
  by anonymous auth
  by * none
access to dn.exact="cn=custody,dc=example,dc=org"
  by self read
  by * none
access to attrs=userPassword
  by anonymous auth
  by * none
access to *
  by * none
`

// ErrNoOpenLDAP: no OpenLDAP server is installed here.
var ErrNoOpenLDAP = errors.New("no slapd found in PATH, /usr/sbin or /usr/libexec: install the package slapd")

// OpenLDAPOptions of a throw-away directory. The zero value is an mdb database with TLS, whose suffix is
// dc=example,dc=org, and which keeps when each entry last signed in.
type OpenLDAPOptions struct {
	// Modules are loaded besides back_mdb.
	Modules []string
	// Access holds lines of access control; the default lets everybody sign in and read all but passwords.
	Access string
	// Database holds more lines for the database: overlays and their settings.
	Database string
	// Entries is LDIF that is loaded after the suffix's own entry.
	Entries string
	// Bin is the slapd to run. Default: the one installed.
	Bin string
}

// OpenLDAP is a throw-away directory on loopback. Its methods are not for concurrent use.
type OpenLDAP struct {
	Host string
	// Port takes plain connections and StartTLS, TLSPort TLS from the first byte.
	Port, TLSPort int
	// Socket is the Unix socket.
	Socket string
	// CA is the certificate of the authority that vouches for the server, in PEM.
	CA string
	// Suffix is the name that all entries lie beneath.
	Suffix string
	// Root may do anything: fields username (a DN) and password.
	Root secret.Value

	dir     string
	bin     string
	options OpenLDAPOptions
	running *foreground
}

// Directory starts an OpenLDAP server that ends with the test. Without one installed, the test fails.
func Directory(t testing.TB, options OpenLDAPOptions) *OpenLDAP {
	t.Helper()
	server, err := StartOpenLDAP(t.Context(), shortDir(t, "custody-ldap-"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping slapd: %v", err)
		}
	})
	return server
}

// ServicesDirectory is a Directory with an administrator who may rotate the passwords of entries beneath LDAPServices, and
// the administrator's own, and nothing else. Access of options is not used.
func ServicesDirectory(t testing.TB, options OpenLDAPOptions) (server *OpenLDAP, admin secret.Value) {
	t.Helper()
	password, err := randomText()
	if err != nil {
		t.Fatal(err)
	}
	if admin, err = secret.Text(map[string]string{"username": LDAPAdmin, "password": password}); err != nil {
		t.Fatal(err)
	}
	options.Access = servicesAccess
	options.Entries = "dn: " + LDAPAdmin + "\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: custody\nuserPassword: " + password +
		"\n\ndn: " + LDAPServices + "\nobjectClass: organizationalUnit\nou: services\n\n" + options.Entries
	return Directory(t, options), admin
}

// StartOpenLDAP makes a directory in dir, which must be empty, and starts it. The caller stops it; should the calling
// process die first, the server dies with it.
func StartOpenLDAP(ctx context.Context, dir string, options OpenLDAPOptions) (*OpenLDAP, error) {
	bin, err := findProgram(options.Bin, "slapd", ErrNoOpenLDAP, "/usr/sbin/slapd", "/usr/libexec/slapd")
	if err != nil {
		return nil, err
	}
	password, err := randomText()
	if err != nil {
		return nil, err
	}
	root, err := secret.Text(map[string]string{"username": ldapRoot, "password": password})
	if err != nil {
		return nil, err
	}
	s := &OpenLDAP{
		Host: loopback, Socket: filepath.Join(dir, "s"), Suffix: ldapSuffix, Root: root, dir: dir, bin: bin, options: options,
	}
	if s.CA, err = issueLoopback(dir); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx, password); err != nil {
		return nil, err
	}
	for range portAttempts { // another process may take a port between the choice and the start
		if s.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if s.TLSPort, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = s.Start(ctx); err == nil || !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *OpenLDAP) initialise(ctx context.Context, password string) error {
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		return fmt.Errorf("making the directory's folder: %w", err)
	}
	access := s.options.Access
	if access == "" {
		access = "access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n"
	}
	modules := "moduleload back_mdb\n"
	for _, name := range s.options.Modules {
		modules += "moduleload " + name + "\n"
	}
	config := strings.NewReplacer("MODULES", modules, "ACCESS", access, "SUFFIX", s.Suffix, "ROOTDN", ldapRoot, "ROOTPW", password,
		"MORE", s.options.Database, "DIR", s.dir).Replace(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
MODULES
pidfile DIR/pid
argsfile DIR/args
TLSCACertificateFile DIR/ca.pem
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
ACCESS
database mdb
suffix SUFFIX
rootdn ROOTDN
rootpw ROOTPW
directory DIR/db
maxsize 67108864
dbnosync
lastbind on
MORE
`)
	entries := "dn: " + s.Suffix + "\nobjectClass: dcObject\nobjectClass: organization\no: example\ndc: example\n\n" + s.options.Entries
	for name, text := range map[string]string{"slapd.conf": config, "entries.ldif": entries} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	add := exec.CommandContext(ctx, s.bin, "-T", "add", "-f", filepath.Join(s.dir, "slapd.conf"), "-l", filepath.Join(s.dir, "entries.ldif"))
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("loading entries: %w: %s", err, out)
	}
	return nil
}

// Start starts a stopped server on the same ports and data, and returns when it takes sign-ins.
func (s *OpenLDAP) Start(ctx context.Context) error {
	if s.running.alive() {
		return nil
	}
	at := fmt.Sprintf("ldap://%s:%d ldaps://%s:%d ldapi://%s", s.Host, s.Port, s.Host, s.TLSPort, strings.ReplaceAll(s.Socket, "/", "%2f"))
	cmd := exec.Command(s.bin, "-f", filepath.Join(s.dir, "slapd.conf"), "-h", at, "-d", "stats")
	var err error
	if s.running, err = startForeground(cmd, filepath.Join(s.dir, "log"), syscall.SIGKILL); err != nil {
		return err
	}
	return s.running.await(ctx, s.Log, func(ctx context.Context) error { return s.As(ctx, s.Root, func(*ldap.Conn) error { return nil }) })
}

// As signs in over the Unix socket and does something there.
func (s *OpenLDAP) As(ctx context.Context, who secret.Value, do func(*ldap.Conn) error) error {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "unix", s.Socket)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	conn := ldap.NewConn(raw, false)
	conn.SetTimeout(probeLimit) // the library knows of no context
	conn.Start()
	defer func() { _ = conn.Close() }()
	if err := conn.Bind(who.ExposeText("username"), who.ExposeText("password")); err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	return do(conn)
}

// AddService makes the entry of a person beneath LDAPServices, without a password, and returns its name. Attributes add to
// what such an entry must have, or replace it.
func (s *OpenLDAP) AddService(ctx context.Context, name string, attributes map[string][]string) (dn string, err error) {
	request := ldap.NewAddRequest("cn="+name+","+LDAPServices, nil)
	request.Attribute("cn", []string{name})
	if attributes["objectClass"] == nil {
		request.Attribute("objectClass", []string{"person"})
		request.Attribute("sn", []string{name})
	}
	for attribute, values := range attributes {
		request.Attribute(attribute, values)
	}
	return request.DN, s.As(ctx, s.Root, func(conn *ldap.Conn) error { return conn.Add(request) })
}

// Values returns one attribute of an entry, operational ones too.
func (s *OpenLDAP) Values(ctx context.Context, dn, attribute string) ([]string, error) {
	var values []string
	err := s.As(ctx, s.Root, func(conn *ldap.Conn) error {
		found, err := conn.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
		if err != nil {
			return fmt.Errorf("reading %s: %w", dn, err)
		}
		for _, entry := range found.Entries {
			values = append(values, entry.GetAttributeValues(attribute)...)
		}
		return nil
	})
	return values, err
}

// Set replaces the values of one attribute; none removes it.
func (s *OpenLDAP) Set(ctx context.Context, dn, attribute string, values ...string) error {
	return s.As(ctx, s.Root, func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, values)
		return conn.Modify(request)
	})
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *OpenLDAP) Stop() error { return s.running.end(syscall.SIGTERM) }

// Log returns what the server has logged in its life.
func (s *OpenLDAP) Log() string { return readLog(filepath.Join(s.dir, "log")) }
