// SPDX-License-Identifier: Apache-2.0

package rabbitmq_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/rabbitmq"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
)

var onBroker = []struct {
	name string
	test func(*rig)
}{
	{"ForeignClaimIsRefused", testForeign},
	{"UnfitUsersAreRefused", testUnfit},
	{"RightsAreTheTemplates", testRights},
	{"AdminWithoutRightsAppliesNothing", testAdminRights},
	{"AdminRotatesItself", testSelf},
	{"OpenConnectionsAreNamedAndStay", testUses},
	{"PasswordsOfAnyText", testAnyText},
	{"VerdictsOfTheBroker", testVerdicts},
	{"ForeignUserIsNeverChanged", testForeignUser},
	{"UserOfThePairWithoutTheClaim", testUnclaimed},
	{"PasswordIsNotSentToBeSet", testNotSent},
	{"AnswersOfTheManagementInterface", testAnswers},
	{"LateCallLands", testLate},
	{"ClientTellsRefusalFromAbsence", testClient},
}

// refused checks that run-2 may not follow first, with what class, and that a person is told what to do.
func (r *rig) refused(u upstream.Upstream, class error, first secret.Value, why string) {
	r.Helper()
	everything := func() string { return r.get("users") + r.get("permissions") }
	before := everything()
	candidate, err := u.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	_, err = u.Apply(r.Context(), "run-2", first, candidate)
	var said *upstream.Error
	if !errors.Is(err, class) || !errors.As(err, &said) || said.Hint() == "" {
		r.Errorf("%s: got %v, want %v with a hint", why, err, class)
	}
	if diff := cmp.Diff(before, everything()); diff != "" {
		r.Errorf("%s: users changed (-before +after):\n%s", why, diff)
	}
}

func testForeign(r *rig) {
	for _, mode := range modes {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		other := config
		other.Claim = "shop/production/orders-queue"
		r.refused(r.open(other), upstream.ErrSuperseded, first, string(mode))
		if mode == upstream.Alternate {
			if err := r.open(other).Revoke(r.Context(), "run-2", first, secret.Value{}); !errors.Is(err, upstream.ErrSuperseded) {
				r.Errorf("Revoke: got %v, want ErrSuperseded", err)
			}
			// The claim on a user of the pair counts as well.
			r.put(map[string]any{"password_hash": "", "tags": "monitoring"}, "users", config.Template)
			r.put(map[string]any{"password_hash": "", "tags": "custody.claim=shop/test/another"}, "users", config.Users[1])
			r.refused(u, upstream.ErrSuperseded, first, "a user of the pair")
			r.put(map[string]any{"password_hash": "", "tags": ""}, "users", config.Users[1])
		} else {
			r.put(map[string]any{"password_hash": "", "tags": "monitoring"}, "users", config.User)
		}
		upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-3", first), "the candidate once the marker is gone")
	}
}

func testUnfit(r *rig) {
	for name, body := range map[string]map[string]any{
		"the template has a password":      {"password": "template", "tags": ""},
		"the template is an administrator": {"password_hash": "", "tags": "administrator"},
	} {
		config := r.config(upstream.Alternate)
		r.put(body, "users", config.Template)
		r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, name)
	}
	config := r.config(upstream.Alternate)
	r.put(map[string]any{"password": "mine", "tags": ""}, "users", config.Users[0])
	r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "a user of the pair is somebody else's")
	for _, mode := range modes {
		config := r.config(mode)
		r.ask(http.MethodDelete, nil, "users", config.User+config.Template)
		r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "nobody to begin with")
	}
}

