// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/redis"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

func TestOnServer(t *testing.T) {
	server := newRig(t, 1, realparts.RedisOptions{})
	for _, test := range []struct {
		name string
		test func(*rig)
	}{
		{"ForeignClaimIsRefused", testForeign},
		{"UserWithoutPasswordIsFound", testNoPassword},
		{"UnfitUsersAreRefused", testUnfit},
		{"RightsAreTheTemplates", testRights},
		{"AdminWithoutRightsAppliesNothing", testAdminRights},
		{"AdminRotatesItself", testSelf},
		{"OpenConnectionsAreNamedAndStay", testUses},
		{"PasswordsOfAnyText", testAnyText},
		{"VerdictsOfServerErrors", testVerdicts},
		{"ForeignUserIsNeverChanged", testForeignUser},
		{"UserOfThePairThatNobodyHandedOver", testUnclaimed},
		{"UserOfThePairIsHandedOver", testHandedOver},
		{"OtherPasswordsAreKept", testOthers},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(server.on(t)) })
	}
}

var modes = []upstream.Capability{upstream.Dual, upstream.Alternate}

// refused checks that run-2 may not follow first, with what class, and that a person is told what to do.
func (r *rig) refused(u upstream.Upstream, class error, first secret.Value, why string) {
	r.Helper()
	before := fmt.Sprint(r.do("ACL", "LIST"))
	candidate, err := u.Propose(r.Context(), first)
	if err != nil {
		r.Fatal(err)
	}
	_, err = u.Apply(r.Context(), "run-2", first, candidate)
	var said *upstream.Error
	if !errors.Is(err, class) || !errors.As(err, &said) || said.Hint() == "" {
		r.Errorf("%s: got %v, want %v with a hint", why, err, class)
	}
	if diff := cmp.Diff(before, fmt.Sprint(r.do("ACL", "LIST"))); diff != "" {
		r.Errorf("%s: users changed (-before +after):\n%s", why, diff)
	}
}

func testForeign(r *rig) {
	for _, mode := range modes {
		config := r.config(mode)
		u := r.open(config)
		first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		other := config
		other.Claim = "shop/production/orders-cache"
		r.refused(r.open(other), upstream.ErrSuperseded, first, string(mode))
		if err := r.open(other).Revoke(r.Context(), "run-2", first, secret.Value{}); !errors.Is(err, upstream.ErrSuperseded) {
			r.Errorf("%s, Revoke: got %v, want ErrSuperseded", mode, err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, first, "the current credential")
		for _, name := range []string{config.User, config.Users[0], config.Users[1]} {
			_, own := r.digests(r.servers[0], name)
			for _, entry := range own {
				r.do("ACL", "SETUSER", name, "!"+entry[1:])
			}
		}
		upstreamtest.Is(r, r.open(other), upstream.Accepted, upstreamtest.Issue(r, r.open(other), "run-3", first), "the candidate once the marker is gone")
	}
}

func testNoPassword(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	r.do("ACL", "SETUSER", config.User, "nopass")
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Login(r, config.User, upstreamtest.Password(r)), "a password that nobody made")
	r.refused(u, upstream.ErrNotApplied, secret.Value{}, "a user without a password")
	r.do("ACL", "SETUSER", config.User, "resetpass")
	upstreamtest.Is(r, u, upstream.Refused, upstreamtest.Login(r, config.User, upstreamtest.Password(r)), "a password that nobody made, after resetpass")
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-3", secret.Value{}), "the candidate")
}

func testUnfit(r *rig) {
	for _, test := range []struct {
		name  string
		mode  upstream.Capability
		rules []string
		class error
	}{
		{"USER is off", upstream.Dual, []string{"off"}, upstream.ErrNotApplied},
		{"TEMPLATE is on", upstream.Alternate, []string{"on"}, upstream.ErrNotApplied},
		{"TEMPLATE has a password", upstream.Alternate, []string{">template"}, upstream.ErrNotApplied},
		{"TEMPLATE wants no password", upstream.Alternate, []string{"nopass"}, upstream.ErrNotApplied},
		{"USER_A has other rights", upstream.Alternate, []string{"on", ">mine", "+@all", "~*"}, upstream.ErrSuperseded},
	} {
		config := r.config(test.mode)
		name := config.User + config.Template
		if strings.HasPrefix(test.name, "USER_A") {
			name = config.Users[0]
		}
		r.do(append([]string{"ACL", "SETUSER", name}, test.rules...)...)
		r.refused(r.open(config), test.class, secret.Value{}, test.name)
	}
	for _, mode := range modes {
		config := r.config(mode)
		r.do("ACL", "DELUSER", config.User+config.Template)
		r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "nobody to begin with")
	}
}

