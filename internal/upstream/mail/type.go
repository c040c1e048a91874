// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/fields"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/login"

	"golang.org/x/crypto/bcrypt"
)

// ServerSpec is a mail server. submission says where Custody tries passwords. Exactly one of passwdFile, sql and ldap
// says where they are stored.
type ServerSpec struct {
	// The submission service, where Custody tries a password by signing in.
	Submission SubmissionSpec `json:"submission"`
	// Passwords are in a passwd-file of Dovecot on this host. It needs no adminRef.
	PasswdFile *PasswdFileSpec `json:"passwdFile,omitempty"`
	// Passwords are in a database table.
	SQL *SQLSpec `json:"sql,omitempty"`
	// Passwords are in a directory. The account must then name its entries.
	LDAP *ldap.ServerSpec `json:"ldap,omitempty"`
	// passwdFile, sql: cost of the bcrypt hashes that Custody writes, 4 to 31. Each step doubles the work of the server
	// for a sign-in. Default 10. For a generated password of 32 characters 4 is enough, because nobody can guess it
	// anyway.
	Cost int `json:"cost,omitempty"`
	// How long the server may use old passwords from a cache or a replica, such as Dovecot's auth_cache_ttl. Default 2s
	// with passwdFile, and at least 1s there, because Dovecot checks the file at most once a second; otherwise 0s.
	Settle string `json:"settle,omitempty"`
	// Minimum time between two sign-ins of Custody that are refused, for servers that lock accounts or addresses.
	// Default: no limit.
	WrongEvery string `json:"wrongEvery,omitempty"`
}

// SubmissionSpec is a server that accepts mail for submission and supports AUTH PLAIN.
type SubmissionSpec struct {
	// Host name or IP address.
	Host string `json:"host"`
	// Port. Default 587, with tls: tls 465.
	Port int `json:"port,omitempty"`
	// TLS mode: starttls (default), tls (from the first byte) or disable. disable is allowed only for loopback
	// addresses.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
}

// PasswdFileSpec is a file with one line for each user.
type PasswdFileSpec struct {
	// Name of a folder from folders in the host file.
	Folder string `json:"folder"`
	// Path of the file, relative to that folder.
	File string `json:"file"`
	// mode dual: path of the file of Dovecot's second passdb, relative to that folder.
	SecondFile string `json:"secondFile,omitempty"`
}

// SQLSpec is a database table with one row for each user.
type SQLSpec struct {
	// postgres, or mysql (also for MariaDB).
	Type string `json:"type"`
	// Host name, IP address, or path of the Unix socket (postgres: of its folder).
	Host string `json:"host"`
	// Port. Default 5432 (postgres) or 3306 (mysql).
	Port int `json:"port,omitempty"`
	// Database that has the table.
	Database string `json:"database"`
	// TLS mode: verify-full (default) or disable. disable is allowed only for loopback addresses and sockets.
	TLS string `json:"tls,omitempty"`
	// PEM certificate of the CA that signs the server's certificate. Default: the CAs of the system.
	CACertificate string `json:"caCertificate,omitempty"`
	// Name of the table, with its schema if it needs one.
	Table string `json:"table"`
	// Column with the name of the user. Default username.
	UserColumn string `json:"userColumn,omitempty"`
	// Column with the hash. Default password.
	PasswordColumn string `json:"passwordColumn,omitempty"`
	// Column in which Custody keeps its marker (claim and run id): text of at least 1024 characters. Default custody.
	MarkerColumn string `json:"markerColumn,omitempty"`
	// mode dual: column that is 1 in the row for Dovecot's first passdb and 2 in the row for the second.
	SlotColumn string `json:"slotColumn,omitempty"`
}

// AccountSpec names the mail login or logins of one secret. They must exist.
type AccountSpec struct {
	// dual (one login in two passdbs), alternate (two logins that take turns) or overwrite (one login).
	Mode upstream.Capability `json:"mode"`
	// dual, overwrite: the login.
	User string `json:"user,omitempty"`
	// alternate: the two logins.
	Users []string `json:"users,omitempty"`
	// ldap: distinguished names of the entries of user or users, in the same order.
	Entries []string `json:"entries,omitempty"`
}

