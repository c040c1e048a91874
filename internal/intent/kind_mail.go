// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/transport"

	"golang.org/x/crypto/bcrypt"
)

// mailRereads is how long Dovecot may go by a passwd-file that was replaced.
const mailRereads = time.Second

// mailKind: logins of a mail server, whose passwords are kept in a file of the host, a table or a directory.
func mailKind() kind {
	return kind{
		name: "mail", admin: adminOptional,
		serverDefaults: func(spec *v1alpha1.UpstreamSpec) {
			server := mailDefaults(*spec.Mail)
			spec.Mail = &server
		},
		server:     mailServer,
		account:    mailAccount,
		interrupts: func(rotation v1alpha1.RotationSpec) bool { return rotation.Mail.Mode == modeOverwrite },
		claims:     mailClaims,
		endpoints:  mailEndpoints,
	}
}

func mailDefaults(server v1alpha1.MailUpstream) v1alpha1.MailUpstream {
	server.Submission.TLS = cmp.Or(server.Submission.TLS, "starttls")
	if server.Submission.TLS == "tls" {
		server.Submission.Port = cmp.Or(server.Submission.Port, 465)
	}
	server.Submission.Port = cmp.Or(server.Submission.Port, 587)
	if server.PasswdFile != nil || server.SQL != nil {
		server.Cost = cmp.Or(server.Cost, 10)
	}
	if server.PasswdFile != nil {
		server.Settle = cmp.Or(server.Settle, "2s")
	}
	if server.SQL != nil {
		table := *server.SQL
		if table.Type == "mysql" {
			table.Port = cmp.Or(table.Port, 3306)
		}
		table.Port = cmp.Or(table.Port, 5432)
		table.TLS = cmp.Or(table.TLS, "verify-full")
		table.UserColumn = cmp.Or(table.UserColumn, "username")
		table.PasswordColumn = cmp.Or(table.PasswordColumn, "password")
		table.MarkerColumn = cmp.Or(table.MarkerColumn, "custody")
		server.SQL = &table
	}
	if server.LDAP != nil {
		directory := ldapDefaults(*server.LDAP)
		server.LDAP = &directory
	}
	return server
}

// mailClaims are the logins where they are kept: two Upstream documents may name one table.
func mailClaims(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec) []string {
	server, account := *spec.Mail, *rotation.Mail
	logins := append([]string{account.User}, account.Users...)
	switch {
	case server.PasswdFile != nil:
		return claimsAt("folder "+server.PasswdFile.Folder+"/"+filepath.Clean(server.PasswdFile.File), logins...)
	case server.SQL != nil:
		return claimsAt(fmt.Sprintf("%s:%d/%s/%s", strings.ToLower(server.SQL.Host), server.SQL.Port, server.SQL.Database, server.SQL.Table), logins...)
	case server.LDAP != nil:
		return ldapClaims(*server.LDAP, v1alpha1.LDAPAccount{Entries: account.Entries})
	}
	return nil
}

var (
	mailTable  = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)
	mailColumn = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)
	mailLogin  = lazyregexp.New(`^[^\s:#\x00]+$`)
)

func mailServer(spec v1alpha1.UpstreamSpec, bad report) {
	server := *spec.Mail
	mailSubmission(server.Submission, mailWithin(bad, "submission"))
	switch places := given(server); {
	case len(places) == 0:
		bad("upstream-form", nil, "none of passwdFile, sql and ldap says where passwords are kept")
		return
	case len(places) > 1:
		bad("upstream-form", nil, "passwords are kept in several places: "+strings.Join(places, ", "))
		return
	}
	switch {
	case server.PasswdFile != nil:
		mailFile(*server.PasswdFile, mailWithin(bad, "passwdFile"))
		if spec.AdminRef != "" {
			bad("admin-needed", nil, "a passwd-file has no use for an adminRef")
		}
		if settle, err := ParseDuration(server.Settle); err == nil && settle < mailRereads {
			bad("upstream-form", at("settle"), "less than 1s, and Dovecot looks at a passwd-file once a second at most")
		}
	case server.SQL != nil:
		mailSQL(*server.SQL, mailWithin(bad, "sql"))
	case server.LDAP != nil:
		ldapServer(*server.LDAP, mailWithin(bad, "ldap"))
	}
	if server.PasswdFile == nil && spec.AdminRef == "" {
		bad("admin-needed", nil, "passwords kept in a table or a directory, without an adminRef")
	}
	switch {
	case server.Cost != 0 && server.LDAP != nil:
		bad("upstream-form", at("cost"), "cost belongs to passwords kept in a passwd-file or a table")
	case server.Cost != 0 && (server.Cost < bcrypt.MinCost || server.Cost > bcrypt.MaxCost):
		bad("upstream-form", at("cost"), fmt.Sprintf("not a cost from %d to %d", bcrypt.MinCost, bcrypt.MaxCost))
	}
	ldapDuration("settle", server.Settle, bad)
	ldapDuration("wrongEvery", server.WrongEvery, bad)
}

// mailWithin reports faults one step further in.
func mailWithin(bad report, step string) report {
	return func(rule string, where trail, reason string) { bad(rule, at(step).to(where...), reason) }
}

func mailSubmission(server v1alpha1.MailSubmission, bad report) {
	hostRule(server.Host, bad)
	if strings.HasPrefix(server.Host, "/") {
		bad("upstream-form", at("host"), "submission has no socket")
	}
	portRule(server.Port, bad)
	certificateRule(server.CACertificate, bad)
	switch server.TLS {
	case "starttls", "tls":
	case "disable":
		if !transport.Local(server.Host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is not loopback")
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(server.TLS))
	}
}