func testRights(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	for _, vhost := range []string{"orders/eu", "old"} {
		r.put(map[string]any{}, "vhosts", vhost)
		r.put(map[string]any{"configure": "", "write": "^" + vhost, "read": ".*"}, "permissions", vhost, config.Template)
		for _, exchange := range []string{"amq.topic", "amq.direct"} {
			r.put(map[string]any{"exchange": exchange, "write": "^a", "read": "^b"}, "topic-permissions", vhost, config.Template)
		}
	}
	r.put(map[string]any{"value": 7}, "user-limits", config.Template, "max-connections")
	r.put(map[string]any{"value": 70}, "user-limits", config.Template, "max-channels")
	same := func(name, when string) {
		r.Helper()
		rights := func(name string) string {
			all := r.get("users", name, "permissions") + r.get("users", name, "topic-permissions") + r.get("user-limits", name)
			return strings.ReplaceAll(all, `"user":"`+name+`"`, `"user":"-"`)
		}
		tags := slices.DeleteFunc(r.user(name).Tags, func(tag string) bool { return strings.HasPrefix(tag, "custody.") })
		if diff := cmp.Diff([]string{"monitoring", "orders"}, tags); diff != "" {
			r.Errorf("%s: tags of %s (-want +got):\n%s", when, name, diff)
		}
		if diff := cmp.Diff(rights(config.Template), rights(name)); diff != "" || !strings.Contains(rights(name), "amq.topic") || !strings.Contains(rights(name), "max-connections") {
			r.Errorf("%s: rights of %s (-template +user):\n%s", when, name, diff)
		}
	}
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	same(config.Users[0], "created")
	second := upstreamtest.Issue(r, u, "run-2", first)
	r.ask(http.MethodDelete, nil, "permissions", "old", config.Template)
	r.ask(http.MethodDelete, nil, "topic-permissions", "old", config.Template)
	r.ask(http.MethodDelete, nil, "user-limits", config.Template, "max-channels")
	r.put(map[string]any{"configure": "", "write": "", "read": "^x"}, "permissions", "/", config.Template)
	third := upstreamtest.Issue(r, u, "run-3", second)
	same(config.Users[0], "after the template changed")
	if err := u.Revoke(r.Context(), "run-3", second, third); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, second, "the revoked credential")
	if tags := r.user(config.Users[1]).Tags; !slices.Contains(tags, "custody.claim=shop/test/orders-queue") || slices.Contains(tags, "custody.run=run-2") {
		r.Errorf("tags of the revoked user: got %v, want the claim and no run", tags)
	}
}

func testAdminRights(r *rig) {
	weak := upstreamtest.Login(r, "weak", upstreamtest.Password(r))
	for _, tags := range []string{"", "management", "policymaker", "monitoring"} {
		r.put(map[string]any{"password": weak.ExposeText("password"), "tags": tags}, "users", "weak")
		for _, mode := range modes {
			config := r.config(mode)
			config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{weak}, nil }
			r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "admin with the tag "+tags)
			v, err := r.open(config).Propose(r.Context(), secret.Value{})
			if err != nil {
				r.Fatal(err)
			}
			if _, err = r.open(config).Apply(r.Context(), "run-2", secret.Value{}, v); !strings.Contains(upstream.Explained(err), "the tag administrator") {
				r.Errorf("admin with the tag %s: got %q, want the tag named", tags, upstream.Explained(err))
			}
		}
	}
	config := r.config(upstream.Alternate)
	config.Admin = func(context.Context) ([]secret.Value, error) {
		return []secret.Value{upstreamtest.Login(r, "custody_admin", "wrong"), r.admin}, nil
	}
	upstreamtest.Is(r, r.open(config), upstream.Accepted, upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{}), "applied by the second admin credential")
}

