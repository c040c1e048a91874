// SPDX-License-Identifier: Apache-2.0

package rabbitmq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

// maxAnswer bounds what the management interface may answer.
const maxAnswer = 32 << 20

var (
	errTooLarge = errors.New("the management interface answers more than fits")
	errForm     = errors.New("the management interface answers what is not its own: another server, or another version")
)

// manager is the management interface with an admin signed in, for one call.
type manager struct {
	base   string
	client *http.Client
	admin  secret.Value
	doing  string
}

// manage finds the first admin credential that the broker does not refuse. Nothing has been changed when it fails.
func (u *Upstream) manage(ctx context.Context, doing string) (*manager, error) {
	kept := transport.HTTP(u.at.managementTLS)
	kept.DisableKeepAlives, kept.MaxIdleConnsPerHost = false, 1
	kept.TLSHandshakeTimeout, kept.ResponseHeaderTimeout = u.CallDeadline, u.CallDeadline
	m := &manager{base: u.at.base, doing: doing, client: &http.Client{
		Transport:     kept,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	signedIn, err := login.Admin(ctx, doing, u.at.base, u.Admin, m.signIn)
	if err != nil {
		m.close()
	}
	if failure, ok := errors.AsType[*upstream.Error](err); ok && failure.Said == said(http.StatusUnauthorized) {
		failure.Next += "; it needs the tag administrator" // without any tag, the broker refuses it as well
	}
	return signedIn, err
}

// signIn is for login.Admin.
func (m *manager) signIn(ctx context.Context, v secret.Value) (*manager, string, error) {
	m.admin = v
	var self struct {
		Tags tagList `json:"tags"`
	}
	status, err := m.get(ctx, &self, "whoami")
	switch {
	case status == http.StatusUnauthorized:
		return nil, said(status), nil
	case err == nil && !slices.Contains(self.Tags, "administrator"):
		err = &upstream.Error{Doing: m.doing, Class: upstream.ErrNotApplied, Detail: "the admin does not have the tag administrator", Next: nextAdmin}
	}
	return m, "", err
}

func (m *manager) close() { m.client.CloseIdleConnections() }

// tagList is a list, or the comma-separated text of older versions.
type tagList []string

// UnmarshalJSON takes both forms.
func (l *tagList) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return json.Unmarshal(data, (*[]string)(l))
	}
	for _, tag := range bytes.Split([]byte(text), []byte(",")) {
		if tag = bytes.TrimSpace(tag); len(tag) > 0 {
			*l = append(*l, string(tag))
		}
	}
	return nil
}

// get reads one answer into to. Its errors say that nothing was applied. found is the status.
func (m *manager) get(ctx context.Context, to any, path ...string) (status int, err error) {
	return m.ask(ctx, to, nil, path...)
}

func (m *manager) ask(ctx context.Context, to any, query url.Values, path ...string) (status int, err error) {
	status, answer, err := m.send(ctx, http.MethodGet, nil, query, path...)
	if err != nil {
		return status, m.fail(upstream.ErrNotApplied, err)
	}
	if status != http.StatusOK {
		return status, m.status(upstream.ErrNotApplied, status, answer.header)
	}
	if json.Unmarshal(answer.body, to) != nil {
		return 0, m.fail(upstream.ErrNotApplied, errForm)
	}
	return status, nil
}

// change sends one change. class is what a failure means that leaves open whether it took effect.
func (m *manager) change(ctx context.Context, class error, method string, body any, path ...string) error {
	status, answer, err := m.send(ctx, method, body, nil, path...)
	if err != nil {
		if network, ok := errors.AsType[*net.OpError](err); ok && network.Op == "dial" {
			class = upstream.ErrNotApplied
		}
		return m.fail(class, err)
	}
	switch {
	case status >= 200 && status < 300, method == http.MethodDelete && status == http.StatusNotFound:
		return nil
	case status >= 400 && status < 500:
		class = upstream.ErrNotApplied
	}
	return m.status(class, status, answer.header)
}

type answer struct {
	header http.Header
	body   []byte
}