func mailFile(file v1alpha1.MailPasswdFile, bad report) {
	if file.Folder != "" && !wellNamed(file.Folder) {
		bad("upstream-form", at("folder"), "not the name of a folder in the host's configuration")
	}
	if file.File != "" && !filepath.IsLocal(file.File) {
		bad("upstream-form", at("file"), "the file does not lie beneath its folder")
	}
	if file.SecondFile != "" && (!filepath.IsLocal(file.SecondFile) || filepath.Clean(file.SecondFile) == filepath.Clean(file.File)) {
		bad("upstream-form", at("secondFile"), "not another file beneath the folder")
	}
}

// mailFolderRule holds passwords that are kept in a file to the folders that the host names.
func (c *checker) mailFolderRule(d *document, spec v1alpha1.UpstreamSpec) {
	if c.options.Host == nil || spec.Mail == nil || spec.Mail.PasswdFile == nil || spec.Mail.PasswdFile.Folder == "" {
		return
	}
	folder := spec.Mail.PasswdFile.Folder
	if known := slices.Sorted(maps.Keys(c.options.Host.Folders)); !slices.Contains(known, folder) {
		c.fault(d, "host-name", at("spec", "mail", "passwdFile", "folder"),
			fmt.Sprintf("the host has no folder %s (it has: %s)", show(folder), listed(known)), "")
	}
}

func mailSQL(table v1alpha1.MailSQL, bad report) {
	if table.Type != "" && table.Type != "postgres" && table.Type != "mysql" {
		bad("upstream-form", at("type"), "there is no type of database "+show(table.Type))
	}
	hostRule(table.Host, bad)
	portRule(table.Port, bad)
	certificateRule(table.CACertificate, bad)
	switch table.TLS {
	case "verify-full":
	case "disable":
		if !transport.Local(table.Host) {
			bad("upstream-tls", at("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad("upstream-tls", at("tls"), "there is no TLS mode "+show(table.TLS))
	}
	if table.Table != "" && !mailTable.MatchString(table.Table) {
		bad("upstream-form", at("table"), "not the name of a table")
	}
	for _, column := range []struct{ step, name string }{
		{"userColumn", table.UserColumn}, {"passwordColumn", table.PasswordColumn}, {"markerColumn", table.MarkerColumn}, {"slotColumn", table.SlotColumn},
	} {
		if column.name != "" && !mailColumn.MatchString(column.name) {
			bad("upstream-form", at(column.step), "not the name of a column")
		}
	}
}

func mailAccount(spec v1alpha1.UpstreamSpec, rotation v1alpha1.RotationSpec, bad report) {
	server, account := *spec.Mail, *rotation.Mail
	logins := 1
	switch account.Mode {
	case modeAlternate:
		logins = 2
		switch {
		case len(account.Users) != 2:
			bad("account-alternate", at("users"), fmt.Sprintf("mode alternate wants two logins, not %d", len(account.Users)))
		case slices.Contains(account.Users, ""):
			bad("account-alternate", at("users"), "a login has no name")
		case account.Users[0] == account.Users[1]:
			bad("account-alternate", at("users"), "both logins are the same")
		}
		if account.User != "" {
			bad("account-alternate", at("user"), "user belongs to the modes dual and overwrite")
		}
	case modeOverwrite, ldapDual:
		rule := "account-overwrite"
		if account.Mode == ldapDual {
			rule = "account-form"
			mailDual(server, bad)
		}
		if account.User == "" {
			bad(rule, nil, "mode "+account.Mode+" without a user")
		}
		if len(account.Users) > 0 {
			bad(rule, at("users"), "users belongs to mode alternate")
		}
	case "":
		return
	default:
		bad("account-mode", at("mode"), "there is no mode "+show(account.Mode))
		return
	}
	for _, login := range append([]string{account.User}, account.Users...) {
		if login != "" && !mailLogin.MatchString(login) {
			bad("account-form", nil, "a login has a space, a colon or a hash sign in it")
		}
	}
	switch {
	case server.LDAP == nil && len(account.Entries) > 0:
		bad("account-form", at("entries"), "entries belongs to passwords kept in a directory")
	case server.LDAP != nil && len(account.Entries) != logins:
		bad("account-form", at("entries"), fmt.Sprintf("mode %s wants the names of %d entries, not %d", account.Mode, logins, len(account.Entries)))
	}
	for i, dn := range account.Entries {
		if !ldapName.MatchString(dn) {
			bad("account-form", at("entries", i), "not a distinguished name")
		}
	}
}

// mailDual checks that there is room for a second password.
func mailDual(server v1alpha1.MailUpstream, bad report) {
	switch {
	case server.PasswdFile != nil && server.PasswdFile.SecondFile == "":
		bad("account-mode", at("mode"), "mode dual, and the upstream names no secondFile")
	case server.SQL != nil && server.SQL.SlotColumn == "":
		bad("account-mode", at("mode"), "mode dual, and the upstream names no slotColumn")
	case server.LDAP != nil && server.LDAP.Hash == "server":
		bad("account-mode", at("mode"), "a password that the server hashes replaces all others, so mode dual needs another hash")
	}
}

// mailEndpoints are where logins are tried, and where their passwords are kept. A passwd-file is in a folder of the host's.
func mailEndpoints(spec v1alpha1.UpstreamSpec) []string {
	server := spec.Mail
	relay := server.Submission
	all := []string{addressOf(relay.Host, relay.Port, relay.TLS, relay.CACertificate)}
	if table := server.SQL; table != nil {
		at := addressOf
		if table.Type == "postgres" {
			at = postgresAt
		}
		all = append(all, at(table.Host, table.Port, table.TLS, table.CACertificate))
	}
	if server.LDAP != nil {
		all = append(all, ldapEndpoints(*server.LDAP)...)
	}
	return all
}
