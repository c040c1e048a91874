// SPDX-License-Identifier: Apache-2.0

// Package redistest tests the type of upstream redis with the whole product, on Redis. It sets up what people set up by
// hand, as the page says, and has clients that sign in with code of their own. It uses no code of the adapter.
package redistest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"custody.dev/custody/internal/acceptance"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/upstream"

	"github.com/redis/go-redis/v9"
)

// redisRights are what an application may do here.
var redisRights = []string{"~orders:*", "+@read", "+@connection"}

// Kinds share one server with an ACL file, whose admin may change users and no more.
func Kinds() []acceptance.Kind {
	return []acceptance.Kind{
		{
			Name: "redis-dual", Capability: upstream.Dual, Crowd: 4, Model: true, SignIn: redisSignIn,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				r := startRedis(s)
				for _, name := range accounts {
					s.Must(r.Do(s.T().Context(), slices.Concat([]string{"ACL", "SETUSER", name, "on"}, redisRights)...))
				}
				return redisPart(r, func(name string) string { return "redis: {mode: dual, user: " + name + "}" })
			},
		},
		{
			Name: "redis-alternate", Capability: upstream.Alternate, SignIn: redisSignIn,
			Start: func(s *acceptance.Stage, accounts []string) acceptance.Part {
				r := startRedis(s)
				for _, name := range accounts {
					s.Must(r.Do(s.T().Context(), slices.Concat([]string{"ACL", "SETUSER", name, "off", "resetpass"}, redisRights)...))
				}
				return redisPart(r, func(name string) string { return "redis: {mode: alternate, template: " + name + "}" })
			},
		},
	}
}

func startRedis(s *acceptance.Stage) *realparts.RedisServer {
	return acceptance.Once(s, "redis", func() *realparts.RedisServer {
		r := realparts.Redis(s.T(), realparts.RedisOptions{})
		password := rand.Text()
		s.Must(r.Do(s.T().Context(), "ACL", "SETUSER", "custody_admin", "on", ">"+password, "+acl|list", "+acl|setuser", "+acl|save", "+client|list"))
		host, port := s.Via(r.Host, r.Port)
		s.Upstream("redis", fmt.Sprintf("redis: {host: %s, port: %d, tls: disable}", host, port),
			map[string]string{"username": "custody_admin", "password": password}, "redis: {mode: dual, user: custody_admin}")
		return r
	})
}

func redisPart(r *realparts.RedisServer, account func(string) string) acceptance.Part {
	users := func(ctx context.Context) (map[string][]string, error) {
		reply, err := r.Do(ctx, "ACL", "LIST")
		lines, _ := reply.([]any)
		users := map[string][]string{}
		for _, line := range lines {
			words := strings.Fields(fmt.Sprint(line)) // user NAME and rules
			users[words[1]] = words[2:]
		}
		return users, err
	}
	return acceptance.Part{
		At: fmt.Sprintf("%s:%d", r.Host, r.Port), Upstream: "redis", Account: account, Log: r.Log,
		Held: func(ctx context.Context, name string) (held []string, err error) {
			all, err := users(ctx)
			for _, user := range []string{name, name + "_a", name + "_b"} {
				for _, word := range all[user] {
					if strings.HasPrefix(word, "#") && !strings.HasPrefix(word, redisMarker) && slices.Contains(all[user], "on") {
						held = append(held, user+" "+word[:9])
					}
				}
			}
			return held, err
		},
		Rights: func(ctx context.Context, _ string, fields map[string]string) (string, error) {
			all, err := users(ctx)
			rules := slices.DeleteFunc(all[fields["username"]], func(word string) bool { return strings.HasPrefix(word, "#") })
			return strings.Join(rules, " "), err
		},
	}
}

// redisMarker begins the entries with which Custody marks a user: no password has such a digest.
var redisMarker = "#" + hex.EncodeToString([]byte("custody"))

func redisSignIn(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error) {
	client := redis.NewClient(&redis.Options{
		Addr: at, Username: fields["username"], Password: fields["password"], MaxRetries: -1, PoolSize: 1, DialerRetries: 1,
	})
	defer func() { _ = client.Close() }()
	err := client.Get(ctx, "orders:1").Err()
	var said redis.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return upstream.Accepted, nil
	case errors.As(err, &said) && strings.HasPrefix(said.Error(), "WRONGPASS"):
		return upstream.Refused, nil
	}
	return upstream.Unknown, err
}
