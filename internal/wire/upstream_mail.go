// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"fmt"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/mail"
)

var _ mail.Knower = (*ldap.Upstream)(nil)

func mailUpstream(p *parts, b binding) (upstream.Upstream, error) {
	spec, account := b.server.Mail, b.account.Mail
	config := mail.Config{
		Submission: mail.Submission{
			Host: spec.Submission.Host, Port: spec.Submission.Port, TLS: spec.Submission.TLS, CACertificate: spec.Submission.CACertificate,
		},
		Mode: upstream.Capability(account.Mode), User: account.User, NewPassword: b.password, Claim: b.claim, Cost: spec.Cost,
		Known: b.known, Random: Random(),
	}
	copy(config.Users[:], account.Users)
	var err error
	if config.Settle, err = intent.ParseDuration(cmp.Or(spec.Settle, "0s")); err != nil {
		return nil, fmt.Errorf("reading settle: %w", err)
	}
	if config.WrongEvery, err = intent.ParseDuration(cmp.Or(spec.WrongEvery, "0s")); err != nil {
		return nil, fmt.Errorf("reading wrongEvery: %w", err)
	}
	if file := spec.PasswdFile; file != nil {
		folder, ok := p.host.Folders[file.Folder]
		if !ok {
			return nil, fmt.Errorf("the host's configuration names no folder %q", file.Folder)
		}
		config.File = &mail.PasswdFile{Folder: folder, File: file.File, Second: file.SecondFile}
	}
	if table := spec.SQL; table != nil {
		config.SQL = &mail.SQL{
			Type: table.Type, Host: table.Host, Port: table.Port, Database: table.Database, TLS: table.TLS,
			CACertificate: table.CACertificate, Admin: b.admin, Table: table.Table, UserColumn: table.UserColumn,
			PasswordColumn: table.PasswordColumn, MarkerColumn: table.MarkerColumn, SlotColumn: table.SlotColumn,
		}
	}
	if spec.LDAP != nil {
		config.Entries = account.Entries
		if config.Directory, err = mailDirectory(b, *spec.LDAP, *account); err != nil {
			return nil, err
		}
	}
	return mail.New(config)
}

// mailDirectory makes the upstream of the logins' entries. When they were last used is not asked: a mail server that signs
// in as they do hides who does.
func mailDirectory(b binding, spec v1alpha1.LDAPUpstream, account v1alpha1.MailAccount) (upstream.Upstream, error) {
	entries := v1alpha1.LDAPAccount{Mode: account.Mode}
	if entries.Mode == string(upstream.Alternate) {
		entries.Entries = account.Entries
	} else if len(account.Entries) == 1 {
		entries.DN = account.Entries[0]
	}
	spec.LastUse = ""
	return ldapAt(b, spec, entries)
}
