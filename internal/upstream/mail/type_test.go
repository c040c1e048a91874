// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// declared is an Upstream in brief.
type declared struct {
	AdminRef string
	Mail     *ServerSpec
}

func TestMailKind(t *testing.T) {
	type (
		account = AccountSpec
	)
	const entry = "cn=shop,dc=example,dc=org"
	table := func(spec *declared) *SQLSpec {
		spec.AdminRef, spec.Mail.PasswdFile = "admin", nil
		spec.Mail.SQL = &SQLSpec{Type: "postgres", Host: "db.internal", Database: "mail", Table: "public.logins", SlotColumn: "slot"}
		return spec.Mail.SQL
	}
	directory := func(spec *declared) *ldap.ServerSpec {
		spec.AdminRef, spec.Mail.PasswdFile, spec.Mail.LDAP = "admin", nil, &ldap.ServerSpec{Host: "ldap.internal"}
		return spec.Mail.LDAP
	}
	for _, test := range []struct {
		name   string
		change func(*declared, *account)
		want   []string
	}{
		{"two files", func(*declared, *account) {}, nil},
		{"two logins", func(_ *declared, a *account) {
			*a = account{Mode: "alternate", Users: []string{"a@x", "b@x"}}
		}, nil},
		{"overwrite", func(_ *declared, a *account) { a.Mode = "overwrite" }, nil},
		{"table", func(s *declared, _ *account) { table(s) }, nil},
		{"directory", func(s *declared, a *account) { directory(s); a.Entries = []string{entry} }, nil},
		{"nowhere", func(s *declared, a *account) { s.Mail.PasswdFile, a.Mode = nil, "overwrite" }, []string{"upstream-form"}},
		{"two places", func(s *declared, _ *account) {
			file := s.Mail.PasswdFile
			table(s)
			s.Mail.PasswdFile = file
		}, []string{"upstream-form"}},
		{"file with an admin", func(s *declared, _ *account) { s.AdminRef = "admin" }, []string{"admin-needed"}},
		{"table without one", func(s *declared, _ *account) { table(s); s.AdminRef = "" }, []string{"admin-needed"}},
		{"submission without TLS", func(s *declared, _ *account) { s.Mail.Submission.TLS = "disable" }, []string{"upstream-tls submission.tls"}},
		{"no such TLS", func(s *declared, _ *account) { s.Mail.Submission.TLS = "ssl" }, []string{"upstream-tls submission.tls"}},
		{"submission by socket", func(s *declared, _ *account) { s.Mail.Submission.Host = "/run/smtp" }, []string{"upstream-form submission.host"}},
		{"no such port", func(s *declared, _ *account) { s.Mail.Submission.Port = 70000 }, []string{"upstream-form submission.port"}},
		{"file outside", func(s *declared, _ *account) { s.Mail.PasswdFile.File = "../shadow" }, []string{"upstream-form passwdFile.file"}},
		{"one file twice", func(s *declared, _ *account) { s.Mail.PasswdFile.SecondFile = "./users" }, []string{"upstream-form passwdFile.secondFile"}},
		{"folder that is a path", func(s *declared, _ *account) { s.Mail.PasswdFile.Folder = "/etc" }, []string{"upstream-form passwdFile.folder"}},
		{"durations that are none", func(s *declared, _ *account) { s.Mail.Settle, s.Mail.WrongEvery = "x", "y" },
			[]string{"upstream-form settle", "upstream-form wrongEvery"}},
		{"cost", func(s *declared, _ *account) { s.Mail.Cost = 4 }, nil},
		{"cost of a table", func(s *declared, _ *account) { table(s); s.Mail.Cost = 31 }, nil},
		{"too little of it", func(s *declared, _ *account) { s.Mail.Cost = 3 }, []string{"upstream-form cost"}},
		{"too much of it", func(s *declared, _ *account) { table(s); s.Mail.Cost = 32 }, []string{"upstream-form cost"}},
		{"cost of a directory", func(s *declared, a *account) {
			directory(s)
			s.Mail.Cost, a.Entries = 10, []string{entry}
		}, []string{"upstream-form cost"}},
		{"a second to settle", func(s *declared, _ *account) { s.Mail.Settle = "1s" }, nil},
		{"less than a second", func(s *declared, _ *account) { s.Mail.Settle = "900ms" }, []string{"upstream-form settle"}},
		{"nothing to settle in a table", func(s *declared, _ *account) { table(s); s.Mail.Settle = "0s" }, nil},
		{"dual with one file", func(s *declared, _ *account) { s.Mail.PasswdFile.SecondFile = "" }, []string{"account-mode mode"}},
		{"dual without a slot", func(s *declared, _ *account) { table(s).SlotColumn = "" }, []string{"account-mode mode"}},
		{"table that is a statement", func(s *declared, _ *account) { table(s).Table = "a; DROP TABLE b" }, []string{"upstream-form sql.table"}},
		{"column that is one", func(s *declared, _ *account) { table(s).PasswordColumn = "a, b" }, []string{"upstream-form sql.passwordColumn"}},
		{"no such database", func(s *declared, _ *account) { table(s).Type = "sqlite" }, []string{"upstream-form sql.type"}},
		{"database without TLS", func(s *declared, _ *account) { table(s).TLS = "disable" }, []string{"upstream-tls sql.tls"}},
		{"directory without TLS", func(s *declared, a *account) { directory(s).TLS = "disable"; a.Entries = []string{entry} }, []string{"upstream-tls ldap.tls"}},
		{"directory without an entry", func(s *declared, _ *account) { directory(s) }, []string{"account-form entries"}},
		{"entry that is none", func(s *declared, a *account) { directory(s); a.Entries = []string{"shop"} }, []string{"account-form entries[0]"}},
		{"entry without a directory", func(_ *declared, a *account) { a.Entries = []string{entry} }, []string{"account-form entries"}},
		{"one login twice", func(_ *declared, a *account) { *a = account{Mode: "alternate", Users: []string{"a", "a"}} }, []string{"account-alternate users"}},
		{"one login", func(_ *declared, a *account) { *a = account{Mode: "alternate", Users: []string{"a"}} }, []string{"account-alternate users"}},
		{"pair with a user", func(_ *declared, a *account) {
			*a = account{Mode: "alternate", User: "c", Users: []string{"a", "b"}}
		}, []string{"account-alternate user"}},
		{"no login", func(_ *declared, a *account) { *a = account{Mode: "overwrite"} }, []string{"account-overwrite"}},
		{"login that is a line", func(_ *declared, a *account) { a.User = "shop:x" }, []string{"account-form"}},
		{"no such mode", func(_ *declared, a *account) { a.Mode = "triple" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := declared{Mail: &ServerSpec{
				Submission: SubmissionSpec{Host: "mail.internal"},
				PasswdFile: &PasswdFileSpec{Folder: "mail", File: "users", SecondFile: "users.next"},
			}}
			a := account{Mode: "dual", User: "shop@example.org"}
			test.change(&spec, &a)
			if diff := cmp.Diff(test.want, upstreamtest.Faults(Type(), spec.AdminRef != "", spec.Mail, &a)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMailClaims(t *testing.T) {
	for name, c := range map[string]struct {
		server ServerSpec
		want   []string
	}{
		"file":      {ServerSpec{PasswdFile: &PasswdFileSpec{Folder: "mail", File: "./users"}}, []string{"folder mail/users/a@x", "folder mail/users/b@x"}},
		"table":     {ServerSpec{SQL: &SQLSpec{Type: "mysql", Host: "DB", Database: "mail", Table: "t"}}, []string{"db:3306/mail/t/a@x", "db:3306/mail/t/b@x"}},
		"directory": {ServerSpec{LDAP: &ldap.ServerSpec{Host: "ldap"}}, []string{"ldap:636/cn=a,dc=x", "ldap:636/cn=b,dc=x"}},
		"nowhere":   {},
	} {
		account := AccountSpec{Mode: "alternate", Users: []string{"a@x", "b@x"}, Entries: []string{"cn=a,dc=x", "cn=b,dc=x"}}
		if diff := cmp.Diff(c.want, Type().Claims(Type().Defaults(&c.server), &account)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMailDocumentReachesTheUpstream(t *testing.T) {
	made, err := Type().Open(upstream.Binding{
		Claim: "shop/test/relay", Known: func(context.Context) ([]secret.Value, error) { return nil, nil },
		Password: func(io.Reader) (string, error) { return "made-by-rule", nil }, Host: folders{"mail": t.TempDir()},
	}, &ServerSpec{
		Submission: SubmissionSpec{Host: "mail.internal"}, Cost: 5, Settle: "1s", PasswdFile: &PasswdFileSpec{Folder: "mail", File: "users"},
	}, &AccountSpec{Mode: "overwrite", User: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	u := made.(*Upstream)
	if u.Cost != 5 || u.Kind().Settle != time.Second || u.Known == nil {
		t.Errorf("got cost %d, settling in %s, known credentials: %v; want 5, 1s and some", u.Cost, u.Kind().Settle, u.Known != nil)
	}
}

// folders is a host that names no programs.
type folders map[string]string

func (f folders) Program(string) (upstream.Program, error) {
	return upstream.Program{}, errors.New("none")
}
func (f folders) Folder(name string) (string, error) { return f[name], nil }
