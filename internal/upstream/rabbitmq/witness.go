// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// Pair is an Upstream of mode alternate, which can tell who is signed in as the old user. In mode overwrite the broker
// does not tell with which of its passwords a user signed in.
type Pair struct{ *Upstream }

var (
	_ upstream.Witness = Pair{}
	_ upstream.Marked  = Pair{}
)

// statistics is how long the broker may take to list a connection (collect_statistics_interval, by default).
const statistics = 5 * time.Second

// Kind adds the evidence.
func (p Pair) Kind() upstream.Kind {
	kind := p.Upstream.Kind()
	kind.Evidence = &upstream.Evidence{Source: "open connections (management interface)", Late: statistics, Fine: time.Second, Names: true}
	return kind
}

// connection is one of the broker's list. Protocols other than AMQP fill in less.
type connection struct {
	Name        string `json:"name"`
	User        string `json:"user"`
	Vhost       string `json:"vhost"`
	PeerHost    string `json:"peer_host"`
	PeerPort    any    `json:"peer_port"`
	Protocol    string `json:"protocol"`
	ConnectedAt int64  `json:"connected_at"`
	Client      any    `json:"client_properties"`
}

// client returns a text of the properties that the client told; what is no object there means that it told nothing.
func (c connection) client(name string) string {
	properties, ok := c.Client.(map[string]any)
	if !ok {
		return ""
	}
	text, _ := properties[name].(string)
	return text
}

const (
	pageSize = 500
	maxPages = 200
)

// Uses returns the connections that are open as old's user. An open connection is a use now, idle or not.
func (p Pair) Uses(ctx context.Context, old secret.Value, _ time.Time) ([]upstream.Use, error) {
	const doing = "listing connections"
	name := old.ExposeText(login.Username)
	if name == "" {
		return nil, &upstream.Error{Doing: doing, Detail: "a credential needs the field username"}
	}
	ctx, cancel := context.WithTimeout(ctx, p.CallDeadline)
	defer cancel()
	m, err := p.manage(ctx, doing)
	if err != nil {
		return nil, err
	}
	defer m.close()
	uses := []upstream.Use{}
	for page := 1; page <= maxPages; page++ {
		var listed struct {
			Pages int          `json:"page_count"`
			Items []connection `json:"items"`
		}
		query := url.Values{
			"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(p.pageSize())}, "pagination": {"true"},
			"columns": {"name,user,vhost,peer_host,peer_port,protocol,connected_at,client_properties"},
		}
		if _, err := m.ask(ctx, &listed, query, "connections"); err != nil {
			return nil, err
		}
		for _, c := range listed.Items {
			if c.User == name && c.client("connection_name") != connectionName {
				uses = append(uses, upstream.Use{Who: c.who(), Last: p.Clock()})
			}
		}
		if page >= listed.Pages {
			return uses, nil
		}
	}
	return nil, &upstream.Error{Doing: doing, Detail: fmt.Sprintf("the broker has more than %d connections", maxPages*p.pageSize())}
}

func (p Pair) pageSize() int {
	if p.page > 0 {
		return p.page
	}
	return pageSize
}

func (c connection) who() string {
	parts := []string{fmt.Sprintf("%s:%v as %s", c.PeerHost, c.PeerPort, c.User)}
	for _, part := range []struct{ what, text string }{
		{"name", c.client("connection_name")}, {"product", c.client("product")}, {"virtual host", c.Vhost}, {"protocol", c.Protocol},
	} {
		if part.text != "" {
			parts = append(parts, part.what+" "+part.text)
		}
	}
	if c.ConnectedAt > 0 {
		parts = append(parts, "since "+time.UnixMilli(c.ConnectedAt).UTC().Format(time.RFC3339))
	}
	return strings.Join(parts, ", ")
}
