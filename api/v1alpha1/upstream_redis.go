// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RedisUpstream is a Redis or Valkey server with access control lists.
type RedisUpstream struct{}

// RedisAccount is one account there.
type RedisAccount struct{}
