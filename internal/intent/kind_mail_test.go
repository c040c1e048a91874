// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/api/v1alpha1"

	"github.com/google/go-cmp/cmp"
)

func TestMailKind(t *testing.T) {
	type (
		server  = v1alpha1.MailUpstream
		account = v1alpha1.MailAccount
	)
	const entry = "cn=shop,dc=example,dc=org"
	table := func(spec *v1alpha1.UpstreamSpec) *v1alpha1.MailSQL {
		spec.AdminRef, spec.Mail.PasswdFile = "admin", nil
		spec.Mail.SQL = &v1alpha1.MailSQL{Type: "postgres", Host: "db.internal", Database: "mail", Table: "public.logins", SlotColumn: "slot"}
		return spec.Mail.SQL
	}
	directory := func(spec *v1alpha1.UpstreamSpec) *v1alpha1.LDAPUpstream {
		spec.AdminRef, spec.Mail.PasswdFile, spec.Mail.LDAP = "admin", nil, &v1alpha1.LDAPUpstream{Host: "ldap.internal"}
		return spec.Mail.LDAP
	}
	for _, test := range []struct {
		name   string
		change func(*v1alpha1.UpstreamSpec, *account)
		want   []string
	}{
		{"two files", func(*v1alpha1.UpstreamSpec, *account) {}, nil},
		{"two logins", func(_ *v1alpha1.UpstreamSpec, a *account) {
			*a = account{Mode: "alternate", Users: []string{"a@x", "b@x"}}
		}, nil},
		{"overwrite", func(_ *v1alpha1.UpstreamSpec, a *account) { a.Mode = "overwrite" }, nil},
		{"table", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s) }, nil},
		{"directory", func(s *v1alpha1.UpstreamSpec, a *account) { directory(s); a.Entries = []string{entry} }, nil},
		{"nowhere", func(s *v1alpha1.UpstreamSpec, a *account) { s.Mail.PasswdFile, a.Mode = nil, "overwrite" }, []string{"upstream-form the document"}},
		{"two places", func(s *v1alpha1.UpstreamSpec, _ *account) {
			file := s.Mail.PasswdFile
			table(s)
			s.Mail.PasswdFile = file
		}, []string{"upstream-form the document"}},
		{"file with an admin", func(s *v1alpha1.UpstreamSpec, _ *account) { s.AdminRef = "admin" }, []string{"admin-needed the document"}},
		{"table without one", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s); s.AdminRef = "" }, []string{"admin-needed the document"}},
		{"submission without TLS", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Submission.TLS = "disable" }, []string{"upstream-tls submission.tls"}},
		{"no such TLS", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Submission.TLS = "ssl" }, []string{"upstream-tls submission.tls"}},
		{"submission by socket", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Submission.Host = "/run/smtp" }, []string{"upstream-form submission.host"}},
		{"no such port", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Submission.Port = 70000 }, []string{"upstream-form submission.port"}},
		{"file outside", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.PasswdFile.File = "../shadow" }, []string{"upstream-form passwdFile.file"}},
		{"one file twice", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.PasswdFile.SecondFile = "./users" }, []string{"upstream-form passwdFile.secondFile"}},
		{"folder that is a path", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.PasswdFile.Folder = "/etc" }, []string{"upstream-form passwdFile.folder"}},
		{"durations that are none", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Settle, s.Mail.WrongEvery = "x", "y" },
			[]string{"upstream-form settle", "upstream-form wrongEvery"}},
		{"cost", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Cost = 4 }, nil},
		{"cost of a table", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s); s.Mail.Cost = 31 }, nil},
		{"too little of it", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Cost = 3 }, []string{"upstream-form cost"}},
		{"too much of it", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s); s.Mail.Cost = 32 }, []string{"upstream-form cost"}},
		{"cost of a directory", func(s *v1alpha1.UpstreamSpec, a *account) {
			directory(s)
			s.Mail.Cost, a.Entries = 10, []string{entry}
		}, []string{"upstream-form cost"}},
		{"a second to settle", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Settle = "1s" }, nil},
		{"less than a second", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.Settle = "900ms" }, []string{"upstream-form settle"}},
		{"nothing to settle in a table", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s); s.Mail.Settle = "0s" }, nil},
		{"dual with one file", func(s *v1alpha1.UpstreamSpec, _ *account) { s.Mail.PasswdFile.SecondFile = "" }, []string{"account-mode mode"}},
		{"dual without a slot", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s).SlotColumn = "" }, []string{"account-mode mode"}},
		{"table that is a statement", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s).Table = "a; DROP TABLE b" }, []string{"upstream-form sql.table"}},
		{"column that is one", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s).PasswordColumn = "a, b" }, []string{"upstream-form sql.passwordColumn"}},
		{"no such database", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s).Type = "sqlite" }, []string{"upstream-form sql.type"}},
		{"database without TLS", func(s *v1alpha1.UpstreamSpec, _ *account) { table(s).TLS = "disable" }, []string{"upstream-tls sql.tls"}},
		{"directory without TLS", func(s *v1alpha1.UpstreamSpec, a *account) { directory(s).TLS = "disable"; a.Entries = []string{entry} }, []string{"upstream-tls ldap.tls"}},
		{"directory without an entry", func(s *v1alpha1.UpstreamSpec, _ *account) { directory(s) }, []string{"account-form entries"}},
		{"entry that is none", func(s *v1alpha1.UpstreamSpec, a *account) { directory(s); a.Entries = []string{"shop"} }, []string{"account-form entries[0]"}},
		{"entry without a directory", func(_ *v1alpha1.UpstreamSpec, a *account) { a.Entries = []string{entry} }, []string{"account-form entries"}},
		{"one login twice", func(_ *v1alpha1.UpstreamSpec, a *account) { *a = account{Mode: "alternate", Users: []string{"a", "a"}} }, []string{"account-alternate users"}},
		{"one login", func(_ *v1alpha1.UpstreamSpec, a *account) { *a = account{Mode: "alternate", Users: []string{"a"}} }, []string{"account-alternate users"}},
		{"pair with a user", func(_ *v1alpha1.UpstreamSpec, a *account) {
			*a = account{Mode: "alternate", User: "c", Users: []string{"a", "b"}}
		}, []string{"account-alternate user"}},
		{"no login", func(_ *v1alpha1.UpstreamSpec, a *account) { *a = account{Mode: "overwrite"} }, []string{"account-overwrite the document"}},
		{"login that is a line", func(_ *v1alpha1.UpstreamSpec, a *account) { a.User = "shop:x" }, []string{"account-form the document"}},
		{"no such mode", func(_ *v1alpha1.UpstreamSpec, a *account) { a.Mode = "triple" }, []string{"account-mode mode"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := v1alpha1.UpstreamSpec{Mail: &server{
				Submission: v1alpha1.MailSubmission{Host: "mail.internal"},
				PasswdFile: &v1alpha1.MailPasswdFile{Folder: "mail", File: "users", SecondFile: "users.next"},
			}}
			a := account{Mode: "dual", User: "shop@example.org"}
			test.change(&spec, &a)
			k := mailKind()
			k.serverDefaults(&spec)
			if diff := cmp.Diff(test.want, ldapFaults(k, spec, v1alpha1.RotationSpec{Account: v1alpha1.Account{Mail: &a}})); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMailClaims(t *testing.T) {
	k := mailKind()
	for name, c := range map[string]struct {
		server v1alpha1.MailUpstream
		want   []string
	}{
		"file":      {v1alpha1.MailUpstream{PasswdFile: &v1alpha1.MailPasswdFile{Folder: "mail", File: "./users"}}, []string{"folder mail/users/a@x", "folder mail/users/b@x"}},
		"table":     {v1alpha1.MailUpstream{SQL: &v1alpha1.MailSQL{Type: "mysql", Host: "DB", Database: "mail", Table: "t"}}, []string{"db:3306/mail/t/a@x", "db:3306/mail/t/b@x"}},
		"directory": {v1alpha1.MailUpstream{LDAP: &v1alpha1.LDAPUpstream{Host: "ldap"}}, []string{"ldap:636/cn=a,dc=x", "ldap:636/cn=b,dc=x"}},
		"nowhere":   {},
	} {
		spec := v1alpha1.UpstreamSpec{Mail: &c.server}
		k.serverDefaults(&spec)
		account := v1alpha1.MailAccount{Mode: "alternate", Users: []string{"a@x", "b@x"}, Entries: []string{"cn=a,dc=x", "cn=b,dc=x"}}
		if diff := cmp.Diff(c.want, k.claims(spec, v1alpha1.RotationSpec{Account: v1alpha1.Account{Mail: &account}})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Where passwords are kept in a file, the host names its folder: elsewhere the file would not be found when it is needed.
func TestMailFolderIsTheHosts(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	for _, test := range []struct {
		name string
		host *v1alpha1.HostSpec
		want []string
	}{
		{"the host names it", &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: map[string]string{"app": "out", "mail": "/etc/dovecot"}}, nil},
		{"the host does not", &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: map[string]string{"app": "out"}}, []string{`host-name the host has no folder "mail" (it has: app)`}},
		{"no host", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer(
				"exec: EXEC", "mail: {submission: {host: mail.internal}, passwdFile: {folder: mail, file: users}}", "RECIPIENT", recipient,
				"FIRST", "allowInterruption: true, mail: {mode: overwrite, user: one}", "SECOND", "mail: {mode: alternate, users: [two, three]}",
			).Replace(execEstate)
			_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, Options{Environment: "prod", Host: test.host})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Rule+" "+f.Reason)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, faults)
			}
		})
	}
}
