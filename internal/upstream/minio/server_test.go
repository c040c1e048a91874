// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"
)

func TestOnServer(t *testing.T) {
	t.Parallel()
	server := newRig(t, realparts.MinIOOptions{})
	for _, test := range []struct {
		name string
		test func(*rig)
	}{
		{"AdminIsTheUserItself", testOwnUser},
		{"KeyRotatesItself", testSelf},
		{"NoLessRightsSuffice", testRights},
		{"ForeignClaimIsRefused", testForeign},
		{"KeyFromBeforeIsDeletedOnlyWithItsSecret", testAdopted},
		{"KeyOfAnotherUserIsNeverDeleted", testForeignUser},
		{"TwoSecretsOfOneUser", testNeighbours},
		{"VerdictsOfServerErrors", testVerdicts},
		{"PolicyNarrows", testPolicy},
		{"ExpiryIsSet", testExpiry},
		{"LateRequestLandsNowhere", testLate},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(server.on(t)) })
	}
}

// round rotates once and undoes once.
func (r *rig) round(u *Upstream) {
	r.Helper()
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	third := upstreamtest.Issue(r, u, "run-3", second)
	if err := u.Revoke(r.Context(), "run-3", third, second); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the old key")
	upstreamtest.Is(r, u, upstream.Accepted, second, "the current key")
	upstreamtest.Is(r, u, upstream.Refused, third, "the key of the run that was undone")
}

func testOwnUser(r *rig) {
	user := r.user("all-buckets")
	config := r.configFor(user)
	config.Admin = upstreamtest.Admins(credential(r.T, user.ExposeText(accesskey.ID), "another-secret"), user) // the second is not refused
	r.round(r.open(config))
}

func testSelf(r *rig) {
	config := r.config()
	first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
	config.Admin = upstreamtest.Admins(first)
	u := r.open(config)
	second := upstreamtest.Issue(r, u, "run-2", first)
	config.Admin = upstreamtest.Admins(second)
	u = r.open(config)
	for range 2 {
		if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
			r.Fatal(err)
		}
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the old key")
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new key")
	config.Admin = upstreamtest.Admins(first)
	if _, err := r.open(config).Apply(r.Context(), "run-3", second, second); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("with a refused admin: got %v, want ErrNotApplied", err)
	}
}

func testRights(r *rig) {
	var all []string
	var document struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(leastRights), &document); err != nil {
		r.Fatal(err)
	}
	all = document.Statement[0].Action
	if len(all) != 3 {
		r.Fatalf("the page's rights: got %v", all)
	}
	for i, missing := range all {
		rest := append(append([]string{}, all[:i]...), all[i+1:]...)
		name := "without-" + strings.TrimPrefix(missing, "admin:")
		encoded, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": rest}}})
		if err != nil {
			r.Fatal(err)
		}
		r.policy(name, string(encoded))
		config := r.config()
		first := upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{})
		config.Admin = upstreamtest.Admins(r.user(name))
		u := r.open(config)
		candidate, err := u.Propose(r.Context(), first)
		if err != nil {
			r.Fatal(err)
		}
		_, applied := u.Apply(r.Context(), "run-2", first, candidate)
		revoked := u.Revoke(r.Context(), "run-2", first, candidate)
		failed := 0
		for _, err := range []error{applied, revoked} {
			if err == nil {
				continue
			}
			failed++
			upstreamtest.Hinted(r, upstream.ErrNotApplied, err, name)
		}
		if failed == 0 {
			r.Errorf("%s: all succeeded, so the page asks for more than is needed", name)
		}
	}
	config := r.config() // another user's key lists its own keys, which prove nothing
	config.Admin = upstreamtest.Admins(upstreamtest.Issue(r, r.open(r.config()), "run-1", secret.Value{}))
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, candidate); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("by another user's key: got %v, want ErrNotApplied", err)
	}
}