func testSelf(r *rig) {
	config := r.config(upstream.Overwrite)
	current := upstreamtest.Login(r, config.User, upstreamtest.Password(r))
	r.put(map[string]any{"password": current.ExposeText("password"), "tags": "administrator"}, "users", config.User)
	known := []secret.Value{current}
	config.Admin = func(context.Context) ([]secret.Value, error) { return known, nil }
	u := r.open(config)
	candidate, err := u.Propose(r.Context(), current)
	if err != nil {
		r.Fatal(err)
	}
	known = []secret.Value{current, candidate} // escrowed before it is applied
	for range 2 {                              // the second time, the current credential is refused already
		if _, err := u.Apply(r.Context(), "run-1", current, candidate); err != nil {
			r.Fatal(err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, candidate, "the new credential")
		upstreamtest.Is(r, u, upstream.Refused, current, "the old credential")
	}
	if tags := r.user(config.User).Tags; !slices.Contains(tags, "administrator") || !slices.Contains(tags, "custody.run=run-1") {
		r.Errorf("tags: got %v, want administrator kept beside the marker", tags)
	}
	known = []secret.Value{current}
	if _, err := u.Apply(r.Context(), "run-1", current, candidate); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("with refused admin credentials alone: got %v, want ErrNotApplied", err)
	}
}

// dial signs in with the vendor's library, as a consumer does.
func (r *rig) dial(v secret.Value, name string) *amqp.Connection {
	r.Helper()
	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)
	conn, err := amqp.DialConfig(fmt.Sprintf("amqp://%s:%d/", r.server.Host, r.server.Port), amqp.Config{
		SASL:       []amqp.Authentication{&amqp.PlainAuth{Username: v.ExposeText("username"), Password: v.ExposeText("password")}},
		Properties: properties,
	})
	if err != nil {
		r.Fatal(err)
	}
	return conn
}