// Type is logins of a mail server, whose passwords are kept in a file of the host, a table or a directory.
func Type() upstream.Type {
	return upstream.Typed[ServerSpec, AccountSpec]{
		Name: "mail", Defaults: defaults, Check: checkServer, CheckAccount: checkAccount, Claims: claims, Endpoints: endpoints,
		AdminFields: func(server ServerSpec) []upstream.OneOf {
			switch {
			case server.SQL != nil:
				return login.AdminFields(server.SQL.Host)
			case server.LDAP != nil:
				return login.AdminFields(server.LDAP.Host)
			}
			return nil
		},
		Interrupts: func(_ ServerSpec, account AccountSpec) bool { return account.Mode == upstream.Overwrite },
		Picks: func(server ServerSpec) []upstream.Pick {
			if server.PasswdFile == nil {
				return nil
			}
			return []upstream.Pick{{From: upstream.HostFolder, Name: server.PasswdFile.Folder, At: upstream.At("passwdFile", "folder")}}
		},
		Describe: describe, Open: openAccount,
	}.Type()
}

func defaults(server *ServerSpec) {
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
		if table.Type == MySQL {
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
		directory := *server.LDAP
		ldap.Defaults(&directory)
		server.LDAP = &directory
	}
}

// claims are the logins where they are kept: two Upstream documents may name one table.
func claims(server ServerSpec, account AccountSpec) []string {
	logins := append([]string{account.User}, account.Users...)
	switch {
	case server.PasswdFile != nil:
		return fields.Claims("folder "+server.PasswdFile.Folder+"/"+filepath.Clean(server.PasswdFile.File), logins...)
	case server.SQL != nil:
		return fields.Claims(fmt.Sprintf("%s:%d/%s/%s", strings.ToLower(server.SQL.Host), server.SQL.Port, server.SQL.Database, server.SQL.Table), logins...)
	case server.LDAP != nil:
		return ldap.Claims(*server.LDAP, ldap.AccountSpec{Entries: account.Entries})
	}
	return nil
}

func checkServer(server ServerSpec, admin bool, bad upstream.Report) {
	checkSubmission(server.Submission, bad.Under("submission"))
	switch places := server.places(); {
	case len(places) == 0:
		bad(upstream.RuleForm, nil, "none of passwdFile, sql and ldap says where passwords are kept")
		return
	case len(places) > 1:
		bad(upstream.RuleForm, nil, "passwords are kept in several places: "+strings.Join(places, ", "))
		return
	}
	switch {
	case server.PasswdFile != nil:
		checkFile(*server.PasswdFile, bad.Under("passwdFile"))
		if admin {
			bad(upstream.RuleAdmin, nil, "a passwd-file has no use for an adminRef")
		}
		if settle, err := duration.Parse(server.Settle); err == nil && settle < rereads {
			bad(upstream.RuleForm, upstream.At("settle"), "less than 1s, and Dovecot looks at a passwd-file once a second at most")
		}
	case server.SQL != nil:
		checkSQL(*server.SQL, bad.Under("sql"))
	case server.LDAP != nil:
		ldap.CheckServer(*server.LDAP, bad.Under("ldap"))
	}
	if server.PasswdFile == nil && !admin {
		bad(upstream.RuleAdmin, nil, "passwords kept in a table or a directory, without an adminRef")
	}
	switch {
	case server.Cost != 0 && server.LDAP != nil:
		bad(upstream.RuleForm, upstream.At("cost"), "cost belongs to passwords kept in a passwd-file or a table")
	case server.Cost != 0 && (server.Cost < bcrypt.MinCost || server.Cost > bcrypt.MaxCost):
		bad(upstream.RuleForm, upstream.At("cost"), fmt.Sprintf("not a cost from %d to %d", bcrypt.MinCost, bcrypt.MaxCost))
	}
	fields.Duration("settle", server.Settle, bad)
	fields.Duration("wrongEvery", server.WrongEvery, bad)
}

// places names where passwords are kept.
func (s ServerSpec) places() []string {
	var places []string
	if s.PasswdFile != nil {
		places = append(places, "passwdFile")
	}
	if s.SQL != nil {
		places = append(places, "sql")
	}
	if s.LDAP != nil {
		places = append(places, "ldap")
	}
	return places
}