func testForeign(r *rig) {
	config := r.config()
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	config.Claim = "shop/production/orders-bucket"
	other := r.open(config)
	second := upstreamtest.Issue(r, other, "run-2", first)
	for what, err := range map[string]error{
		"Revoke": other.Revoke(r.Context(), "run-2", first, second),
		"Apply":  func() error { _, err := other.Apply(r.Context(), "run-2", second, first); return err }(),
	} {
		upstreamtest.Hinted(r, upstream.ErrSuperseded, err, what+" of a key with another claim")
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the key of the other claim")
	newer := r.add(u, "custody/2 of a form to come")
	if err := u.Revoke(r.Context(), "run-1", newer, first); !errors.Is(err, upstream.ErrSuperseded) {
		r.Errorf("Revoke of a key with a claim of a newer form: got %v, want ErrSuperseded", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, newer, "the key with a claim of a newer form")
}

// add makes a key by hand.
func (r *rig) add(u *Upstream, description string) secret.Value {
	r.Helper()
	v, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	r.asRoot(http.MethodPut, "add-service-account", nil, map[string]string{
		"targetUser": u.User, "accessKey": v.ExposeText(accesskey.ID), "secretKey": v.ExposeText(accesskey.Secret), "name": "byhand", "description": description,
	})
	return v
}

func testAdopted(r *rig) {
	u := r.open(r.config())
	old := r.add(u, "for the orders team, ask before touching")
	successor := upstreamtest.Issue(r, u, "run-1", old)
	wrong := credential(r.T, old.ExposeText(accesskey.ID), "another-secret")
	if err := u.Revoke(r.Context(), "run-1", wrong, successor); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Revoke by a secret that does not open the key: got %v, want ErrNotApplied", err)
	}
	if _, err := u.Apply(r.Context(), "run-1", successor, old); !errors.Is(err, upstream.ErrSuperseded) {
		r.Errorf("Apply over a key made by hand: got %v, want ErrSuperseded", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, old, "the key made by hand")
	if err := u.Revoke(r.Context(), "run-1", old, successor); err != nil {
		r.Errorf("Revoke by its secret: %v", err)
	}
	upstreamtest.Is(r, u, upstream.Refused, old, "the key made by hand, once revoked")
}

func testForeignUser(r *rig) {
	u := r.open(r.config())
	elsewhere := r.user("all-buckets")
	successor := upstreamtest.Issue(r, u, "run-1", elsewhere)
	if err := u.Revoke(r.Context(), "run-1", elsewhere, successor); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Revoke of another user's credential: got %v, want ErrNotApplied", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, elsewhere, "the other user")
	r.asRoot(http.MethodPut, "set-user-status", url.Values{"accessKey": {elsewhere.ExposeText(accesskey.ID)}, "status": {"disabled"}}, nil)
	upstreamtest.Is(r, u, upstream.Refused, elsewhere, "the other user, switched off")
	if err := u.Revoke(r.Context(), "run-1", elsewhere, successor); err != nil {
		r.Errorf("Revoke, after somebody did it by hand: %v", err)
	}
}

func testNeighbours(r *rig) {
	config := r.config()
	one := r.open(config)
	config.Claim = "shop/test/invoices-bucket"
	two := r.open(config)
	first := upstreamtest.Issue(r, one, "run-1", secret.Value{})
	other := upstreamtest.Issue(r, two, "run-5", secret.Value{})
	second := upstreamtest.Issue(r, one, "run-2", first)
	if err := one.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, one, upstream.Refused, first, "the old key")
	upstreamtest.Is(r, two, upstream.Accepted, other, "the other secret's key")
	if got := len(r.keys(config.User)); got != 2 {
		r.Errorf("the user has %d keys, want 2", got)
	}
}

func testVerdicts(r *rig) {
	config := r.config()
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	at := func(change func(*Server)) *Upstream {
		elsewhere := config
		elsewhere.Server.Endpoint, elsewhere.Server.CACertificate = r.server.URL(), r.server.CACertificate
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	answers := func(status int, kind, body string) *Upstream {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			w.Header().Set("Location", r.server.URL())
			upstreamtest.Says(status, kind, body)(w, request)
		}))
		r.Cleanup(server.Close)
		return at(func(s *Server) { s.Endpoint = server.URL })
	}
	const slow = `<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>`
	upstreamtest.Is(r, u, upstream.Accepted, v, "as it should be")
	upstreamtest.Is(r, at(func(s *Server) { s.Endpoint = "https://127.0.0.1:1" }), upstream.Unknown, v, "nobody listening")
	upstreamtest.Is(r, at(func(s *Server) { s.Endpoint = "http://" + r.server.Address() }), upstream.Unknown, v, "no TLS to a server of TLS")
	upstreamtest.Is(r, answers(http.StatusOK, "text/html", "<html>welcome</html>"), upstream.Unknown, v, "a page of something else")
	upstreamtest.Is(r, answers(http.StatusForbidden, "text/html", "<html>forbidden</html>"), upstream.Unknown, v, "a refusal of something else")
	upstreamtest.Is(r, answers(http.StatusTemporaryRedirect, "text/html", ""), upstream.Unknown, v, "a redirect")
	upstreamtest.Is(r, answers(http.StatusInternalServerError, "application/xml", "<Error><Code>InternalError</Code></Error>"), upstream.Unknown, v, "an internal error")
	busy := answers(http.StatusServiceUnavailable, "application/xml", slow)
	upstreamtest.Is(r, busy, upstream.Unknown, v, "too many requests")
	_, err := busy.Verify(r.Context(), v)
	if _, later := errors.AsType[*upstream.Later](err); !later {
		r.Errorf("too many requests: got %v, want upstream.Later", err)
	}
	_, err = busy.Apply(r.Context(), "run-2", v, v)
	if _, later := errors.AsType[*upstream.Later](err); !later || !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Apply, too many requests: got %v, want upstream.Later and ErrNotApplied", err)
	}
	strange := config
	strange.Server.CACertificate = newAuthority(r.T)
	upstreamtest.Is(r, r.open(strange), upstream.Unknown, v, "another certificate authority")
	wrong := credential(r.T, v.ExposeText(accesskey.ID), "another-secret")
	upstreamtest.Is(r, u, upstream.Refused, wrong, "a wrong secret")
	r.asRoot(http.MethodPost, "update-service-account", url.Values{"accessKey": {v.ExposeText(accesskey.ID)}}, map[string]string{"newStatus": "off"})
	upstreamtest.Is(r, u, upstream.Refused, v, "a key that is switched off")
	if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, v); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Apply of a key that is switched off: got %v, want ErrNotApplied", err)
	}
}