func testUses(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	began := time.Now()
	uses := func(want int) []upstream.Use {
		r.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for { // the broker tells of connections every few seconds
			got, err := rabbitmq.WithPages(u, 1).Uses(r.Context(), first, began)
			if err != nil {
				r.Fatal(err)
			}
			if len(got) == want {
				return got
			}
			<-tick.C
		}
	}
	uses(0)
	old, second1 := r.dial(first, "orders-service"), r.dial(second, "moved-on")
	defer second1.Close()
	again := r.dial(first, "reports")
	upstreamtest.Is(r, u, upstream.Accepted, first, "the old credential")
	asked := time.Now()
	got := uses(2)
	r.Logf("both connections were listed after %s", time.Since(asked).Round(time.Millisecond))
	names := got[0].Who + got[1].Who
	for _, want := range []string{"orders-service", "reports", "127.0.0.1:", "since 20"} {
		if !strings.Contains(names, want) {
			r.Errorf("got %v, want %s in it", got, want)
		}
	}
	if got[0].Last.Before(asked) || strings.Contains(names, "moved-on") {
		r.Errorf("got %v, want those who are signed in as the old user, now", got)
	}
	if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	if channel, err := old.Channel(); err != nil {
		r.Errorf("an open connection after revoking: got %v, want it left alone", err)
	} else if _, err := channel.QueueDeclare("orders.kept", false, true, false, false, nil); err != nil {
		r.Errorf("its rights after revoking: got %v, want them kept", err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the revoked credential")
	fresh := old.NotifyClose(make(chan *amqp.Error, 1))
	if ended, err := u.EndSessions(r.Context(), first); err != nil || ended != 2 {
		r.Errorf("ending sessions: %d, %v, want 2", ended, err)
	}
	if reason, told := <-fresh; told && reason == nil {
		r.Error("the session ended without a reason")
	}
	if _, err := old.Channel(); err == nil || second1.IsClosed() {
		r.Errorf("the old session is open: %t; that of the new credential is closed: %t", err == nil, second1.IsClosed())
	}
	_ = old.Close()
	_ = again.Close()
	uses(0)
}

func testAnyText(r *rig) {
	for _, mode := range modes {
		u := r.open(r.config(mode))
		v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		for i, password := range []string{"spaces and\r\nlines", "käse-½", strings.Repeat("long", 700), " "} {
			next, err := v.With("password", []byte(password))
			if err != nil {
				r.Fatal(err)
			}
			if _, err := u.Apply(r.Context(), "run-2", v, next); err != nil {
				r.Errorf("password %d: %v", i, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, next, fmt.Sprintf("password %d", i))
		}
		for password, want := range map[string]error{
			"": upstream.ErrNotApplied, "nul\x00": upstream.ErrRefusedCandidate, strings.Repeat("long", 2000): upstream.ErrRefusedCandidate,
		} {
			next, err := v.With("password", []byte(password))
			if err != nil {
				r.Fatal(err)
			}
			if _, err := u.Apply(r.Context(), "run-2", v, next); !errors.Is(err, want) {
				r.Errorf("password of %d bytes: got %v, want %v", len(password), err, want)
			}
		}
	}
}

func testVerdicts(r *rig) {
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	at := func(change func(*rabbitmq.Server)) upstream.Upstream {
		elsewhere := config
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	silent := func(change func(*rabbitmq.Server)) upstream.Upstream {
		elsewhere := config
		elsewhere.CallDeadline = time.Second // both wait for the other to begin
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	upstreamtest.Is(r, at(func(s *rabbitmq.Server) { s.Host = "localhost" }), upstream.Accepted, v, "by name")
	upstreamtest.Is(r, at(func(s *rabbitmq.Server) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
	upstreamtest.Is(r, silent(func(s *rabbitmq.Server) { s.Port = r.server.ManagementPort }), upstream.Unknown, v, "another protocol")
	upstreamtest.Is(r, silent(func(s *rabbitmq.Server) { s.Port = r.server.TLSPort }), upstream.Unknown, v, "a listener with TLS, without")
	upstreamtest.Is(r, silent(func(s *rabbitmq.Server) { s.TLS, s.CACertificate = "", r.server.CA }), upstream.Unknown, v, "a listener without TLS, with")
	secure := config
	r.tls(&secure)
	upstreamtest.Is(r, r.open(secure), upstream.Accepted, v, "with TLS")
	secure.Server.CACertificate = ""
	upstreamtest.Is(r, r.open(secure), upstream.Unknown, v, "an authority that is not known here")
	r.put(map[string]any{"value": 0}, "user-limits", config.User, "max-connections")
	upstreamtest.Is(r, u, upstream.Accepted, v, "a user at its limit of connections")
	r.ask(http.MethodDelete, nil, "permissions", "/", config.User)
	upstreamtest.Is(r, u, upstream.Accepted, v, "a user without a permission")
	r.put(map[string]any{"password_hash": "", "tags": ""}, "users", config.User)
	upstreamtest.Is(r, u, upstream.Refused, v, "a user without a password")
	upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(r, config.User, ""), "an empty password for a user without one")
	r.ask(http.MethodDelete, nil, "users", config.User)
	upstreamtest.Is(r, u, upstream.Refused, v, "no such user")
}

func testForeignUser(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	old := upstreamtest.Login(r, "legacy", upstreamtest.Password(r))
	r.put(map[string]any{"password": old.ExposeText("password"), "tags": ""}, "users", "legacy")
	successor := upstreamtest.Issue(r, u, "run-1", old)
	if err := u.Revoke(r.Context(), "run-1", old, successor); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Revoke of a user outside the pair: got %v, want ErrNotApplied", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, old, "the user outside the pair")
	r.put(map[string]any{"password_hash": "", "tags": ""}, "users", "legacy")
	if err := u.Revoke(r.Context(), "run-1", old, successor); err != nil {
		r.Errorf("Revoke, after somebody did it by hand: %v", err)
	}
	if _, err := u.Apply(r.Context(), "run-1", successor, old); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("Apply of a user outside the pair: got %v, want ErrNotApplied", err)
	}
}

// A user of the pair that somebody else made is taken back only from whom its own password is handed in for.
func testUnclaimed(r *rig) {
	for _, algorithm := range []string{"rabbit_password_hashing_sha256", "rabbit_password_hashing_sha512"} {
		config := r.config(upstream.Alternate)
		u := r.open(config)
		theirs := upstreamtest.Login(r, config.Users[0], upstreamtest.Password(r))
		r.put(map[string]any{"password": theirs.ExposeText("password"), "hashing_algorithm": algorithm, "tags": "orders"}, "users", config.Users[0])
		if algorithm != "rabbit_password_hashing_sha256" { // which the broker takes with a hash alone
			salt := []byte{1, 2, 3, 4}
			sum := sha512.Sum512(append(bytes.Clone(salt), theirs.Expose("password")...))
			r.put(map[string]any{
				"password_hash": base64.StdEncoding.EncodeToString(append(salt, sum[:]...)), "hashing_algorithm": algorithm, "tags": "orders",
			}, "users", config.Users[0])
		}
		upstreamtest.Is(r, u, upstream.Accepted, theirs, algorithm+": the user's own password")
		r.refused(u, upstream.ErrNotApplied, secret.Value{}, "somebody else's user")
		candidate, err := u.Propose(r.Context(), secret.Value{})
		if err != nil {
			r.Fatal(err)
		}
		before := r.get("users") + r.get("permissions")
		if err := u.Revoke(r.Context(), "run-2", candidate, secret.Value{}); err != nil {
			r.Errorf("%s: taking back what was refused: %v", algorithm, err)
		}
		if before != r.get("users")+r.get("permissions") {
			r.Errorf("%s: taking back what was refused changed users", algorithm)
		}
		upstreamtest.Is(r, u, upstream.Accepted, theirs, algorithm+": the user's own password")
		if err := u.Revoke(r.Context(), "run-2", theirs, secret.Value{}); err != nil {
			r.Errorf("%s: Revoke by the user's own password: %v", algorithm, err)
		}
		upstreamtest.Is(r, u, upstream.Refused, theirs, algorithm+": the user's own password, once revoked")
	}
}

// A broker that answers sign-ins from a cache lets a revoked password in for as long as the document says, and not longer.
func TestAuthenticationCache(t *testing.T) {
	t.Parallel()
	const cache = 4 * time.Second
	r := newRig(t, realparts.RabbitMQOptions{
		Plugins: []string{"rabbitmq_auth_backend_cache"},
		Settings: map[string]string{
			"auth_backends.1": "cache", "auth_cache.cached_backend": "internal", "auth_cache.cache_ttl": fmt.Sprint(cache.Milliseconds()),
		},
	})
	var u upstream.Upstream
	var first secret.Value
	var revoked time.Time
	for fromCache := false; !fromCache; { // on a busy machine the entry may be gone before it is looked for
		config := r.config(upstream.Alternate)
		config.AuthCache = cache
		u = r.open(config)
		if got := u.Kind().Settle; got != cache {
			t.Errorf("settle time: got %s, want %s", got, cache)
		}
		cached := time.Now()
		first = upstreamtest.Issue(r, u, "run-1", secret.Value{})
		upstreamtest.Is(r, u, upstream.Accepted, first, "the first credential")
		second := upstreamtest.Issue(r, u, "run-2", first)
		if err := u.Revoke(t.Context(), "run-2", first, second); err != nil {
			t.Fatal(err)
		}
		revoked = time.Now()
		verdict, err := u.Verify(t.Context(), first)
		fromCache = verdict == upstream.Accepted
		if took := time.Since(cached); !fromCache && (err != nil || took < cache) {
			t.Fatalf("the revoked credential, %s after its first use: got %s (%v), want it accepted from the cache", took, verdict, err)
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		began := time.Now()
		verdict, err := u.Verify(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		if verdict == upstream.Refused {
			t.Logf("refused %s after it was revoked", time.Since(revoked).Round(time.Millisecond))
			return
		}
		if began.Sub(revoked) > cache+time.Second {
			t.Fatalf("still accepted %s after it was revoked", began.Sub(revoked))
		}
		<-tick.C
	}
}
