// SPDX-License-Identifier: Apache-2.0

package rabbitmq_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

// rig is a broker with an administrator that has the tag and no permission anywhere.
type rig struct {
	*testing.T
	server *realparts.RabbitMQServer
	admin  secret.Value
	names  *atomic.Int64
}

func newRig(t *testing.T, options realparts.RabbitMQOptions) *rig {
	t.Helper()
	r := &rig{T: t, server: realparts.RabbitMQ(t, options), names: new(atomic.Int64)}
	r.admin = upstreamtest.Login(t, "custody_admin", upstreamtest.Password(t))
	r.put(map[string]any{"password": r.admin.ExposeText("password"), "tags": "administrator"}, "users", "custody_admin")
	return r
}

// on is the same rig under a subtest.
func (r *rig) on(t *testing.T) *rig {
	copied := *r
	copied.T = t
	return &copied
}

// ask sends one request as Root and returns the answer.
func (r *rig) ask(method string, body any, path ...string) []byte {
	r.Helper()
	address := fmt.Sprintf("http://%s:%d/api", r.server.Host, r.server.ManagementPort)
	for _, step := range path {
		address += "/" + url.PathEscape(step)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		r.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), method, address, bytes.NewReader(encoded))
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(r.server.Root.ExposeText("username"), r.server.Root.ExposeText("password"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 && (method != http.MethodGet || response.StatusCode != http.StatusNotFound) {
		r.Fatalf("%s %s: %v %s %s", method, address, err, response.Status, answer)
	}
	return answer
}

func (r *rig) put(body any, path ...string) {
	r.Helper()
	r.ask(http.MethodPut, body, path...)
}

func (r *rig) get(path ...string) string {
	r.Helper()
	return string(r.ask(http.MethodGet, nil, path...))
}

// user is what the broker holds of one; zero when there is none.
type user struct {
	Name string   `json:"name"`
	Hash string   `json:"password_hash"`
	Tags []string `json:"tags"`
}

func (r *rig) user(name string) (u user) {
	r.Helper()
	if err := json.Unmarshal(r.ask(http.MethodGet, nil, "users", name), &u); err != nil {
		r.Fatal(err)
	}
	return u
}

// config is for fresh users; the user of overwrite and the template of alternate exist.
func (r *rig) config(mode upstream.Capability) rabbitmq.Config {
	r.Helper()
	name := fmt.Sprintf("app%d", r.names.Add(1))
	config := rabbitmq.Config{
		Server: rabbitmq.Server{Host: r.server.Host, Port: r.server.Port, ManagementPort: r.server.ManagementPort, TLS: rabbitmq.Disable},
		Admin:  func(context.Context) ([]secret.Value, error) { return []secret.Value{r.admin}, nil },
		Mode:   mode, Claim: "shop/test/orders-queue", Clock: time.Now, NewPassword: upstreamtest.NewPassword,
	}
	r.put(map[string]any{"password_hash": "", "tags": "monitoring,orders"}, "users", name)
	r.put(map[string]any{"configure": "^orders", "write": ".*", "read": ".*"}, "permissions", "/", name)
	if mode == upstream.Alternate {
		config.Template, config.Users = name, [2]string{name + "_a", name + "_b"}
		return config
	}
	config.User = name
	return config
}

// tls makes config use the listeners with TLS.
func (r *rig) tls(config *rabbitmq.Config) {
	config.Server.Port, config.Server.ManagementPort = r.server.TLSPort, r.server.ManagementTLSPort
	config.Server.TLS, config.Server.CACertificate = rabbitmq.VerifyFull, r.server.CA
}

func (r *rig) open(config rabbitmq.Config) rabbitmq.Pair {
	r.Helper()
	u, err := rabbitmq.New(config)
	if err != nil {
		r.Fatal(err)
	}
	return rabbitmq.Pair{Upstream: u}
}

// fixture puts a wire before both listeners for one fresh upstream.
func (r *rig) fixture(mode upstream.Capability, secure bool) upstreamtest.Fixture {
	config := r.config(mode)
	if secure {
		r.tls(&config)
	}
	amqp := realparts.NewProxy(r, fmt.Sprintf("%s:%d", r.server.Host, config.Server.Port))
	management := realparts.NewProxy(r, fmt.Sprintf("%s:%d", r.server.Host, config.Server.ManagementPort))
	config.Server.Port, config.Server.ManagementPort = amqp.Port(), management.Port()
	var ahead atomic.Int64
	config.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	pair := r.open(config)
	fixture := upstreamtest.Fixture{
		Upstream: pair.Upstream, EnforcesRun: true,
		Break: func() { amqp.Break(); management.Break() },
		Mend:  func() { amqp.Mend(); management.Mend() },
		Cut:   func(replies int) { amqp.Cut(replies); management.Cut(replies) },
		Hold:  management.Hold,
		Skew:  func(by time.Duration) { ahead.Add(int64(by)) },
		Held: func(t *testing.T) []string {
			var held []string
			for _, name := range []string{config.User, config.Users[0], config.Users[1]} {
				if name == "" {
					continue
				}
				if u := r.on(t).user(name); u.Hash != "" {
					held = append(held, name)
				}
			}
			return held
		},
		Log: func() string { return r.server.Log() + r.get("users") },
	}
	if mode == upstream.Alternate {
		fixture.Upstream = pair
	}
	return fixture
}

var modes = []upstream.Capability{upstream.Alternate, upstream.Overwrite}

// A broker takes seconds to start, so all that it serves is one test.
func TestOnBroker(t *testing.T) {
	t.Parallel()
	broker := newRig(t, realparts.RabbitMQOptions{})
	form := func(name string, mode upstream.Capability, secure bool) upstreamtest.Form {
		return upstreamtest.Form{Name: name, Fresh: func(t *testing.T) upstreamtest.Fixture { return broker.on(t).fixture(mode, secure) }}
	}
	t.Run("Suite", func(t *testing.T) {
		upstreamtest.Forms(t, []upstreamtest.Form{
			form("alternate", upstream.Alternate, false), form("overwrite", upstream.Overwrite, false), form("alternate, TLS", upstream.Alternate, true),
		})
	})
	for _, test := range onBroker {
		t.Run(test.name, func(t *testing.T) { test.test(broker.on(t)) })
	}
	if log := broker.server.Log(); !strings.Contains(log, "authenticated successfully") {
		t.Error("the broker did not log sign-ins: the search of its log proves nothing")
	}
}