func testRights(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	r.do("ACL", "SETUSER", config.Template, "+del")
	second := upstreamtest.Issue(r, u, "run-2", first)
	rights := map[string]string{}
	for _, line := range r.do("ACL", "LIST").([]any) {
		words := slices.DeleteFunc(strings.Fields(line.(string)), func(word string) bool {
			return word[0] == '#' || word == "sanitize-payload" || word == "on" || word == "off"
		})
		rights[words[1]] = strings.Join(words[2:], " ")
	}
	if got, want := rights[config.Users[1]], rights[config.Template]; got != want || !strings.Contains(want, "(~more:*") {
		r.Errorf("rights: got %s, want the template's, with its selector: %s", got, want)
	}
	client := r.servers[0].Client(second, "")
	defer client.Close()
	for command, allowed := range map[string]bool{
		"SET app:1 x": true, "DEL app:1": true, "GET shared:1": true, "SET shared:1 x": false, "SET other:1 x": false, "KEYS *": false, "CONFIG SET port 1": false,
	} {
		var words []any
		for word := range strings.FieldsSeq(command) {
			words = append(words, word)
		}
		if err := client.Do(r.Context(), words...).Err(); (err == nil || strings.HasPrefix(err.Error(), "redis: nil")) != allowed {
			r.Errorf("%s: got %v, want allowed: %v", command, err, allowed)
		}
	}
	if err := u.Revoke(r.Context(), "run-2", second, first); err != nil {
		r.Fatal(err)
	}
	if err := client.Do(r.Context(), "GET", "app:1").Err(); err != nil && !strings.HasPrefix(err.Error(), "redis: nil") {
		r.Errorf("an open connection after revoking: got %v, want it left alone", err)
	}
}

func testAdminRights(r *rig) {
	for _, right := range adminRights[:3] {
		for _, mode := range modes {
			config, used := r.config(mode), r.config(mode)
			first := upstreamtest.Issue(r, r.open(used), "run-1", secret.Value{})
			r.do("ACL", "SETUSER", "custody_admin", "-"+right[1:])
			r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "admin without "+right)
			r.refused(r.open(used), upstream.ErrNotApplied, first, "admin that lost "+right)
			r.do("ACL", "SETUSER", "custody_admin", right)
		}
	}
	config := r.config(upstream.Alternate)
	config.Admin = func(context.Context) ([]secret.Value, error) {
		return []secret.Value{upstreamtest.Login(r, "custody_admin", "wrong"), r.admin}, nil
	}
	upstreamtest.Is(r, r.open(config), upstream.Accepted, upstreamtest.Issue(r, r.open(config), "run-1", secret.Value{}), "applied by the second admin credential")
	config.Admin = func(context.Context) ([]secret.Value, error) {
		return []secret.Value{upstreamtest.Login(r, "custody_admin", "wrong")}, nil
	}
	r.refused(r.open(config), upstream.ErrNotApplied, secret.Value{}, "no admin credential is right")
}

func testSelf(r *rig) {
	config := r.config(upstream.Dual)
	r.do(append([]string{"ACL", "SETUSER", config.User, ">bootstrap"}, adminRights...)...)
	current := upstreamtest.Login(r, config.User, "bootstrap")
	config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{current}, nil }
	u := r.open(config)
	next := upstreamtest.Issue(r, u, "run-1", current)
	config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{next}, nil }
	if err := r.open(config).Revoke(r.Context(), "run-1", current, next); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, current, "the old password")
	upstreamtest.Is(r, u, upstream.Accepted, next, "the new password")
}

