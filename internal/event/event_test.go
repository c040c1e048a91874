// SPDX-License-Identifier: Apache-2.0

package event_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/event"
	"custody.dev/custody/internal/secret"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sign(key []byte, id, at, body string) http.Header {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	header := http.Header{}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", at)
	header.Set("webhook-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return header
}

func sender(t *testing.T, key string) event.Sender {
	t.Helper()
	v, err := secret.Text(map[string]string{"value": key})
	if err != nil {
		t.Fatal(err)
	}
	return event.Sender{Kind: event.Generic, Key: v, KeyField: "value"}
}

func TestReadGeneric(t *testing.T) {
	at := strconv.FormatInt(now.Unix(), 10)
	encoded := "whsec_" + base64.StdEncoding.EncodeToString([]byte("raw key"))
	for name, c := range map[string]struct {
		key, id, at, body string
		want              error
		reports           int
	}{
		"one secret":          {"key\n", "1", at, `{"ask":"rotate","secret":"a","reason":"r"}`, nil, 1},
		"a key of whsec":      {encoded, "1", at, `{"ask":"rotate","secret":"a","reason":"r"}`, nil, 1},
		"several":             {"key", "1", at, `{"ask":"compromise","secrets":["a","b"],"reason":"r"}`, nil, 2},
		"expiry":              {"key", "1", at, `{"ask":"expiry","secret":"a","expiresAt":"2030-01-01T00:00:00Z"}`, nil, 1},
		"expiry without time": {"key", "1", at, `{"ask":"expiry","secret":"a"}`, event.ErrMalformed, 0},
		"nothing asked":       {"key", "1", at, `{"secret":"a","reason":"r"}`, event.ErrMalformed, 0},
		"no secret":           {"key", "1", at, `{"ask":"rotate","reason":"r"}`, event.ErrMalformed, 0},
		"no reason":           {"key", "1", at, `{"ask":"rotate","secret":"a","reason":"\u0007 "}`, event.ErrMalformed, 0},
		"another field":       {"key", "1", at, `{"ask":"rotate","secret":"a","reason":"r","command":"x"}`, event.ErrMalformed, 0},
		"a minute early":      {"key", "1", strconv.FormatInt(now.Add(time.Minute).Unix(), 10), `{"ask":"rotate","secret":"a","reason":"r"}`, nil, 1},
		"six minutes late":    {"key", "1", strconv.FormatInt(now.Add(-6*time.Minute).Unix(), 10), `{"ask":"rotate","secret":"a","reason":"r"}`, event.ErrStale, 0},
		"no time":             {"key", "1", "soon", `{}`, event.ErrStale, 0},
		"no id":               {"key", "", at, `{}`, event.ErrUnsigned, 0},
		"an empty key":        {"", "1", at, `{}`, event.ErrUnsigned, 0},
	} {
		t.Run(name, func(t *testing.T) {
			key := []byte(strings.TrimSpace(c.key))
			if c.key == encoded {
				key = []byte("raw key")
			}
			got, err := sender(t, c.key).Read(sign(key, c.id, c.at, c.body), []byte(c.body), now)
			if !errors.Is(err, c.want) || len(got.Reports) != c.reports {
				t.Errorf("got %+v, %v, want %v and %d reports", got, err, c.want, c.reports)
			}
		})
	}
}

// Any bit of what is signed that differs makes the signature worthless.
func FuzzAnyChangeIsFound(f *testing.F) {
	f.Add(uint(0), byte(1))
	f.Add(uint(40), byte(128))
	v, err := secret.Text(map[string]string{"value": "key"})
	if err != nil {
		f.Fatal(err)
	}
	s := event.Sender{Kind: event.Generic, Key: v, KeyField: "value"}
	f.Fuzz(func(t *testing.T, at uint, flip byte) {
		body := []byte(`{"ask":"rotate","secret":"a","reason":"left the team"}`)
		header := sign([]byte("key"), "1", strconv.FormatInt(now.Unix(), 10), string(body))
		body[at%uint(len(body))] ^= flip
		if _, err := s.Read(header, body, now); flip != 0 && !errors.Is(err, event.ErrUnsigned) {
			t.Errorf("got %v, want it to be unsigned", err)
		}
	})
}

// What somebody else wrote is shown on terminals and kept on record.
func TestTextHasNothingThatATerminalActsOn(t *testing.T) {
	got := event.Text(" \x1b[31mred\u202e\nnext\t" + strings.Repeat("ä", 600))
	if strings.ContainsAny(got, "\x1b\u202e\n\t") || len(got) > 510 || !strings.HasPrefix(got, "[31mred next") {
		t.Errorf("got %q", got)
	}
}
