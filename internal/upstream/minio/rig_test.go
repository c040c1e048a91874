// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// leastRights is the page's policy for an admin that is not the user itself.
const leastRights = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": [
	"admin:CreateServiceAccount", "admin:ListServiceAccounts", "admin:RemoveServiceAccount"]}]}`

const allBuckets = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`

// rig is a server with an administrator that has leastRights and no more.
type rig struct {
	*testing.T
	server *realparts.MinIOServer
	admin  secret.Value
	names  *atomic.Int64
}

func newRig(t *testing.T, options realparts.MinIOOptions) *rig {
	t.Helper()
	r := &rig{T: t, server: realparts.MinIO(t, options), names: new(atomic.Int64)}
	r.policy("custody-admin", leastRights)
	r.policy("all-buckets", allBuckets)
	r.admin = r.user("custody-admin")
	return r
}

func (r *rig) on(t *testing.T) *rig {
	return &rig{T: t, server: r.server, admin: r.admin, names: r.names}
}

func newPassword(random io.Reader) (string, error) {
	raw := make([]byte, 16)
	_, err := io.ReadFull(random, raw)
	return "pw-" + hex.EncodeToString(raw), err
}

func credential(t *testing.T, key, text string) secret.Value {
	t.Helper()
	v, err := secret.Text(map[string]string{FieldKey: key, FieldSecret: text})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// asRoot asks the admin interface as the server's own administrator.
func (r *rig) asRoot(method, path string, query url.Values, message []byte) []byte {
	r.Helper()
	root := r.open(Config{User: "unused"})
	a, err := root.ask(r.Context(), r.server.Root, question{method: method, path: adminPath + path, query: query, message: message, signed: time.Now()})
	if err != nil || a.status/100 != 2 {
		r.Fatalf("%s %s: %d %s %v", method, path, a.status, a.code, err)
	}
	if message, err := open(r.server.Root.ExposeText(FieldSecret), a.body); err == nil {
		return message
	}
	return a.body
}

// policy makes a policy, the one request whose body is not sealed.
func (r *rig) policy(name, document string) {
	r.Helper()
	u := r.open(Config{User: "unused"})
	a, err := u.askPlain(r.Context(), r.server.Root, question{
		method: http.MethodPut, path: adminPath + "add-canned-policy", query: url.Values{"name": {name}}, signed: time.Now(),
	}, []byte(document))
	if err != nil || a.status != http.StatusOK {
		r.Fatalf("making a policy: %d %s %v", a.status, a.code, err)
	}
}

// user makes a user with a policy and returns its credential.
func (r *rig) user(policy string) secret.Value {
	r.Helper()
	text, err := newPassword(rand.Reader)
	if err != nil {
		r.Fatal(err)
	}
	name := fmt.Sprintf("user-%d", r.names.Add(1))
	message, err := json.Marshal(map[string]string{"secretKey": text, "status": "enabled"})
	if err != nil {
		r.Fatal(err)
	}
	r.asRoot(http.MethodPut, "add-user", url.Values{"accessKey": {name}}, message)
	r.asRoot(http.MethodPut, "set-user-or-group-policy", url.Values{"policyName": {policy}, "userOrGroup": {name}, "isGroup": {"false"}}, nil)
	return credential(r.T, name, text)
}

// config is for a fresh user.
func (r *rig) config() Config {
	r.Helper()
	return r.configFor(r.user("all-buckets"))
}

func (r *rig) configFor(user secret.Value) Config {
	return Config{User: user.ExposeText(FieldKey), Admin: func(context.Context) ([]secret.Value, error) { return []secret.Value{r.admin}, nil }}
}

// open fills in what a test leaves out.
func (r *rig) open(config Config) *Upstream {
	r.Helper()
	if config.Server.Endpoint == "" {
		config.Server.Endpoint = r.server.URL()
	}
	if config.Server.CACertificate == "" {
		config.Server.CACertificate = r.server.CACertificate
	}
	if config.Admin == nil {
		config.Admin = func(context.Context) ([]secret.Value, error) { return nil, nil }
	}
	if config.Claim == "" {
		config.Claim = "shop/test/orders-bucket"
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.NewPassword == nil {
		config.NewPassword = newPassword
	}
	u, err := New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

// keys lists the access keys of the user, as the root sees them.
func (r *rig) keys(user string) []account {
	r.Helper()
	var listed struct{ Accounts []account }
	if err := json.Unmarshal(r.asRoot(http.MethodGet, "list-service-accounts", url.Values{"user": {user}}, nil), &listed); err != nil {
		r.Fatal(err)
	}
	return listed.Accounts
}

func (r *rig) issue(u *Upstream, run authority.RunID, current secret.Value) secret.Value {
	r.Helper()
	candidate, err := u.Propose(r.Context(), current)
	if err != nil {
		r.Fatal(err)
	}
	applied, err := u.Apply(r.Context(), run, current, candidate)
	if err != nil {
		r.Fatal(err)
	}
	return applied
}

func (r *rig) is(u *Upstream, want upstream.Verdict, v secret.Value, what string) {
	r.Helper()
	got, err := u.Verify(r.Context(), v)
	if got != want || (err != nil) != (want == upstream.Unknown) {
		r.Errorf("%s: got %s (%v), want %s", what, got, err, want)
	}
}

// The suite runs without TLS, whose handshakes are replies that prove nothing new when they are lost; see TestOnServer for TLS.
func TestSuite(t *testing.T) {
	server := newRig(t, realparts.MinIOOptions{Plain: true})
	user := server.user("all-buckets") // who owns the keys of every test: they are told apart by their claim
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		r := server.on(t)
		proxy := realparts.NewProxy(t, r.server.Address())
		skew := new(atomic.Int64)
		config := r.configFor(user)
		config.Claim = fmt.Sprintf("shop/test/bucket-%d", r.names.Add(1))
		config.Server = Server{Endpoint: "http://" + proxy.Address()}
		config.Clock = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		u := r.open(config)
		return upstreamtest.Fixture{
			Upstream: u, EnforcesRun: true, Log: r.server.Log, Public: []string{FieldKey},
			Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut,
			Skew: func(by time.Duration) { skew.Add(int64(by)) },
			Held: func(t *testing.T) []string {
				var held []string
				for _, a := range r.on(t).keys(u.User) {
					if m, own := parseMarker(a.Description); own && m.Claim == u.Claim && a.Status == "on" {
						held = append(held, a.AccessKey)
					}
				}
				slices.Sort(held)
				return held
			},
			Refused: func(t *testing.T, v secret.Value) secret.Value {
				return credential(t, v.ExposeText(FieldKey), "a-secret-of-more-than-forty-characters-is-too-long")
			},
		}
	})
}
