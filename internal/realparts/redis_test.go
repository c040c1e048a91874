// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"errors"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
)

func TestRedisLivesAndDies(t *testing.T) {
	for _, options := range []realparts.RedisOptions{{}, {TLS: true}, {NoACLFile: true}} {
		server := realparts.Redis(t, options)
		save := []string{"ACL", "SAVE"}
		if options.NoACLFile {
			save = []string{"CONFIG", "REWRITE"}
		}
		for _, command := range [][]string{{"ACL", "SETUSER", "kept", "on", ">word"}, save} {
			if _, err := server.Do(t.Context(), command...); err != nil {
				t.Fatal(err)
			}
		}
		wrong, err := secret.Text(map[string]string{"username": server.Root.ExposeText("username"), "password": "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		client := server.Client(wrong, "")
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%+v: a wrong password signs in", options)
		}
		_ = client.Close()
		for range 2 {
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := server.Do(t.Context(), "PING"); err == nil {
			t.Errorf("%+v: the stopped server answers", options)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Do(t.Context(), "ACL", "GETUSER", "kept"); err != nil {
			t.Errorf("%+v: a user did not outlive stop and start: %v", options, err)
		}
	}
}

func TestRedisNotInstalled(t *testing.T) {
	_, err := realparts.StartRedis(t.Context(), t.TempDir(), realparts.RedisOptions{Bin: t.TempDir()})
	if !errors.Is(err, realparts.ErrNoRedis) || !strings.Contains(err.Error(), "install the package redis-server") {
		t.Errorf("got %v, want what to install", err)
	}
}