func testPolicy(r *rig) {
	config := r.config()
	config.Policy = `{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	a, err := u.read(r.Context(), "testing", v, question{method: http.MethodGet, path: "/"})
	if err != nil || a.code != codeDenied {
		r.Errorf("listing buckets against the policy: got %s %v, want %s", a.code, err, codeDenied)
	}
	upstreamtest.Is(r, u, upstream.Accepted, v, "a key that may do nothing")
	upstreamtest.Is(r, u, upstream.Refused, credential(r.T, v.ExposeText(accesskey.ID), "another-secret"), "a wrong secret for it")
	config.Policy = `{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}`
	u = r.open(config)
	if _, err := u.Apply(r.Context(), "run-2", v, v); err == nil {
		r.Error("a policy that MinIO does not know: got no error")
	}
}

func testExpiry(r *rig) {
	config := r.config()
	config.ExpiresAfter = 24 * time.Hour
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	upstreamtest.Is(r, u, upstream.Accepted, v, "a key that expires")
	var info struct{ Expiration time.Time }
	message := r.asRoot(http.MethodGet, "info-service-account", url.Values{"accessKey": {v.ExposeText(accesskey.ID)}}, nil)
	if err := json.Unmarshal(message, &info); err != nil {
		r.Fatal(err)
	}
	if left := time.Until(info.Expiration); left < 23*time.Hour || left > 25*time.Hour {
		r.Errorf("the key expires in %v, want about a day", left)
	}
}