func testUses(r *rig) {
	u := r.open(r.config(upstream.Alternate))
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	uses := func() []upstream.Use {
		r.Helper()
		upstreamtest.Is(r, u, upstream.Accepted, first, "the old credential") // Custody's own sign-in, right before
		got, err := u.Uses(r.Context(), first, time.Now().Add(-time.Minute))
		if err != nil {
			r.Fatal(err)
		}
		return got
	}
	if got := uses(); len(got) != 0 {
		r.Errorf("nobody is signed in: got %v", got)
	}
	client := r.servers[0].Client(first, "orders-service")
	if err := client.Ping(r.Context()).Err(); err != nil {
		r.Fatal(err)
	}
	other := r.servers[0].Client(second, "moved-on")
	defer other.Close()
	if err := other.Ping(r.Context()).Err(); err != nil {
		r.Fatal(err)
	}
	began := time.Now()
	got := uses()
	if len(got) != 1 || !strings.Contains(got[0].Who, "orders-service") || !strings.Contains(got[0].Who, "127.0.0.1:") || got[0].Last.Before(began) {
		r.Errorf("got %v, want the one who is still signed in as the old user, now", got)
	}
	if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	if err := client.Ping(r.Context()).Err(); err != nil {
		r.Errorf("an open connection after revoking: got %v, want it left alone", err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "the revoked credential")
	var missing *upstream.Error
	if _, err := u.EndSessions(r.Context(), first); !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "client|kill") {
		r.Errorf("admin without +client|kill: got %v, want an error with a hint", err)
	}
	r.do("ACL", "SETUSER", "custody_admin", "+client|kill")
	defer r.do("ACL", "SETUSER", "custody_admin", "-client|kill")
	if ended, err := u.EndSessions(r.Context(), first); err != nil || ended < 1 {
		r.Errorf("ending sessions: %d, %v", ended, err)
	}
	if err := client.Ping(r.Context()).Err(); err == nil {
		r.Error("the session of the compromised credential is open")
	}
	if err := other.Ping(r.Context()).Err(); err != nil {
		r.Errorf("the session of the new credential: %v", err)
	}
	_ = client.Close()
	r.do("ACL", "SETUSER", "custody_admin", "-client|list")
	defer r.do("ACL", "SETUSER", "custody_admin", "+client|list")
	var said *upstream.Error
	if _, err := u.Uses(r.Context(), first, began); !errors.As(err, &said) || !strings.Contains(said.Hint(), "client|list") {
		r.Errorf("admin without +client|list: got %v, want an error with a hint", err)
	}
}

func testAnyText(r *rig) {
	for _, mode := range modes {
		u := r.open(r.config(mode))
		v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
		for i, password := range []string{"spaces and\r\nlines", "nul\x00", "\xff\xfe", "käse", strings.Repeat("long", 2000)} {
			next, err := v.With("password", []byte(password))
			if err != nil {
				r.Fatal(err)
			}
			if _, err := u.Apply(r.Context(), "run-2", v, next); err != nil {
				r.Errorf("password %d: %v", i, err)
			}
			upstreamtest.Is(r, u, upstream.Accepted, next, fmt.Sprintf("password %d", i))
		}
		empty, err := v.With("password", nil)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := u.Apply(r.Context(), "run-2", v, empty); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("an empty password: got %v, want ErrNotApplied", err)
		}
	}
}

