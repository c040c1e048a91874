// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// remove deletes v's client: by its own registration access token, else through the provider's list. When the provider
// says that there is no such client, or that the token is wrong, the client must be refused at the token endpoint.
func (u *Upstream) remove(ctx context.Context, doing string, v secret.Value) error {
	address, token := v.ExposeText(FieldManageURI), v.ExposeText(FieldManageToken)
	var unable error
	if _, err := u.allowed(address); err == nil && token != "" {
		done, err := u.delete(ctx, doing, address, token)
		if done || err != nil {
			return err
		}
	} else if address != "" && token != "" {
		unable = err
	}
	if u.Clients != "" {
		done, err := u.removeListed(ctx, doing, v.ExposeText(FieldID))
		if done || err != nil {
			return err
		}
	}
	verdict, err := u.Verify(ctx, v)
	switch verdict {
	case upstream.Refused:
		if left := u.issued.Unsettled(); left > 0 {
			return &upstream.Later{After: left, Err: &upstream.Error{
				Doing: doing, Detail: "the client is refused, but it was registered only just now: it is not known yet whether it is gone",
			}}
		}
		return nil
	case upstream.Accepted:
		return &upstream.Error{
			Doing: doing, Class: upstream.ErrNotApplied, Cause: unable,
			Detail: "the client still works and cannot be deleted: its registration access token is missing, invalid, or may not delete",
			Next:   "delete the client " + clientForm(v.ExposeText(FieldID)) + "at the provider by hand; the run then continues",
		}
	}
	return &upstream.Error{
		Doing: doing, Detail: "it is not known whether the client is gone", Cause: err,
		Next: "see whether the client " + clientForm(v.ExposeText(FieldID)) + "is at the provider still, and delete it by hand",
	}
}

// clientForm names a client in a sentence, if its id is such as people can read.
func clientForm(id string) string {
	if id == "" || len(id) > 200 || quotable(id, "") != id {
		return ""
	}
	return id + " "
}

// delete asks for one deletion. done means deleted; neither done nor an error that the provider knows no such client, or
// does not let this token delete it.
func (u *Upstream) delete(ctx context.Context, doing, address, token string) (done bool, err error) {
	a, err := u.send(ctx, doing, request{method: http.MethodDelete, address: address, bearer: token})
	switch {
	case err != nil:
		return false, err
	case a.Status == http.StatusNoContent, a.Status == http.StatusOK:
		return true, nil
	case a.throttled() && a.Status != http.StatusServiceUnavailable:
		return false, u.wrong(doing, "", upstream.ErrNotApplied, a)
	}
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusNotImplemented:
		return false, nil
	}
	return false, u.wrong(doing, "", nil, a)
}

// removeListed deletes a client through the provider's own list.
func (u *Upstream) removeListed(ctx context.Context, doing, id string) (done bool, err error) {
	if id == "" {
		return false, nil
	}
	tokens, err := u.tokens(ctx, doing, AdminClients)
	if err != nil {
		return false, err
	}
	address := strings.TrimSuffix(u.Clients, "/") + "/" + url.PathEscape(id)
	for _, token := range tokens {
		if done, err = u.delete(ctx, doing, address, token); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// Collecting is an Upstream that can collect what a run left.
type Collecting struct{ *Upstream }

var _ upstream.Collector = Collecting{}

// Collecting gives u its power to collect. Under Hold there is none.
func (u *Upstream) Collecting() Collecting { return Collecting{u} }

// Collect deletes the clients of run that this process registered, and under orphans: collect those in the provider's
// list. Under accept it tells of what may be left otherwise.
func (c Collecting) Collect(ctx context.Context, run authority.RunID) error {
	const doing = "collecting clients"
	ctx, cancel := context.WithTimeout(ctx, c.CallDeadline)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Cause: err}
	}
	issued, unsure := c.issued.Known(run)
	for _, v := range issued {
		if err := c.remove(ctx, doing, v); err != nil {
			return err
		}
	}
	if c.Orphans == Collect {
		if err := c.collectListed(ctx, doing, run); err != nil {
			return err
		}
	} else if unsure && c.Tell != nil {
		c.Tell(ctx, c.marker(run))
	}
	c.issued.Collected(run)
	return nil
}

// maxPages bounds a list that goes in circles.
const maxPages = 1000

// collectListed deletes what the provider lists and what carries run. The list is read whole before anything is deleted:
// deleting moves pages.
func (c Collecting) collectListed(ctx context.Context, doing string, run authority.RunID) error {
	tokens, err := c.tokens(ctx, doing, AdminClients)
	if err != nil {
		return err
	}
	for i, token := range tokens {
		ids, refused, err := c.listed(ctx, doing, token, run)
		if refused && i < len(tokens)-1 {
			continue
		}
		if err != nil {
			return err
		}
		for _, id := range ids {
			done, err := c.removeListed(ctx, doing, id)
			if err != nil {
				return err
			}
			if !done {
				return &upstream.Error{
					Doing: doing, Class: upstream.ErrNotApplied, Detail: "the provider's list names the client " + clientForm(id) + "and does not let it be deleted",
					Next: "check that the clientsToken may delete clients, or delete it by hand",
				}
			}
		}
		return nil
	}
	return nil
}

// listed returns the ids of the clients that carry run. refused: the token is not one that the provider honours.
func (c Collecting) listed(ctx context.Context, doing, token string, run authority.RunID) (ids []string, refused bool, err error) {
	next := c.Clients
	for range maxPages {
		a, err := c.send(ctx, doing, request{method: http.MethodGet, address: next, bearer: token})
		if err != nil {
			return nil, false, err
		}
		var page []struct {
			ID              string `json:"client_id"`
			Name            string `json:"client_name"`
			SoftwareVersion string `json:"software_version"`
		}
		if a.Status != http.StatusOK || !a.object || json.Unmarshal(a.Body, &page) != nil {
			return nil, a.Status == http.StatusUnauthorized, c.wrong(doing, "the provider's list of clients cannot be read", nil, a)
		}
		for _, client := range page {
			if client.ID != "" && c.carries(client.Name, client.SoftwareVersion, run) {
				ids = append(ids, client.ID)
			}
		}
		base, err := url.Parse(next)
		if err != nil {
			return nil, false, upstream.NotApplied(doing, "the address of the list")
		}
		link := a.Next()
		if link == "" {
			return ids, false, nil
		}
		reference, err := base.Parse(link)
		if err == nil {
			_, err = c.allowed(reference.String())
		}
		if err != nil {
			return nil, false, upstream.NotApplied(doing, "the next page of the provider's list is not where credentials may go")
		}
		next = reference.String()
	}
	return nil, false, upstream.NotApplied(doing, "the provider's list of clients has no end")
}