func checkSubmission(server SubmissionSpec, bad upstream.Report) {
	fields.Host(server.Host, bad)
	if strings.HasPrefix(server.Host, "/") {
		bad(upstream.RuleForm, upstream.At("host"), "submission has no socket")
	}
	fields.Port(server.Port, bad)
	fields.Certificate(server.CACertificate, bad)
	switch server.TLS {
	case "starttls", "tls":
	case "disable":
		if !transport.Local(server.Host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is not loopback")
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(server.TLS))
	}
}

func checkFile(file PasswdFileSpec, bad upstream.Report) {
	if file.Folder != "" && !v1alpha1.WellNamed(file.Folder) {
		bad(upstream.RuleForm, upstream.At("folder"), "not the name of a folder in the host's configuration")
	}
	if file.File != "" && !filepath.IsLocal(file.File) {
		bad(upstream.RuleForm, upstream.At("file"), "the file is not inside its folder")
	}
	if file.SecondFile != "" && (!filepath.IsLocal(file.SecondFile) || filepath.Clean(file.SecondFile) == filepath.Clean(file.File)) {
		bad(upstream.RuleForm, upstream.At("secondFile"), "it is not a second file inside the folder")
	}
}

func checkSQL(table SQLSpec, bad upstream.Report) {
	if table.Type != "" && table.Type != Postgres && table.Type != MySQL {
		bad(upstream.RuleForm, upstream.At("type"), "there is no type of database "+plaintext.Show(table.Type))
	}
	fields.Host(table.Host, bad)
	fields.Port(table.Port, bad)
	fields.Certificate(table.CACertificate, bad)
	switch table.TLS {
	case "verify-full":
	case "disable":
		if !transport.Local(table.Host) {
			bad(upstream.RuleTLS, upstream.At("tls"), "TLS is disabled to a host that is neither loopback nor a socket")
		}
	default:
		bad(upstream.RuleTLS, upstream.At("tls"), "there is no TLS mode "+plaintext.Show(table.TLS))
	}
	if table.Table != "" && !tableForm.MatchString(table.Table) {
		bad(upstream.RuleForm, upstream.At("table"), "not the name of a table")
	}
	for _, column := range []struct{ step, name string }{
		{"userColumn", table.UserColumn}, {"passwordColumn", table.PasswordColumn}, {"markerColumn", table.MarkerColumn}, {"slotColumn", table.SlotColumn},
	} {
		if column.name != "" && !columnForm.MatchString(column.name) {
			bad(upstream.RuleForm, upstream.At(column.step), "not the name of a column")
		}
	}
}

var loginForm = lazyregexp.New(`^[^\s:#\x00]+$`)

// isLogin reports whether a passwd-file can hold the name, which all stores are held to.
func isLogin(name string) bool { return loginForm.MatchString(name) }

func checkAccount(server ServerSpec, account AccountSpec, bad upstream.Report) {
	logins := 1
	switch account.Mode {
	case upstream.Alternate:
		logins = 2
		switch {
		case len(account.Users) != 2:
			bad(upstream.RuleAlternate, upstream.At("users"), fmt.Sprintf("mode alternate wants two logins, not %d", len(account.Users)))
		case slices.Contains(account.Users, ""):
			bad(upstream.RuleAlternate, upstream.At("users"), "a login has no name")
		case account.Users[0] == account.Users[1]:
			bad(upstream.RuleAlternate, upstream.At("users"), "both logins are the same")
		}
		if account.User != "" {
			bad(upstream.RuleAlternate, upstream.At("user"), "user belongs to the modes dual and overwrite")
		}
	case upstream.Overwrite, upstream.Dual:
		rule := upstream.RuleOverwrite
		if account.Mode == upstream.Dual {
			rule = upstream.RuleAccount
			checkDual(server, bad)
		}
		if account.User == "" {
			bad(rule, nil, "mode "+string(account.Mode)+" without a user")
		}
		if len(account.Users) > 0 {
			bad(rule, upstream.At("users"), "users belongs to mode alternate")
		}
	case "":
		return
	default:
		bad(upstream.RuleMode, upstream.At("mode"), "there is no mode "+plaintext.Show(string(account.Mode)))
		return
	}
	for _, login := range append([]string{account.User}, account.Users...) {
		if login != "" && !isLogin(login) {
			bad(upstream.RuleAccount, nil, "a login has a space, a colon or a hash sign in it")
		}
	}
	switch {
	case server.LDAP == nil && len(account.Entries) > 0:
		bad(upstream.RuleAccount, upstream.At("entries"), "entries belongs to passwords kept in a directory")
	case server.LDAP != nil && len(account.Entries) != logins:
		bad(upstream.RuleAccount, upstream.At("entries"), fmt.Sprintf("mode %s wants the names of %d entries, not %d", account.Mode, logins, len(account.Entries)))
	}
	for i, dn := range account.Entries {
		if !ldap.IsDN(dn) {
			bad(upstream.RuleAccount, upstream.At("entries", i), "not a distinguished name")
		}
	}
}

