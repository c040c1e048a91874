// SPDX-License-Identifier: Apache-2.0

// Package rabbitmqtest tests the type of upstream rabbitmq with the whole product, on RabbitMQ. It sets up what people
// set up by hand, as the page says, and has clients that sign in with code of their own. It uses no code of the
// adapter.
package rabbitmqtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/upstream"
)

// Kinds share one broker, whose admin has the tag administrator and no permission anywhere.
func Kinds() []acceptance.Kind {
	return []acceptance.Kind{
		// The broker tells up to 5 s late who is connected, and that is asked before each revocation.
		rabbitmqKind("alternate", upstream.Alternate, 13, "rabbitmq: {mode: alternate, template: %s}"),
		rabbitmqKind("overwrite", upstream.Overwrite, 2, "rabbitmq: {mode: overwrite, user: %s}"),
	}
}

func rabbitmqKind(mode string, capability upstream.Capability, abreast int, parameters string) acceptance.Kind {
	return acceptance.Kind{
		Name: "rabbitmq-" + mode, Capability: capability, Crowd: 3, Abreast: abreast, Pace: 300 * time.Millisecond, SignIn: rabbitmqSignIn,
		Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
			r := startRabbitMQ(s)
			for _, name := range accounts {
				s.Must(rabbitmqAsk(s.T().Context(), r, http.MethodPut, map[string]any{"password_hash": "", "tags": "monitoring"}, nil, "users", name))
				s.Must(rabbitmqAsk(s.T().Context(), r, http.MethodPut, map[string]any{"configure": "^orders", "write": "", "read": "^orders"}, nil, "permissions", "/", name))
			}
			return acceptance.Part{
				At: fmt.Sprintf("%s:%d", r.Host, r.Port), Upstream: "rabbitmq", Log: r.Log,
				Account: func(name string) string { return fmt.Sprintf(parameters, name) },
				Held: func(ctx context.Context, name string) (held []string, err error) {
					var users []rabbitmqUser
					_, err = rabbitmqAsk(ctx, r, http.MethodGet, nil, &users, "users")
					for _, user := range users {
						if slices.Contains([]string{name, name + "_a", name + "_b"}, user.Name) && user.Hash != "" {
							held = append(held, user.Name)
						}
					}
					return held, err
				},
				Rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
					var user rabbitmqUser
					var permissions []map[string]any
					_, first := rabbitmqAsk(ctx, r, http.MethodGet, nil, &user, "users", fields["username"])
					_, second := rabbitmqAsk(ctx, r, http.MethodGet, nil, &permissions, "users", fields["username"], "permissions")
					user.Tags = slices.DeleteFunc(user.Tags, func(tag string) bool { return strings.HasPrefix(tag, "custody") }) // the marker
					return strings.ReplaceAll(fmt.Sprint(user.Tags, permissions), fields["username"], "USER"), errors.Join(first, second)
				},
			}
		},
	}
}

func startRabbitMQ(s *acceptance.Stage) *realparts.RabbitMQServer {
	return acceptance.Once(s, "rabbitmq", func() *realparts.RabbitMQServer {
		r := realparts.RabbitMQ(s.T(), realparts.RabbitMQOptions{})
		password := rand.Text()
		s.Must(rabbitmqAsk(s.T().Context(), r, http.MethodPut, map[string]any{"password": password, "tags": "administrator"}, nil, "users", "custody_admin"))
		s.Must(rabbitmqAsk(s.T().Context(), r, http.MethodPut, map[string]any{"durable": true}, nil, "queues", "/", "orders"))
		host, port := s.Via(r.Host, r.Port)
		_, management := s.Via(r.Host, r.ManagementPort)
		s.Upstream("rabbitmq", fmt.Sprintf("rabbitmq: {host: %s, port: %d, managementPort: %d, tls: disable}", host, port, management),
			map[string]string{"username": "custody_admin", "password": password}, "rabbitmq: {mode: overwrite, user: custody_admin}")
		return r
	})
}

// rabbitmqUser is what the broker holds of one.
type rabbitmqUser struct {
	Name string   `json:"name"`
	Hash string   `json:"password_hash"`
	Tags []string `json:"tags"`
}

// rabbitmqAsk sends one request to the management interface as the broker's root.
func rabbitmqAsk(ctx context.Context, r *realparts.RabbitMQServer, method string, body, into any, path ...string) (int, error) {
	address := fmt.Sprintf("http://%s:%d/api", r.Host, r.ManagementPort)
	for _, step := range path {
		address += "/" + url.PathEscape(step)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(encoded))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.SetBasicAuth(r.Root.ExposeText("username"), r.Root.ExposeText("password"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s", method, strings.Join(path, "/"), response.Status)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	return response.StatusCode, err
}

func rabbitmqSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	host, port, err := acceptance.AddressOf(at)
	if err != nil {
		return upstream.Unknown, err
	}
	return acceptance.VerdictOf(signin.AMQP(ctx, host, port, fields["username"], fields["password"], "orders"))
}
