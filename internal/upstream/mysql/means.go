// SPDX-License-Identifier: Apache-2.0

package mysql

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/upstream"
)

// keepsMeans refuses an account whose change would take away a way to sign in that is not Custody's: a change writes all
// of them anew. Passwords of the account's plugin are Custody's, one of them, in dual mode two.
func (u *Upstream) keepsMeans(s *session) error {
	means, err := u.means(s)
	if err != nil {
		if failure, ok := errors.AsType[*upstream.Error](err); ok && missingRight(answerIn(err)) {
			failure.Detail, failure.Next = "the admin does not see by what else the account can be opened", nextMeans(s.product)
		}
		return err
	}
	account := fmt.Sprintf("account %q", u.User+"@"+u.Host)
	for _, plugin := range means {
		switch {
		case slices.Contains(u.rewritten, plugin):
		case len(means) == 1 && slices.Contains(s.product.plugins(), plugin):
			return s.refuse(fmt.Sprintf("%s checks its password by %s, and would check it by %s", account, plugin, u.Plugin),
				"name the account's plugin in the document, as plugin: "+plugin+"; or name "+u.Plugin+" to have it changed")
		case len(means) == 1:
			return s.refuse(fmt.Sprintf("%s is opened by %s, and would be by %s alone", account, plugin, u.Plugin),
				"once its clients can sign in by "+u.Plugin+", give it a password of that plugin by hand; or use mode alternate")
		default:
			return s.refuse(fmt.Sprintf("%s can be opened by %s as well, which this change would take away", account, plugin),
				"if nobody needs it, take it off the account by hand (ALTER USER); or use mode alternate")
		}
	}
	most := 1
	if u.Mode == upstream.Dual {
		most = 2
	}
	if len(means) > most {
		return s.refuse(fmt.Sprintf("%s has %d passwords, and mode %s knows %d", account, len(means), u.Mode, most),
			"take those that nobody uses off the account by hand (ALTER USER)")
	}
	return nil
}

// means are the plugins by which the account can be opened; none where there is no account.
func (u *Upstream) means(s *session) ([]string, error) {
	own := s.product == MariaDB && s.self == u.User+"@"+u.Host
	read := u.readMeans()
	if own { // which everybody may see
		read = "SHOW CREATE USER CURRENT_USER()"
	}
	rows, err := s.query(read)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if own {
		return meansShown(rows[0][0]), nil
	}
	var means []string // the alternatives to the first
	if err := json.Unmarshal([]byte(rows[0][1]), &means); err != nil {
		return nil, s.refuse("how the account can be opened is not understood", "use mode alternate")
	}
	return append(means, cmp.Or(rows[0][0], pluginNative)), nil
}

// readMeans is the query for an account's first plugin, and a JSON list of its alternatives: MySQL has none, since its
// further factors are asked for besides, and stay.
func (u *Upstream) readMeans() string {
	columns, table := "COALESCE(JSON_VALUE(Priv, '$.plugin'), ''), COALESCE(JSON_EXTRACT(Priv, '$.auth_or[*].plugin'), '[]')", "mysql.global_priv"
	if u.Server.Product == MySQL {
		columns, table = "plugin, '[]'", "mysql.user"
	}
	return "SELECT " + columns + " FROM " + table + " WHERE User = " + quoteText(u.User) + " AND Host = " + quoteText(u.Host)
}

var (
	quotedForm = lazyregexp.New("`(?:[^`]|``)*`|'(?:[^']|'')*'")
	meansForm  = lazyregexp.New(`(?: IDENTIFIED VIA| OR) (\S+)`)
)

// meansShown reads MariaDB's SHOW CREATE USER, which names no plugin where it is mysql_native_password alone.
func meansShown(statement string) []string {
	var means []string
	for _, found := range meansForm.FindAllStringSubmatch(quotedForm.ReplaceAllString(statement, "''"), -1) {
		means = append(means, found[1])
	}
	if len(means) == 0 {
		return []string{pluginNative}
	}
	return means
}

// nextMeans is the grant that means needs.
func nextMeans(product Product) string {
	if product == MySQL {
		return "GRANT SELECT (User, Host, plugin) ON mysql.user TO the admin"
	}
	return "GRANT SELECT ON mysql.global_priv TO the admin"
}