func testVerdicts(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	at := func(change func(*redis.Server)) upstream.Upstream {
		elsewhere := config
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	upstreamtest.Is(r, at(func(s *redis.Server) { s.Host = r.servers[0].Socket }), upstream.Accepted, v, "through the socket")
	upstreamtest.Is(r, at(func(s *redis.Server) { s.Host = "localhost" }), upstream.Accepted, v, "by name")
	config.CallDeadline = time.Second // the server waits for the end of what it takes for a line
	upstreamtest.Is(r, at(func(s *redis.Server) { s.TLS = "" }), upstream.Unknown, v, "a server without TLS")
	upstreamtest.Is(r, at(func(s *redis.Server) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
	r.do("ACL", "SETUSER", config.User, "off")
	upstreamtest.Is(r, u, upstream.Refused, v, "a user that is off")
	r.do("ACL", "SETUSER", config.User, "on", "-@all")
	upstreamtest.Is(r, u, upstream.Accepted, v, "a user that may do nothing")
	root := r.servers[0].Client(r.servers[0].Root, "")
	defer root.Close()
	for limit, want := range map[string]upstream.Verdict{"1": upstream.Unknown, "1000": upstream.Accepted} {
		if err := root.ConfigSet(r.Context(), "maxclients", limit).Err(); err != nil {
			r.Fatal(err)
		}
		upstreamtest.Is(r, u, want, v, "a server that takes "+limit+" clients")
	}
	if err := root.ConfigSet(r.Context(), "maxclients", "1000").Err(); err != nil {
		r.Fatal(err)
	}
	r.do("ACL", "DELUSER", config.User)
	upstreamtest.Is(r, u, upstream.Refused, v, "no such user")
}

func testForeignUser(r *rig) {
	for _, mode := range modes {
		u := r.open(r.config(mode))
		old := upstreamtest.Login(r, "legacy-"+string(mode), upstreamtest.Password(r))
		name := old.ExposeText("username")
		r.do("ACL", "SETUSER", name, "on", ">"+old.ExposeText("password"))
		successor := upstreamtest.Issue(r, u, "run-1", old)
		if err := u.Revoke(r.Context(), "run-1", old, successor); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("Revoke of a user outside the account: got %v, want ErrNotApplied", err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, old, "the user outside the account")
		r.do("ACL", "SETUSER", name, "off")
		if err := u.Revoke(r.Context(), "run-1", old, successor); err != nil {
			r.Errorf("Revoke, after somebody did it by hand: %v", err)
		}
		if _, err := u.Apply(r.Context(), "run-1", successor, old); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("Apply of a user outside the account: got %v, want ErrNotApplied", err)
		}
	}
}

// A user of the pair that somebody else made is taken only from whom its own password is handed in for: before Custody
// has touched it, and once it carries the claim of its partner's first run.
func testUnclaimed(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	theirs := upstreamtest.Login(r, config.Users[0], upstreamtest.Password(r))
	r.do("ACL", "SETUSER", config.Users[0], "on", ">"+theirs.ExposeText("password"), "+@all", "~*")
	r.refused(u, upstream.ErrSuperseded, secret.Value{}, "somebody else's user")
	before := r.do("ACL", "LIST")
	untouched := func(old secret.Value) {
		r.Helper()
		if err := u.Revoke(r.Context(), "run-2", old, secret.Value{}); err != nil {
			r.Errorf("taking back what was refused: %v", err)
		}
		upstreamtest.Is(r, u, upstream.Accepted, theirs, "the user's own password")
	}
	candidate, err := u.Propose(r.Context(), secret.Value{})
	if err != nil {
		r.Fatal(err)
	}
	untouched(candidate)
	if !cmp.Equal(before, r.do("ACL", "LIST")) {
		r.Error("taking back what was refused changed users")
	}
	r.refused(u, upstream.ErrSuperseded, candidate, "somebody else's user, at the turn of its partner")
	other := upstreamtest.Issue(r, u, "run-3", theirs)
	before = r.do("ACL", "LIST")
	if err := u.Revoke(r.Context(), "run-3", candidate, other); err != nil {
		r.Errorf("taking back what was never applied: %v", err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, theirs, "the user's own password, under the claim")
	if cmp.Equal(before, r.do("ACL", "LIST")) {
		r.Error("taking back did not count the marker up, so a late call could still land")
	}
	if err := u.Revoke(r.Context(), "run-3", theirs, other); err != nil {
		r.Errorf("Revoke by the user's own password: %v", err)
	}
	upstreamtest.Is(r, u, upstream.Refused, theirs, "the user's own password, once revoked")
	upstreamtest.Is(r, u, upstream.Accepted, other, "the current credential")
}

// A user of the pair that somebody else makes later keeps nothing from being taken back, gets no claim by it, and is
// one of the pair once it was handed over.
func testHandedOver(r *rig) {
	config := r.config(upstream.Alternate)
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	theirs := upstreamtest.Login(r, config.Users[1], upstreamtest.Password(r))
	r.do("ACL", "SETUSER", config.Users[1], "on", ">"+theirs.ExposeText("password"), "+@all", "~*")
	r.refused(u, upstream.ErrSuperseded, first, "somebody else's user, at its own turn")
	if err := u.Revoke(r.Context(), "run-2", first, secret.Value{}); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, first, "what was taken back")
	r.refused(u, upstream.ErrSuperseded, secret.Value{}, "somebody else's user, at the turn of its partner")
	upstreamtest.Is(r, u, upstream.Accepted, theirs, "the user's own password")
	if _, own := r.digests(r.servers[0], config.Users[1]); len(own) > 0 {
		r.Errorf("somebody else's user was marked: %s", own)
	}
	r.do("ACL", "SETUSER", config.Users[1], "reset")
	second := upstreamtest.Issue(r, u, "run-3", secret.Value{})
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Issue(r, u, "run-4", second), "the user once it was handed over")
	upstreamtest.Is(r, u, upstream.Refused, theirs, "its former password")
}

func testOthers(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	r.do("ACL", "SETUSER", config.User, ">a-persons-own")
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Accepted, upstreamtest.Login(r, config.User, "a-persons-own"), "a password that Custody did not set")
	upstreamtest.Is(r, u, upstream.Refused, first, "the old password")
}
