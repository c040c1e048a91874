// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

var _ upstream.SessionEnder = (*Upstream)(nil)

// EndSessions closes every connection of old's user, at all nodes: those that the broker tracks, at once, and each that its statistics
// list. In mode overwrite clients with the new password sign in again.
func (u *Upstream) EndSessions(ctx context.Context, old secret.Value) (int, error) {
	const doing = "closing connections"
	name := old.ExposeText(login.Username)
	if !u.account.Manages(name) {
		return 0, &upstream.Error{Doing: doing, Detail: "the user is not named in this account's document", Next: "close its connections by hand (rabbitmqctl close_all_user_connections)"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	m, err := u.manage(ctx, doing)
	if err != nil {
		return 0, err
	}
	defer m.close()
	names := map[string]bool{}
	for page, pages := 1, 1; page <= pages; page++ {
		var listed struct {
			Pages int          `json:"page_count"`
			Items []connection `json:"items"`
		}
		query := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)}, "pagination": {"true"}, "columns": {"name,user"}}
		if _, err := m.ask(ctx, &listed, query, "connections"); err != nil {
			return 0, err
		}
		for _, c := range listed.Items {
			if c.User == name {
				names[c.Name] = true
			}
		}
		if pages = listed.Pages; pages > maxPages {
			return 0, &upstream.Error{Doing: doing, Detail: fmt.Sprintf("the broker has more than %d connections", maxPages*pageSize)}
		}
	}
	if err := m.change(ctx, nil, http.MethodDelete, nil, "connections", "username", name); err != nil { // what is too new for the list as well
		return 0, err
	}
	for connection := range names {
		if err := m.change(ctx, nil, http.MethodDelete, nil, "connections", connection); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}
