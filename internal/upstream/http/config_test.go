// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"

	"github.com/google/go-cmp/cmp"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	valid := func() adapter.Config {
		return adapter.Config{
			Recipe: compile(t, labRecipe(byBearer, byCursor)), URL: "https://api.example.org", Claim: "shop/test/key", Clock: time.Now,
			Parameters: map[string]any{"service": "shop"}, Admin: func(context.Context) ([]secret.Value, error) { return nil, nil },
		}
	}
	for name, change := range map[string]func(*adapter.Config){
		"no recipe":        func(c *adapter.Config) { c.Recipe = nil },
		"no clock":         func(c *adapter.Config) { c.Clock = nil },
		"no claim":         func(c *adapter.Config) { c.Claim = "" },
		"no admin":         func(c *adapter.Config) { c.Admin = nil },
		"plain":            func(c *adapter.Config) { c.URL = "http://api.example.org" },
		"user":             func(c *adapter.Config) { c.URL = "https://a:b@api.example.org" },
		"query":            func(c *adapter.Config) { c.URL = "https://api.example.org/?a=b" },
		"no address":       func(c *adapter.Config) { c.URL = "" },
		"unknown endpoint": func(c *adapter.Config) { c.Endpoints = map[string]string{"logon": "https://example.org"} },
		"not PEM":          func(c *adapter.Config) { c.CACertificate = "certificate" },
		"parameter":        func(c *adapter.Config) { c.Parameters = nil },
	} {
		config := valid()
		change(&config)
		if _, err := adapter.New(config); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if _, err := adapter.New(valid()); err != nil {
		t.Errorf("the valid one: %v", err)
	}
}

// steps tests what a recipe can do beyond the one of the page.
const steps = `
parameters:
  path: {type: text, default: plain, means: "a part of a path"}
fields:
  password: {means: "the password"}
  username: {means: "the user", public: true}
admin:
  fields: {certificate: "PEM", key: "PEM"}
  auth: {mtls: {certificate: "${admin.certificate}", key: "${admin.key}"}}
kind: {capability: overwrite, undo: reapply, lostReply: recover}
make:
  - password: password
  - text: {field: username, value: "robot-${params.path}"}
create:
  steps:
    - name: never
      if: params.path == "never"
      request: POST /never
      let: {what: response.body.what}
    - name: begun
      request: PUT /users/${params.path}/password
      query: {empty: "", user: "${candidate.username}"}
      form: {password: "${candidate.password}", digest: "${sha256(candidate.password)}", was: "${steps.never.what == null ? 'nothing' : 'something'}"}
      replies: [{when: response.status == 202, then: ok}]
      let: {job: 'response.header["x-job"]'}
    - name: done
      request: GET /jobs/${steps.begun.job}
      repeat: {until: response.body.state == "done", every: 10ms, most: 5}
verify:
  steps:
    - name: self
      request: GET /self
      auth: {basic: {username: "${secret.username}", password: "${secret.password}"}}
      replies:
        - {when: response.status == 204, then: accepted}
        - {when: response.status == 401, then: refused}
`

func TestStepsOfAnOverwriteKind(t *testing.T) {
	t.Parallel()
	password, seen, asked, needed := "", []string{}, 0, 3
	f := newTLSFake(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/self":
			if user, given, _ := r.BasicAuth(); user != "robot-a/../b c" || given != password || given == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		case len(r.TLS.PeerCertificates) != 1:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodPut:
			_ = r.ParseForm()
			seen = append(seen, r.URL.EscapedPath()+"?"+r.URL.RawQuery, r.PostForm.Get("was"), fmt.Sprint(len(r.PostForm.Get("digest"))))
			password = r.PostForm.Get("password")
			w.Header().Set("X-Job", "job-1")
			w.WriteHeader(http.StatusAccepted)
		default:
			asked++
			state := "running"
			if asked%needed == 0 {
				state = "done"
			}
			answer(w, http.StatusOK, map[string]string{"state": state})
		}
	}))
	certificate, key := clientCertificate(t)
	config := f.config(compile(t, steps), text(t, map[string]string{"certificate": certificate, "key": key}))
	config.Parameters = map[string]any{"path": "a/../b c"}
	drawn := 0
	config.NewPassword = func(io.Reader) (string, error) {
		drawn++
		return fmt.Sprintf("drawn-by-rule-%d", drawn), nil
	}
	u := f.upstream(t, config)
	first := apply(t, u, "run-1", text(t, map[string]string{"note": "kept"}))
	if diff := cmp.Diff([]string{"note", "password", "username"}, first.Names()); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	want := []string{"/users/a%2F..%2Fb%20c/password?user=robot-a%2F..%2Fb+c", "nothing", "64"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if asked != 3 {
		t.Errorf("asked for the job %d times, want 3", asked)
	}
	verdict(t, u, first, upstream.Accepted)
	second := apply(t, u, "run-2", first)
	verdict(t, u, first, upstream.Refused)
	if _, err := u.Apply(t.Context(), "run-2", second, first); err != nil {
		t.Errorf("reapplying: %v", err)
	}
	verdict(t, u, first, upstream.Accepted)

	// A job that does not end: the password may have been set.
	needed = 1000
	candidate, err := u.Propose(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Apply(t.Context(), "run-3", first, candidate); err == nil || strings.Contains(err.Error(), upstream.ErrNotApplied.Error()) {
		t.Errorf("a job without end: got %v, want an error that leaves it open", err)
	}

	// A trial brings the current one back.
	needed = 1
	if err := adapter.Try(t.Context(), config, first, adapter.Patience, func(adapter.Trial) {}); err != nil {
		t.Errorf("trying: %v", err)
	}
	verdict(t, u, first, upstream.Accepted)
	if err := adapter.Try(t.Context(), config, secret.Value{}, adapter.Patience, func(adapter.Trial) {}); err == nil {
		t.Error("trying without the current value: got no error")
	}
}

func clientCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
