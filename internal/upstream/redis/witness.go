// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// Pair is an Upstream of mode alternate, which can tell who is signed in as the old user. In mode dual the server does
// not tell with which of its passwords a user signed in.
type Pair struct{ *Upstream }

var _ upstream.Witness = Pair{}

// Kind adds the evidence.
func (p Pair) Kind() upstream.Kind {
	kind := p.Upstream.Kind()
	kind.Evidence = &upstream.Evidence{Source: "open connections (CLIENT LIST)", Fine: time.Second, Names: true}
	return kind
}

// Uses returns the connections that are open as old's user, at every node. An open connection is a use now, idle or not.
func (p Pair) Uses(ctx context.Context, old secret.Value, _ time.Time) ([]upstream.Use, error) {
	const doing = "listing connections"
	name := old.ExposeText(login.Username)
	if name == "" {
		return nil, &upstream.Error{Doing: doing, Detail: "a credential needs the field username"}
	}
	ctx, cancel := context.WithTimeout(ctx, p.CallDeadline)
	defer cancel()
	uses := []upstream.Use{}
	for _, n := range p.nodes {
		s, err := p.open(ctx, n, change{doing: doing})
		if err != nil {
			return nil, err
		}
		r, err := s.command("reading the clients", "give the admin +client|list", "CLIENT", "LIST")
		s.conn.close()
		if err != nil {
			failure := s.fail(nil, err)
			if refused, ok := errors.AsType[*serverError](err); ok {
				failure.Next = refused.next
			}
			return nil, failure
		}
		for line := range strings.Lines(r.text) {
			client := words(line)
			if client["user"] == name && client["name"] != clientName {
				uses = append(uses, upstream.Use{Who: who(client, n), Last: p.Clock()})
			}
		}
	}
	return uses, nil
}

// words reads one line of CLIENT LIST: words of the form key=value.
func words(line string) map[string]string {
	out := map[string]string{}
	for _, word := range strings.Fields(line) {
		if key, value, ok := strings.Cut(word, "="); ok {
			out[key] = value
		}
	}
	return out
}

func who(client map[string]string, n node) string {
	parts := []string{fmt.Sprintf("%s as %s at %s", client["addr"], client["user"], n)}
	for _, key := range []string{"name", "lib-name", "db", "age", "idle"} {
		if client[key] != "" {
			parts = append(parts, key+" "+client[key])
		}
	}
	return strings.Join(parts, ", ")
}