// checkDual checks that there is room for a second password.
func checkDual(server ServerSpec, bad upstream.Report) {
	switch {
	case server.PasswdFile != nil && server.PasswdFile.SecondFile == "":
		bad(upstream.RuleMode, upstream.At("mode"), "mode dual, and the upstream names no secondFile")
	case server.SQL != nil && server.SQL.SlotColumn == "":
		bad(upstream.RuleMode, upstream.At("mode"), "mode dual, and the upstream names no slotColumn")
	case server.LDAP != nil && server.LDAP.Hash == ldap.ByServer:
		bad(upstream.RuleMode, upstream.At("mode"), "a password that the server hashes replaces all others, so mode dual needs another hash")
	}
}

// endpoints are where logins are tried, and where their passwords are kept. A passwd-file is in a folder of the host's.
func endpoints(server ServerSpec) []string {
	relay := server.Submission
	all := []string{fields.Address(relay.Host, relay.Port, relay.TLS, relay.CACertificate)}
	if table := server.SQL; table != nil {
		at := fields.Address
		if table.Type == Postgres {
			at = fields.PostgresAddress
		}
		all = append(all, at(table.Host, table.Port, table.TLS, table.CACertificate))
	}
	if server.LDAP != nil {
		all = append(all, ldap.Endpoints(*server.LDAP)...)
	}
	return all
}

var _ Knower = (*ldap.Upstream)(nil)

func openAccount(b upstream.Binding, server ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	config := Config{
		Submission: Submission{
			Host: server.Submission.Host, Port: server.Submission.Port, TLS: server.Submission.TLS, CACertificate: server.Submission.CACertificate,
		},
		Mode: account.Mode, User: account.User, NewPassword: b.Password, Claim: b.Claim, Cost: server.Cost, Known: b.Known, Random: b.Random,
	}
	copy(config.Users[:], account.Users)
	var err error
	if config.Settle, err = fields.Time("settle", server.Settle); err != nil {
		return nil, err
	}
	if config.WrongEvery, err = fields.Time("wrongEvery", server.WrongEvery); err != nil {
		return nil, err
	}
	if file := server.PasswdFile; file != nil {
		folder, err := b.Host.Folder(file.Folder)
		if err != nil {
			return nil, err
		}
		config.File = &PasswdFile{Folder: folder, File: file.File, Second: file.SecondFile}
	}
	if table := server.SQL; table != nil {
		config.SQL = &SQL{
			Type: table.Type, Host: table.Host, Port: table.Port, Database: table.Database, TLS: table.TLS,
			CACertificate: table.CACertificate, Admin: b.Admin, Table: table.Table, UserColumn: table.UserColumn,
			PasswordColumn: table.PasswordColumn, MarkerColumn: table.MarkerColumn, SlotColumn: table.SlotColumn,
		}
	}
	if server.LDAP != nil {
		config.Entries = account.Entries
		if config.Directory, err = directory(b, *server.LDAP, account); err != nil {
			return nil, err
		}
	}
	return New(config)
}

// directory makes the upstream of the logins' entries. When they were last used is not asked: a mail server that signs in as
// they do hides who does.
func directory(b upstream.Binding, server ldap.ServerSpec, account AccountSpec) (upstream.Upstream, error) {
	entries := ldap.AccountSpec{Mode: account.Mode}
	if entries.Mode == upstream.Alternate {
		entries.Entries = account.Entries
	} else if len(account.Entries) == 1 {
		entries.DN = account.Entries[0]
	}
	server.LastUse = ""
	return ldap.Open(b, server, entries)
}
