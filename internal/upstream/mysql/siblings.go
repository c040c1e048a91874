// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"encoding/json"
	"fmt"
	"strings"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// means of authentication, as the servers store one.
type means struct {
	Plugin string `json:"plugin"`
	Text   string `json:"authentication_string"`
}

// noSibling refuses while v's password also opens an account of the same user name and another host part: that one would go
// on honouring the password for ever, and the clients it is for would be refused the next.
func (u *Upstream) noSibling(s *session, v secret.Value) error {
	host, err := u.sibling(s, v)
	if err != nil || host == "" {
		return err
	}
	return u.shared(s, v, host, upstream.ErrNotApplied)
}

// sibling is the host part of another account of that name that v opens, "" when none is found. Where the admin does not see
// what other accounts are opened by, none is.
func (u *Upstream) sibling(s *session, v secret.Value) (host string, err error) {
	user := v.ExposeText(login.Username)
	if !u.account.Manages(user) || !v.Has(login.Password) {
		return "", nil
	}
	rows, err := s.query(u.readSiblings(user))
	switch {
	case err != nil && missingRight(answerIn(err)):
		return "", nil
	case err != nil:
		return "", err
	}
	for _, row := range rows {
		all := []means{}
		if err := json.Unmarshal([]byte(row[3]), &all); err != nil {
			continue // no form of the server's
		}
		for _, one := range append(all, means{row[1], row[2]}) {
			if opens(one, v.ExposeText(login.Password)) {
				return row[0], nil
			}
		}
	}
	return "", nil
}

// shared is the error about an account that v opens too. class says whether something was changed.
func (u *Upstream) shared(s *session, v secret.Value, host string, class error) error {
	user := v.ExposeText(login.Username)
	return &upstream.Error{
		Doing: s.doing, Class: class,
		Detail: fmt.Sprintf("account %q accepts the old password too, and would still accept it", user+"@"+host),
		Next: fmt.Sprintf("give %[2]s what SHOW GRANTS FOR %[1]s says, then DROP USER %[1]s: its clients sign in as %[2]s from then on; "+
			"or, where both are needed, ALTER USER %[1]s with another password, in a secret of its own that names its host",
			quoteAccount(user, host), quoteAccount(user, u.Host)),
	}
}

// readSiblings is the query for the unlocked accounts of that name and other host parts, each with what opens it.
func (u *Upstream) readSiblings(user string) string {
	where := " WHERE User = " + quoteText(user) + " AND Host <> " + quoteText(u.Host)
	if u.Server.Product == MySQL {
		return "SELECT Host, plugin, authentication_string, '[]' FROM mysql.user" + where + " AND account_locked = 'N'"
	}
	return "SELECT Host, COALESCE(JSON_VALUE(Priv, '$.plugin'), ''), COALESCE(JSON_VALUE(Priv, '$.authentication_string'), ''), " +
		"COALESCE(JSON_EXTRACT(Priv, '$.auth_or'), '[]') FROM mysql.global_priv" + where +
		" AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 'false') NOT IN ('true', '1') AND COALESCE(JSON_VALUE(Priv, '$.is_role'), 'false') NOT IN ('true', '1')"
}

// opens reports whether the stored form is password's. Forms that are not known are not.
func opens(stored means, password string) bool {
	switch stored.Plugin {
	case "", pluginNative:
		return strings.EqualFold(stored.Text, nativeHash(password))
	case pluginEd25519:
		verifier, err := ed25519Verifier(password)
		return err == nil && stored.Text == verifier
	case pluginSHA2:
		salted, digest, ok := sha2Parts(stored.Text)
		return ok && digest == sha256crypt([]byte(password), []byte(salted), sha2Rounds)
	}
	return false
}

// sha2Parts takes apart what sha2Hash makes.
func sha2Parts(text string) (salt, digest string, ok bool) {
	rest, ok := strings.CutPrefix(text, "$A$005$")
	if !ok || len(rest) <= sha2Salt {
		return "", "", false
	}
	return rest[:sha2Salt], rest[sha2Salt:], true
}
