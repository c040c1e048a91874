// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"maps"
	"net/mail"
	"slices"
	"strings"
)

// Mail is the name of the channel that sends e-mail; a webhook's is "webhook NAME".
const Mail = "mail"

// Webhook is the name of the channel of a webhook.
func Webhook(name string) string { return "webhook " + name }

// Target is where somebody is reached, as the operator wrote it.
type Target struct {
	// Webhook is the name of one, "" for none.
	Webhook string
	// Mail are addresses.
	Mail []string
}

// Rules say who is reached where. They are the operator's: a document of the estate chooses among what they allow.
type Rules struct {
	Teams map[string]Target
	// Default is for the platform's own findings, for teams that are reached nowhere else, and for what has been open for long.
	Default *Target
	// Domains are those in which an owner's contact is used as an address.
	Domains []string
}

// Route is one target of one owner.
type Route struct {
	// Owner is who is told: "team NAME", "contact ADDRESS" or "default".
	Owner   string   `json:"owner"`
	Channel string   `json:"channel"`
	To      []string `json:"to,omitempty"`
}

// String names the route for people.
func (r Route) String() string {
	if len(r.To) == 0 {
		return r.Channel
	}
	return r.Channel + " to " + strings.Join(r.To, ", ")
}

// named is the owner as Test takes it.
func (r Route) named() string {
	_, name, has := strings.Cut(r.Owner, " ")
	if !has {
		return r.Owner
	}
	return name
}

// id tells the route from all others.
func (r Route) id() string {
	return strings.Join(append([]string{r.Owner, r.Channel}, r.To...), "\x00")
}

// Default is the owner of the default routes.
const Default = "default"

// Of are the routes to an owner; none where nobody reaches them.
func (r Rules) Of(o Owner) []Route {
	if o == (Owner{}) {
		return r.defaults()
	}
	if target, named := r.Teams[o.Team]; named && o.Team != "" {
		return target.routes("team " + o.Team)
	}
	if address, may := r.contact(o.Contact); may {
		return []Route{{Owner: "contact " + address, Channel: Mail, To: []string{address}}}
	}
	return r.defaults()
}

func (r Rules) defaults() []Route {
	if r.Default == nil {
		return nil
	}
	return r.Default.routes(Default)
}

func (t Target) routes(owner string) (routes []Route) {
	if t.Webhook != "" {
		routes = append(routes, Route{Owner: owner, Channel: Webhook(t.Webhook)})
	}
	if len(t.Mail) > 0 {
		routes = append(routes, Route{Owner: owner, Channel: Mail, To: slices.Sorted(slices.Values(t.Mail))})
	}
	return routes
}

// contact is the address that a document's contact is, and whether messages may go there: it is one plain address in a domain that
// the operator named.
func (r Rules) contact(text string) (string, bool) {
	address, ok := Address(text)
	if !ok {
		return "", false
	}
	_, domain, _ := strings.Cut(address, "@")
	return address, slices.ContainsFunc(r.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
}

// Address is text as one e-mail address, the domain in lower case; false for anything else, be it with a name, a comment, quotes or
// more than one. The form is narrower than the standard's, so that it has one meaning in every program that it goes through.
func Address(text string) (string, bool) {
	const local = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
	const host = "abcdefghijklmnopqrstuvwxyz0123456789.-"
	user, domain, _ := strings.Cut(text, "@")
	domain = strings.ToLower(domain)
	if user == "" || domain == "" || len(text) > 254 || strings.Trim(user, local) != "" || strings.Trim(domain, host) != "" || user[0] == '-' {
		return "", false
	}
	address := user + "@" + domain
	parsed, err := mail.ParseAddress(address)
	return address, err == nil && parsed.Address == address
}

// All are the routes to these owners and of everybody whom the operator named, each once, by owner.
func (r Rules) All(owners []Owner) []Route {
	routes := map[string]Route{}
	add := func(found []Route) {
		for _, route := range found {
			routes[route.id()] = route
		}
	}
	add(r.defaults())
	for team, target := range r.Teams {
		add(target.routes("team " + team))
	}
	for _, owner := range owners {
		add(r.Of(owner))
	}
	return slices.SortedFunc(maps.Values(routes), func(a, b Route) int { return strings.Compare(a.id(), b.id()) })
}
