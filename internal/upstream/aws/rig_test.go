// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// leastRights is the page's policy; ROTATED is the user.
const leastRights = `{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "iam:GetUser",
        "iam:ListAccessKeys",
        "iam:CreateAccessKey",
        "iam:UpdateAccessKey",
        "iam:DeleteAccessKey",
        "iam:GetAccessKeyLastUsed"
      ],
      "Resource": "arn:aws:iam::123456789012:user/machines/orders"
    },
    {
      "Effect": "Allow",
      "Action": ["iam:TagUser"],
      "Resource": "arn:aws:iam::123456789012:user/machines/orders",
      "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": ["custody", "custody-*"]}}
    }
  ]
}`

const (
	testUser  = "orders"
	testAdmin = "custody"
)

// rig is a cloud with the user and an admin that has leastRights and no more.
type rig struct {
	*testing.T
	cloud *cloud
	admin secret.Value
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, cloud: newCloud(t)}
	r.cloud.user(t, testUser, "")
	r.cloud.user(t, testAdmin, leastRights)
	r.admin = r.cloud.key(t, testAdmin)
	return r
}

func (r *rig) config() Config {
	return Config{
		Server: Server{AccountID: testAccount, Region: testRegion, IAMEndpoint: r.cloud.server.URL, STSEndpoint: r.cloud.server.URL},
		Admin:  upstreamtest.Admins(r.admin), User: testUser, Claim: "shop/test/orders-key", Clock: time.Now,
	}
}

func (r *rig) open(config Config) *Upstream {
	r.Helper()
	u, err := New(config)
	if err != nil {
		r.Fatal(err)
	}
	return u
}

// keys shows the user's keys as "id status".
func (r *rig) keys() []string {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	var out []string
	for _, key := range r.cloud.users[testUser].listed() {
		out = append(out, fmt.Sprintf("%s %t", key.id, key.active))
	}
	return out
}

func TestSuite(t *testing.T) {
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name   string
		late   time.Duration
		change func(*rig, *Config)
	}{
		{"deactivate", 0, func(*rig, *Config) {}},
		{"delete", 0, func(_ *rig, c *Config) { c.Revocation = Delete }},
		{"untagged", 0, func(_ *rig, c *Config) { c.Untagged = true }},
		{"eventually consistent, one key on each page", 60 * time.Millisecond, func(r *rig, _ *Config) { r.cloud.page = 1 }},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			r := newRig(t)
			proxy := realparts.NewProxy(t, strings.TrimPrefix(r.cloud.server.URL, "http://"))
			config := r.config()
			clock, skew := upstreamtest.Skewed()
			config.Server.IAMEndpoint, config.Server.STSEndpoint = "http://"+proxy.Address(), "http://"+proxy.Address()
			config.Clock, config.CallDeadline = clock, 5*time.Second
			r.cloud.late = test.late
			test.change(r, &config)
			throttle := func(on bool) {
				r.cloud.mu.Lock()
				defer r.cloud.mu.Unlock()
				r.cloud.throttled = on
			}
			fixture := upstreamtest.Fixture{
				Upstream: r.open(config), Break: proxy.Break, Cut: proxy.Cut, Hold: proxy.Hold, Public: []string{accesskey.ID},
				Mend:     func() { proxy.Mend(); throttle(false) },
				Throttle: func() { throttle(true) },
				Skew:     skew,
				Held:     func(*testing.T) []string { return r.cloud.held(testUser) },
			}
			if test.late > 0 {
				fixture.Wait = func() { time.Sleep(test.late + 20*time.Millisecond) }
			}
			return fixture
		}})
	}
	upstreamtest.ParallelForms(t, forms) // each with clouds of its own
}
