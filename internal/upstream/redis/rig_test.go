// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// rig is servers with an administrator that has the rights of the page and no more.
type rig struct {
	*testing.T
	servers []*realparts.RedisServer
	options realparts.RedisOptions
	admin   secret.Value
	names   *atomic.Int64
}

// adminRights are those of the page.
var adminRights = []string{"+acl|list", "+acl|setuser", "+acl|save", "+client|list"}

func newRig(t *testing.T, servers int, options realparts.RedisOptions) *rig {
	t.Helper()
	if options.Settings == nil {
		options.Settings = map[string]string{"slowlog-log-slower-than": "0", "slowlog-max-len": "500", "acllog-max-len": "100"}
	}
	r := &rig{T: t, options: options, names: new(atomic.Int64)}
	r.admin = upstreamtest.Login(t, "custody_admin", upstreamtest.Password(t))
	for range servers {
		r.servers = append(r.servers, realparts.Redis(t, options))
	}
	r.do(append([]string{"ACL", "SETUSER", "custody_admin", "on", ">" + r.admin.ExposeText("password"), "-@all"}, adminRights...)...)
	return r
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	copied := *r
	copied.T = t
	return &copied
}

// do runs a command at every server and returns the first's answer.
func (r *rig) do(command ...string) any {
	r.Helper()
	var first any
	for i, server := range r.servers {
		reply, err := server.Do(context.WithoutCancel(r.Context()), command...)
		if err != nil {
			r.Fatalf("%s: %v", command[:2], err)
		}
		if i == 0 {
			first = reply
		}
	}
	return first
}

// config is for fresh users; the user of dual and the template of alternate exist.
func (r *rig) config(mode upstream.Capability) redis.Config {
	r.Helper()
	name := fmt.Sprintf("app%d", r.names.Add(1))
	config := redis.Config{
		Server: redis.Server{Host: r.servers[0].Host, Port: r.servers[0].Port, TLS: redis.Disable},
		Admin:  func(context.Context) ([]secret.Value, error) { return []secret.Value{r.admin}, nil },
		Mode:   mode, Claim: "shop/test/orders-cache", Clock: time.Now, NewPassword: upstreamtest.NewPassword,
	}
	for _, other := range r.servers[1:] {
		config.Server.Nodes = append(config.Server.Nodes, fmt.Sprintf("%s:%d", other.Host, other.Port))
	}
	if r.options.TLS {
		config.Server.TLS, config.Server.CACertificate = redis.VerifyFull, r.servers[0].CA
		for _, other := range r.servers[1:] {
			config.Server.CACertificate += other.CA
		}
	}
	switch {
	case r.options.NoConfigFile:
		config.Persist = redis.None
	case r.options.NoACLFile:
		config.Persist = redis.ConfigFile
		r.do("ACL", "SETUSER", "custody_admin", "+config|rewrite")
	}
	if mode == upstream.Alternate {
		config.Template, config.Users = name, [2]string{name + "_a", name + "_b"}
		r.do("ACL", "SETUSER", name, "off", "~app:*", "%R~shared:*", "&app:*", "-@all", "+@read", "+set", "-keys", "+ping", "+client|setname", "(~more:* +get +config|get)")
		return config
	}
	config.User = name
	r.do("ACL", "SETUSER", name, "on", "~app:*", "+get", "+ping")
	return config
}

func (r *rig) open(config redis.Config) redis.Pair {
	r.Helper()
	u, err := redis.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return redis.Pair{Upstream: u}
}

// sum is how the server keeps v's password.
func sum(v secret.Value) string {
	digest := sha256.Sum256(v.Expose("password"))
	return hex.EncodeToString(digest[:])
}

// digests of a user's passwords, Custody's own entries left out; none when it is off.
func (r *rig) digests(server *realparts.RedisServer, user string) (passwords, own []string) {
	r.Helper()
	lines, err := server.Do(r.Context(), "ACL", "LIST")
	if err != nil {
		r.Fatal(err)
	}
	for _, line := range lines.([]any) {
		words := strings.Fields(line.(string))
		if words[1] != user {
			continue
		}
		for _, word := range words[2:] {
			if strings.HasPrefix(word, "#637573746f6479") {
				own = append(own, word)
			} else if strings.HasPrefix(word, "#") && words[2] == "on" {
				passwords = append(passwords, user+" "+word[1:9])
			}
		}
	}
	return passwords, own
}

// fixture puts a wire before every server of one fresh upstream.
func (r *rig) fixture(mode upstream.Capability) upstreamtest.Fixture {
	config := r.config(mode)
	var wires []*realparts.Proxy
	config.Server.Nodes = nil
	for i, server := range r.servers {
		wire := realparts.NewProxy(r, fmt.Sprintf("%s:%d", server.Host, server.Port))
		wires = append(wires, wire)
		if i == 0 {
			config.Server.Port = wire.Port()
		} else {
			config.Server.Nodes = append(config.Server.Nodes, wire.Address())
		}
	}
	var ahead atomic.Int64
	config.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	pair := r.open(config)
	fixture := upstreamtest.Fixture{
		Upstream: pair.Upstream, EnforcesRun: true,
		Break: func() { wires[0].Break() },
		Cut:   func(replies int) { wires[len(wires)-1].Cut(replies) },
		Hold:  wires[len(wires)-1].Hold,
		Mend: func() {
			for _, wire := range wires {
				wire.Mend()
			}
		},
		Skew: func(by time.Duration) { ahead.Add(int64(by)) },
		Held: func(t *testing.T) []string {
			var held []string
			for _, name := range []string{config.User, config.Users[0], config.Users[1]} {
				passwords, _ := r.on(t).digests(r.servers[0], name)
				held = append(held, passwords...)
			}
			return held
		},
		Log: func() string {
			shown := ""
			for _, server := range r.servers {
				shown += server.Log()
			}
			return shown + fmt.Sprint(r.do("SLOWLOG", "GET", "-1"), r.do("ACL", "LOG", "10000"), r.do("ACL", "LIST"))
		},
	}
	if mode == upstream.Alternate {
		fixture.Upstream = pair
	}
	return fixture
}

func TestSuite(t *testing.T) {
	one, two := newRig(t, 1, realparts.RedisOptions{}), newRig(t, 2, realparts.RedisOptions{TLS: true})
	bare := newRig(t, 1, realparts.RedisOptions{NoConfigFile: true})
	var forms []upstreamtest.Form
	for _, test := range []struct {
		name string
		rig  *rig
		mode upstream.Capability
	}{
		{"dual", one, upstream.Dual},
		{"alternate", one, upstream.Alternate},
		{"dual, two nodes, TLS", two, upstream.Dual},
		{"dual, nothing persisted", bare, upstream.Dual},
	} {
		forms = append(forms, upstreamtest.Form{Name: test.name, Fresh: func(t *testing.T) upstreamtest.Fixture {
			return test.rig.on(t).fixture(test.mode)
		}})
	}
	upstreamtest.Forms(t, forms)
}
