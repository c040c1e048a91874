// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/accesskey"
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

func credential(t *testing.T, key, text string) secret.Value {
	t.Helper()
	return upstreamtest.Value(t, map[string]string{accesskey.ID: key, accesskey.Secret: text})
}

// asRoot asks the admin interface as the server's own administrator.
func (r *rig) asRoot(method, path string, query url.Values, message any) []byte {
	r.Helper()
	answer, err := r.server.Ask(r.Context(), method, path, query, message, true)
	if err != nil {
		r.Fatal(err)
	}
	return answer
}

func (r *rig) policy(name, document string) {
	r.Helper()
	if err := r.server.AddPolicy(r.Context(), name, document); err != nil {
		r.Fatal(err)
	}
}

// user makes a user with a policy and returns its credential.
func (r *rig) user(policy string) secret.Value {
	r.Helper()
	v, err := r.server.NewUser(r.Context(), fmt.Sprintf("user-%d", r.names.Add(1)), policy)
	if err != nil {
		r.Fatal(err)
	}
	return v
}

// config is for a fresh user.
func (r *rig) config() Config {
	r.Helper()
	return r.configFor(r.user("all-buckets"))
}

// patient is a deadline that is not what is tested: the server syncs each change to a disk that a busy machine has 20 s of work for.
const patient = 3 * time.Minute

func (r *rig) configFor(user secret.Value) Config {
	return Config{User: user.ExposeText(accesskey.ID), Admin: upstreamtest.Admins(r.admin), CallDeadline: patient}
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
		config.Admin = upstreamtest.Admins()
	}
	if config.Claim == "" {
		config.Claim = "shop/test/orders-bucket"
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.NewPassword == nil {
		config.NewPassword = upstreamtest.NewPassword
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

// The suite runs without TLS, whose handshakes are replies that prove nothing new when they are lost; see TestOnServer
// for TLS.
func TestSuite(t *testing.T) {
	t.Parallel()
	server := newRig(t, realparts.MinIOOptions{Plain: true})
	user := server.user("all-buckets") // who owns the keys of every test: they are told apart by their claim
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		r := server.on(t)
		proxy := realparts.NewProxy(t, r.server.Address())
		config := r.configFor(user)
		clock, skew := upstreamtest.Skewed()
		config.Claim = fmt.Sprintf("shop/test/bucket-%d", r.names.Add(1))
		config.Server = Server{Endpoint: "http://" + proxy.Address()}
		config.Clock = clock
		u := r.open(config)
		return upstreamtest.Fixture{
			Upstream: u, EnforcesRun: true, Log: r.server.Log, Public: []string{accesskey.ID},
			Break: proxy.Break, Mend: proxy.Mend, Cut: proxy.Cut, Hold: proxy.Hold,
			Skew: skew,
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
				return credential(t, v.ExposeText(accesskey.ID), "a-secret-of-more-than-forty-characters-is-too-long")
			},
		}
	})
}
