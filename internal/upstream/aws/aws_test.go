// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func valid() Config {
	return Config{
		Server: Server{AccountID: testAccount, Region: testRegion}, User: testUser, Claim: "shop/test/orders-key", Clock: time.Now,
		Admin: upstreamtest.Admins(),
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"as it should be", func(*Config) {}, true},
		{"untagged", func(c *Config) { c.Untagged = true }, true},
		{"loopback without TLS", func(c *Config) { c.Server.IAMEndpoint = "http://[::1]:4566" }, true},
		{"endpoint elsewhere", func(c *Config) { c.Server.STSEndpoint = "https://sts.vpce.example.com" }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.STSEndpoint = "http://sts.example.com" }, false},
		{"endpoint with a path", func(c *Config) { c.Server.IAMEndpoint = "https://iam.example.com/x" }, false},
		{"endpoint with a user", func(c *Config) { c.Server.IAMEndpoint = "https://a:b@iam.example.com" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"account of letters", func(c *Config) { c.Server.AccountID = "mine" }, false},
		{"no region", func(c *Config) { c.Server.Region = "" }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no user", func(c *Config) { c.User = "" }, false},
		{"user with its path", func(c *Config) { c.User = "machines/orders" }, false},
		{"claim that no tag holds", func(c *Config) { c.Claim = "shop/test/{orders}" }, false},
		{"claim without end", func(c *Config) { c.Claim = strings.Repeat("c", 257) }, false},
		{"revocation by a word unknown", func(c *Config) { c.Revocation = "maybe" }, false},
		{"inactive without tags", func(c *Config) { c.Untagged, c.Revocation = true, Deactivate }, false},
		{"negative time", func(c *Config) { c.Settle = -1 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := valid()
			test.change(&config)
			if _, err := New(config); (err == nil) != test.ok {
				t.Errorf("got %v, want accepted: %v", err, test.ok)
			}
		})
	}
}

func TestEnvironmentIsIgnored(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAENVIRONMENT00000", "AWS_SECRET_ACCESS_KEY": "from-the-environment", "AWS_SESSION_TOKEN": "token",
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_IAM": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
		"AWS_REGION": "us-west-2", "AWS_PROFILE": "none", "AWS_MAX_ATTEMPTS": "9", "AWS_USE_FIPS_ENDPOINT": "true",
	} {
		t.Setenv(name, value)
	}
	r := newRig(t)
	u := r.open(r.config())
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-1", secret.Value{}), "the key")
}

// captured keeps where requests would go, and sends none.
type captured struct{ to []string }

func (c *captured) RoundTrip(r *http.Request) (*http.Response, error) {
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	c.to = append(c.to, r.URL.Scheme+"://"+r.URL.Host+" "+strings.Join(scope[2:4], " "))
	return nil, errors.New("not sent")
}

func TestEndpointsOfRegions(t *testing.T) {
	for region, want := range map[string][]string{
		"eu-central-1":  {"https://iam.amazonaws.com us-east-1 iam", "https://sts.eu-central-1.amazonaws.com eu-central-1 sts"},
		"cn-north-1":    {"https://iam.cn-north-1.amazonaws.com.cn cn-north-1 iam", "https://sts.cn-north-1.amazonaws.com.cn cn-north-1 sts"},
		"us-gov-east-1": {"https://iam.us-gov.amazonaws.com us-gov-west-1 iam", "https://sts.us-gov-east-1.amazonaws.com us-gov-east-1 sts"},
	} {
		config := valid()
		config.Server.Region = region
		u, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		v, err := u.Decoy(secret.Value{})
		if err != nil {
			t.Fatal(err)
		}
		u.Admin = upstreamtest.Admins(v)
		c := &captured{}
		u.client.Transport = c
		if _, err := u.List(t.Context()); err == nil {
			t.Error("nothing is sent, and there is no error")
		}
		if got, _ := u.Verify(t.Context(), v); got != upstream.Unknown {
			t.Errorf("nothing is sent, and the verdict is %s", got)
		}
		if diff := cmp.Diff(want, c.to); diff != "" {
			t.Errorf("%s (-want +got):\n%s", region, diff)
		}
	}
}

func TestDecoyIsWellFormed(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	decoy, err := u.Decoy(upstreamtest.Value(t, map[string]string{"region": testRegion}))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(decoy.ExposeText(accesskey.ID)) ||
		!regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(decoy.ExposeText(accesskey.Secret)) || decoy.ExposeText("region") != testRegion {
		t.Error("the decoy is not a well-formed access key, or other fields are lost")
	}
}

func TestMarkerFitsTags(t *testing.T) {
	m := marker{}
	run := func(i int) authority.RunID { return authority.RunID(fmt.Sprintf("0190a1b2-c3d4-7e5f-8a9b-%012d", i)) }
	const runs, past = 40, 16
	for i := range runs {
		m = m.next(run(i), []string{"AKIATEST000000000001", "AKIATEST000000000002"})
		m.Claim = strings.Repeat("c", 256)
		for _, tag := range m.tags() {
			if len(*tag.Value) > maxTag {
				t.Fatalf("tag %s has %d characters", *tag.Key, len(*tag.Value))
			}
		}
		if diff := cmp.Diff(m, readMarker(m.tags()), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	}
	for i := runs - 1 - past; i < runs-1; i++ {
		if err := m.admit("testing", m.Claim, run(i)); !errors.Is(err, upstream.ErrSuperseded) {
			t.Errorf("run %d, superseded: got %v", i, err)
		}
	}
	if err := m.admit("testing", m.Claim, run(runs-1)); err != nil {
		t.Errorf("the current run: %v", err)
	}
}

func TestUserOfARN(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	for arn, want := range map[string]bool{
		"arn:aws:iam::123456789012:user/orders": true, "arn:aws:iam::123456789012:user/machines/orders": true,
		"arn:aws:iam::123456789012:user/Orders": true, "arn:aws:iam::123456789012:user/orders/else": false,
		"arn:aws:iam::123456789012:root": false, "arn:aws:sts::123456789012:assumed-role/orders/orders": false,
		"arn:aws:iam::123456789012:role/orders": false, "arn:aws-cn:iam::123456789012:user/orders": false,
		"arn:aws:iam::210987654321:user/orders": false, "": false,
	} {
		if got := u.mismatch(arn) == ""; got != want {
			t.Errorf("%s: got %v, want %v", arn, got, want)
		}
	}
}