func (m *manager) send(ctx context.Context, method string, body any, query url.Values, path ...string) (int, answer, error) {
	address := m.base + "/api"
	for _, step := range path {
		address += "/" + url.PathEscape(step)
	}
	if query != nil {
		address += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, answer{}, errForm
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return 0, answer{}, errForm
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(m.admin.ExposeText(login.Username), m.admin.ExposeText(login.Password))
	response, err := m.client.Do(request)
	if err != nil {
		return 0, answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, answer{}, err
	}
	if len(read) > maxAnswer {
		return 0, answer{}, errTooLarge
	}
	return response.StatusCode, answer{response.Header, read}, nil
}

func (m *manager) fail(class, err error) error {
	detail, cause := upstream.Told(err, broken(err))
	return &upstream.Error{Doing: m.doing, Class: class, Detail: detail, Cause: cause, Next: nextReachable}
}

// status describes an answer that is not the one wanted.
func (m *manager) status(class error, status int, header http.Header) error {
	failure := &upstream.Error{Doing: m.doing, Class: class, Said: said(status)}
	switch {
	case status == http.StatusTooManyRequests:
		failure.Detail = "too many requests"
		after := defaultRetry
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil && seconds > 0 && seconds <= 3600 {
			after = time.Duration(seconds) * time.Second
		}
		return &upstream.Later{After: after, Err: failure}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		failure.Next = nextAdmin
	case status >= 300 && status < 400:
		failure.Detail, failure.Next = "it sends elsewhere, and credentials do not follow", nextReachable
	}
	return failure
}

const defaultRetry = 30 * time.Second

// account is a user as the management interface shows it.
type account struct {
	Name string  `json:"name"`
	Hash string  `json:"password_hash"`
	Tags tagList `json:"tags"`
	// Algorithm is how Hash was made.
	Algorithm string `json:"hashing_algorithm"`
}

// user reads one user; ok is false when there is none.
func (m *manager) user(ctx context.Context, name string) (a account, ok bool, err error) {
	status, err := m.get(ctx, &a, "users", name)
	if status == http.StatusNotFound {
		return account{}, false, nil
	}
	if err == nil && a.Name != name {
		err = m.fail(upstream.ErrNotApplied, errForm)
	}
	return a, err == nil, err
}

// put writes a user in whole.
func (m *manager) put(ctx context.Context, class error, name, hash string, tags []string) error {
	return m.change(ctx, class, http.MethodPut, map[string]any{
		"password_hash": hash, "hashing_algorithm": hashAlgorithm, "tags": tags,
	}, "users", name)
}

// permission and topicPermission are what a user may do in one virtual host.
type permission struct {
	Vhost     string `json:"vhost"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

type topicPermission struct {
	Vhost    string `json:"vhost"`
	Exchange string `json:"exchange"`
	Write    string `json:"write"`
	Read     string `json:"read"`
}

// rights are all that is copied from a template beside its tags.
type rights struct {
	permissions map[string]permission
	topics      map[string][]topicPermission
	limits      map[string]int64
}

func (m *manager) rights(ctx context.Context, name string) (rights, error) {
	r := rights{permissions: map[string]permission{}, topics: map[string][]topicPermission{}, limits: map[string]int64{}}
	var permissions []permission
	if _, err := m.get(ctx, &permissions, "users", name, "permissions"); err != nil {
		return r, err
	}
	for _, p := range permissions {
		r.permissions[p.Vhost] = p
	}
	var topics []topicPermission
	if _, err := m.get(ctx, &topics, "users", name, "topic-permissions"); err != nil {
		return r, err
	}
	for _, t := range topics {
		r.topics[t.Vhost] = append(r.topics[t.Vhost], t)
	}
	for _, of := range r.topics {
		slices.SortFunc(of, func(a, b topicPermission) int { return bytes.Compare([]byte(a.Exchange), []byte(b.Exchange)) })
	}
	var limits []struct {
		Value map[string]int64 `json:"value"`
	}
	if _, err := m.get(ctx, &limits, "user-limits", name); err != nil {
		return r, err
	}
	for _, l := range limits {
		for limit, value := range l.Value {
			r.limits[limit] = value
		}
	}
	return r, nil
}

// grant makes a user's rights the template's. What is in excess goes first.
func (m *manager) grant(ctx context.Context, name string, want, have rights) error {
	set := func(body any, path ...string) error {
		return m.change(ctx, upstream.ErrNotApplied, http.MethodPut, body, path...)
	}
	remove := func(path ...string) error {
		return m.change(ctx, upstream.ErrNotApplied, http.MethodDelete, nil, path...)
	}
	for vhost := range have.permissions {
		if _, kept := want.permissions[vhost]; !kept {
			if err := remove("permissions", vhost, name); err != nil {
				return err
			}
		}
	}
	for vhost, topics := range have.topics {
		if !slices.Equal(topics, want.topics[vhost]) {
			if err := remove("topic-permissions", vhost, name); err != nil {
				return err
			}
		}
	}
	for limit := range have.limits {
		if _, kept := want.limits[limit]; !kept {
			if err := remove("user-limits", name, limit); err != nil {
				return err
			}
		}
	}
	for limit, value := range want.limits {
		if old, ok := have.limits[limit]; !ok || old != value {
			if err := set(map[string]int64{"value": value}, "user-limits", name, limit); err != nil {
				return err
			}
		}
	}
	for vhost, topics := range want.topics {
		if slices.Equal(topics, have.topics[vhost]) {
			continue
		}
		for _, topic := range topics {
			if err := set(topic, "topic-permissions", vhost, name); err != nil {
				return err
			}
		}
	}
	for vhost, p := range want.permissions {
		if have.permissions[vhost] != p {
			if err := set(p, "permissions", vhost, name); err != nil {
				return err
			}
		}
	}
	return nil
}
