// SPDX-License-Identifier: Apache-2.0

package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/ldap"
	"custody.dev/custody/internal/upstream/upstreamtest"

	client "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"
)

func TestOnServer(t *testing.T) {
	r := newRig(t, realparts.OpenLDAPOptions{Modules: []string{"pw-sha2", "argon2"}})
	for name, test := range map[string]func(*rig){
		"Hashes": testHashes, "ForeignClaims": testForeign, "OthersAreLeftAlone": testOthers, "ValueThatCannotBeComputed": testUncomputed,
		"MustHavePassword": testMustHave, "Rights": testRights, "Verdicts": testVerdicts, "EmptyPasswords": testEmpty,
		"AdminRotatesItself": testItself, "Uses": testUses, "TwoPasswordsInOverwrite": testTwo, "LateRequestOfSameRun": testLate, "TwoClaimsAtOnce": testTwoClaims,
		"EntryOfThePairThatNobodyHandedOver": testUnclaimed, "UsesThatCannotBeSeen": testUnseen, "OneSignInWithAnOddHash": testOneSignIn, "ConnectionThatIsNeverAnswered": testUnanswered,
	} {
		t.Run(name, func(t *testing.T) { test(r.on(t)) })
	}
}

func testHashes(r *rig) {
	for hash, begins := range map[string]string{
		ldap.SSHA: "{SSHA}", ldap.SSHA512: "{SSHA512}", ldap.Argon2: "{ARGON2}$argon2id$", ldap.Bcrypt: "{CRYPT}$2", ldap.ByServer: "{SSHA}",
	} {
		config := r.config(upstream.Alternate)
		config.Hash = hash
		u := r.open(config)
		first := r.issue(u, "run-1", secret.Value{})
		second := r.issue(u, "run-2", first)
		for i, v := range []secret.Value{first, second} {
			r.is(u, upstream.Accepted, v, hash)
			if held := r.values(config.Entries[i], "userPassword"); len(held) != 1 || !strings.HasPrefix(held[0], begins) {
				r.Errorf("%s: the entry holds %d values, want one that begins with %s", hash, len(held), begins)
			}
		}
		if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
			r.Fatal(err)
		}
		r.is(u, upstream.Refused, first, hash+", revoked")
	}
	config := r.config(upstream.Dual)
	config.Hash = ldap.Bcrypt
	long := upstreamtest.Login(r, config.DN, strings.Repeat("long", 20))
	if _, err := r.open(config).Apply(r.Context(), "run-1", secret.Value{}, long); !errors.Is(err, upstream.ErrRefusedCandidate) {
		r.Errorf("a password that bcrypt cannot take: got %v, want ErrRefusedCandidate", err)
	}
}

// testUnanswered: a directory that never answers on one connection does on the next. The first is given up after a quarter of the
// deadline, 5 s; what is left of it is many times what a sign-in takes.
func testUnanswered(r *rig) {
	config := r.config(upstream.Dual)
	v := r.issue(r.open(config), "run-1", secret.Value{})
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = front.Close() }()
	behind := net.JoinHostPort(r.server.Host, strconv.Itoa(config.Server.Port))
	go func() {
		for first := true; ; first = false {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			if first {
				defer func() { _ = conn.Close() }()
				continue
			}
			server, err := net.Dial("tcp", behind)
			if err != nil {
				_ = conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, conn); _ = server.Close() }()
			go func() { _, _ = io.Copy(conn, server); _ = conn.Close() }()
		}
	}()
	config.Server.Port = front.Addr().(*net.TCPAddr).Port
	r.is(r.open(config), upstream.Accepted, v, "behind a connection that was never answered")
}

func testForeign(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		u := r.open(config)
		first := r.issue(u, "run-1", secret.Value{})
		other := config
		other.Claim = "shop/live/app"
		for name, v := range map[string]upstream.Upstream{"another claim": r.open(other)} {
			if _, err := v.Apply(r.Context(), "run-9", first, r.propose(v, first)); !errors.Is(err, upstream.ErrSuperseded) {
				r.Errorf("%s, %s: got %v, want ErrSuperseded", mode, name, err)
			}
		}
		dn := first.ExposeText("username")
		for _, odd := range []string{`{"custody":2,"claim":"shop/test/app"}`, `{"custody":1,"claim":"shop/test/app","else":1}`, `{"custody":`} {
			r.set(dn, "description", "a person's words", odd)
			if _, err := u.Apply(r.Context(), "run-9", first, first); !errors.Is(err, upstream.ErrSuperseded) {
				r.Errorf("%s, %s: got %v, want ErrSuperseded", mode, odd, err)
			}
		}
		r.set(dn, "description", "a person's words")
		r.is(u, upstream.Accepted, r.issue(u, "run-2", first), "the candidate once the foreign marker is gone")
	}
}

func testOthers(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	theirs := upstreamtest.Login(r, config.DN, "theirs-"+upstreamtest.Password(r))
	words := r.values(config.DN, "description")
	r.set(config.DN, "userPassword", theirs.ExposeText("password"))
	first := r.issue(u, "run-1", secret.Value{})
	second := r.issue(u, "run-2", first)
	if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
		r.Fatal(err)
	}
	r.is(u, upstream.Accepted, theirs, "somebody else's password on the entry")
	r.is(u, upstream.Refused, first, "the old credential")
	got := r.values(config.DN, "description")
	if len(got) != 2 || !cmp.Equal(words[0], got[0]) && !cmp.Equal(words[0], got[1]) {
		r.Errorf("the entry's descriptions: got %q, want %q and the marker", got, words)
	}
}

// sha512crypt stands for "Hello world!", from the specification of the scheme.
const sha512crypt = "{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"

func testUncomputed(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	old := upstreamtest.Login(r, config.DN, "Hello world!")
	r.set(config.DN, "userPassword", sha512crypt)
	r.is(u, upstream.Accepted, old, "the password from before Custody")
	second := r.issue(u, "run-1", old)
	for range 2 {
		if err := u.Revoke(r.Context(), "run-1", old, second); err != nil {
			r.Fatal(err)
		}
	}
	r.is(u, upstream.Refused, old, "the password from before Custody, revoked")
	r.is(u, upstream.Accepted, second, "its successor")

	// With two of them, elimination does not tell.
	held := r.values(config.DN, "userPassword")
	r.set(config.DN, "userPassword", held[0], sha512crypt, "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5")
	if err := u.Revoke(r.Context(), "run-1", old, second); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("two values that cannot be computed: got %v, want ErrNotApplied", err)
	}
	if got := r.values(config.DN, "userPassword"); len(got) != 3 {
		r.Errorf("the entry holds %d passwords, want all 3", len(got))
	}
}

func testMustHave(r *rig) {
	config := r.config(upstream.Alternate)
	for i := range config.Entries {
		config.Entries[i] = r.entryOf(map[string][]string{
			"objectClass": {"applicationProcess", "simpleSecurityObject"}, "userPassword": {"{SSHA}" + strings.Repeat("A", 40)},
		})
	}
	u := r.open(config)
	first := r.issue(u, "run-1", secret.Value{})
	second := r.issue(u, "run-2", first)
	for range 2 {
		if err := u.Revoke(r.Context(), "run-2", first, second); err != nil {
			r.Fatal(err)
		}
		r.is(u, upstream.Refused, first, "the old credential")
		r.is(u, upstream.Accepted, second, "its successor")
	}
}

func testRights(r *rig) {
	weak := upstreamtest.Login(r, r.entry(), upstreamtest.Password(r))
	r.set(weak.ExposeText("username"), "userPassword", weak.ExposeText("password"))
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate, upstream.Overwrite} {
		config := r.config(mode)
		config.Admin = r.as(weak)
		u := r.open(config)
		_, err := u.Apply(r.Context(), "run-1", secret.Value{}, r.propose(u, secret.Value{}))
		var said *upstream.Error
		if !errors.Is(err, upstream.ErrNotApplied) || !errors.As(err, &said) || said.Hint() == "" {
			r.Errorf("%s: got %v, want ErrNotApplied with a hint", mode, err)
		}
		config.Admin = r.as(upstreamtest.Login(r, realparts.LDAPAdmin, "wrong"))
		u = r.open(config)
		if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, r.propose(u, secret.Value{})); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("%s, admin refused: got %v, want ErrNotApplied", mode, err)
		}
		r.is(u, upstream.Unknown, upstreamtest.Login(r, config.DN+config.Entries[0], "wrong"), "a refusal that the admin cannot look into")
	}
}

func testVerdicts(r *rig) {
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	v := r.issue(u, "run-1", secret.Value{})
	at := func(change func(*ldap.Server)) upstream.Upstream {
		elsewhere := config
		change(&elsewhere.Server)
		return r.open(elsewhere)
	}
	r.is(at(func(s *ldap.Server) { s.Host, s.TLS = r.server.Socket, ldap.Disable }), upstream.Accepted, v, "through the socket")
	r.is(at(func(s *ldap.Server) { s.TLS, s.Port = ldap.StartTLS, r.server.Port }), upstream.Accepted, v, "StartTLS")
	r.is(at(func(s *ldap.Server) { s.TLS, s.Port = ldap.Disable, r.server.Port }), upstream.Accepted, v, "loopback without TLS")
	r.is(at(func(s *ldap.Server) { s.CACertificate = "" }), upstream.Unknown, v, "an authority that nobody trusts")
	r.is(at(func(s *ldap.Server) { s.TLS, s.Port, s.CACertificate = ldap.StartTLS, r.server.Port, "" }), upstream.Unknown, v, "the same, by StartTLS")
	r.is(at(func(s *ldap.Server) { s.Port = r.server.Port }), upstream.Unknown, v, "no TLS where it is wanted")
	r.is(at(func(s *ldap.Server) { s.Port = 1 }), upstream.Unknown, v, "nobody listening")
	r.is(u, upstream.Refused, upstreamtest.Login(r, "cn=nobody,"+realparts.LDAPServices, "wrong"), "no such entry")
	r.set(config.DN, "userPassword")
	r.is(u, upstream.Refused, v, "an entry without a password")
}

// A bind without a password succeeds, as nobody.
func testEmpty(r *rig) {
	config := r.config(upstream.Dual)
	u := r.open(config)
	r.issue(u, "run-1", secret.Value{})
	before := r.logged(" BIND dn=")
	for _, v := range []secret.Value{upstreamtest.Login(r, config.DN, ""), upstreamtest.Login(r, "", ""), upstreamtest.Login(r, "", "x")} {
		r.is(u, upstream.Unknown, v, "an empty name or password")
		if _, err := u.Apply(r.Context(), "run-2", secret.Value{}, v); !errors.Is(err, upstream.ErrNotApplied) {
			r.Errorf("applying it: got %v, want ErrNotApplied", err)
		}
	}
	if after := r.logged(" BIND dn="); after != before {
		r.Errorf("%d binds were tried, want none", after-before)
	}
}

func testItself(r *rig) {
	r = newRig(r.T, realparts.OpenLDAPOptions{}) // whose admin no other test signs in as: a refused credential is spared for a while
	other := r.admin
	config := r.config(upstream.Overwrite)
	config.DN = realparts.LDAPAdmin
	config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{r.admin, other}, nil }
	u := r.open(config)
	next := r.propose(u, r.admin)
	other = next
	for range 2 { // the second time the first credential is refused already
		if _, err := u.Apply(r.Context(), "run-1", r.admin, next); err != nil {
			r.Fatal(err)
		}
	}
	r.is(u, upstream.Accepted, next, "the admin's new credential")
	r.is(u, upstream.Refused, r.admin, "the admin's old credential")
	if _, err := u.Apply(r.Context(), "run-1", next, r.admin); err != nil {
		r.Fatal(err)
	}
}

func testUses(r *rig) {
	config := r.config(upstream.Alternate)
	config.LastUse = "pwdLastSuccess"
	u := r.open(config)
	old := r.issue(u, "run-1", secret.Value{})
	since := time.Now().Add(-time.Minute)
	uses := func() []upstream.Use {
		r.Helper()
		got, err := u.(upstream.Witness).Uses(r.Context(), old, since)
		if err != nil {
			r.Fatal(err)
		}
		return got
	}
	r.is(u, upstream.Accepted, old, "the credential")
	if got := uses(); len(got) != 0 {
		r.Errorf("Custody's own sign-in is taken for somebody's: %v", got)
	}
	began := time.Now()
	for len(uses()) == 0 { // stamps are whole seconds: one in Custody's own second is not told
		if err := r.server.As(r.Context(), old, func(*client.Conn) error { return nil }); err != nil {
			r.Fatal(err)
		}
	}
	r.is(u, upstream.Accepted, old, "the credential, by Custody once more")
	got := uses()
	if len(got) != 1 || got[0].Who != old.ExposeText("username") || got[0].Last.Before(began.Add(-time.Second)) || got[0].Last.After(time.Now().Add(time.Second)) {
		r.Errorf("got %v, want one use, now, which Custody's own does not hide", got)
	}
	since = time.Now().Add(time.Minute)
	if got := uses(); len(got) != 0 {
		r.Errorf("uses before the time asked for: %v", got)
	}
}

// An entry of the pair that somebody else uses carries the claim since the first run of its partner. It is taken back only
// from whom its own password is handed in for.
func testUnclaimed(r *rig) {
	for _, stored := range []string{"", sha512crypt} { // one that can be computed, and one that cannot
		config := r.config(upstream.Alternate)
		u := r.open(config)
		theirs := upstreamtest.Login(r, config.Entries[1], "Hello world!")
		if stored == "" {
			theirs = upstreamtest.Login(r, config.Entries[1], upstreamtest.Password(r))
			stored = theirs.ExposeText("password")
		}
		r.set(config.Entries[1], "userPassword", stored)
		first := r.issue(u, "run-1", secret.Value{})
		if err := u.Revoke(r.Context(), "run-2", r.propose(u, first), first); err != nil {
			r.Errorf("taking back what was never applied: %v", err)
		}
		r.is(u, upstream.Accepted, theirs, "the entry's own password")
		if err := u.Revoke(r.Context(), "run-2", theirs, first); err != nil {
			r.Errorf("Revoke by the entry's own password: %v", err)
		}
		r.is(u, upstream.Refused, theirs, "the entry's own password, once revoked")
		r.is(u, upstream.Accepted, first, "the current credential")
	}
}

// What the admin cannot see is not for nobody's use.
func testUnseen(r *rig) {
	config := r.config(upstream.Alternate)
	old := r.issue(r.open(config), "run-1", secret.Value{})
	for name, sees := range map[string]bool{"pwdLastSuccess": true, "PWDLASTSUCCESS": true, "authTimestamp": false, "noSuchAttribute": false} {
		config.LastUse = name
		u := r.open(config)
		r.is(u, upstream.Accepted, old, name+": the credential")
		if err := r.server.As(r.Context(), old, func(*client.Conn) error { return nil }); err != nil {
			r.Fatal(err)
		}
		got, err := r.open(config).(upstream.Witness).Uses(r.Context(), old, time.Now().Add(-time.Minute)) // which knows of no sign-in of its own
		var said *upstream.Error
		switch {
		case sees && (err != nil || len(got) != 1):
			r.Errorf("%s: got %v, %v, want one use", name, got, err)
		case !sees && (!errors.As(err, &said) || said.Hint() == ""):
			r.Errorf("%s: got %v, %v, want an error with a hint", name, got, err)
		}
	}
}

// What the server hashed, and this package cannot compute, is sent once: a policy with a history refuses it the second time.
func TestServerHashesTheSamePasswordOnce(t *testing.T) {
	r := newRig(t, policed("password-hash {CRYPT}\npassword-crypt-salt-format \"$6$%.16s\"\n", "pwdInHistory: 3", "pwdCheckQuality: 2", "pwdMinLength: 8"))
	for _, mode := range []upstream.Capability{upstream.Overwrite, upstream.Alternate} {
		config := r.config(mode)
		config.Hash = ldap.ByServer
		u := r.open(config)
		first := r.issue(u, "run-1", secret.Value{})
		current := first
		if mode == upstream.Overwrite {
			current = r.issue(u, "run-2", first)
		}
		dn := current.ExposeText("username")
		held, history := r.values(dn, "userPassword"), r.values(dn, "pwdHistory")
		if len(held) != 1 || !strings.HasPrefix(held[0], "{CRYPT}$6$") {
			t.Fatalf("%s: the entry holds %d passwords, want one that cannot be computed", mode, len(held))
		}
		short := upstreamtest.Login(t, dn, "sh0rt-")
		if _, err := u.Apply(t.Context(), "run-3", current, short); !errors.Is(err, upstream.ErrRefusedCandidate) {
			t.Errorf("%s: a candidate that the policy refuses: got %v, want ErrRefusedCandidate", mode, err)
		}
		for range 2 { // as taking that candidate off does
			if _, err := u.Apply(t.Context(), "run-3", current, current); err != nil {
				t.Errorf("%s: applying what the entry holds: %v", mode, err)
			}
		}
		if diff := cmp.Diff(held, r.values(dn, "userPassword")); diff != "" {
			t.Errorf("%s: the password was set anew (-before +after):\n%s", mode, diff)
		}
		if diff := cmp.Diff(history, r.values(dn, "pwdHistory")); diff != "" {
			t.Errorf("%s: the history changed (-before +after):\n%s", mode, diff)
		}
		r.is(u, upstream.Accepted, current, string(mode)+": the current credential")
		r.is(u, upstream.Refused, short, string(mode)+": the refused candidate")
	}
}

// A wrong sign-in is spent only where nothing else tells, and then once.
func testOneSignIn(r *rig) {
	for hash, want := range map[string]int{ldap.SSHA: 0, ldap.ByServer: 1} {
		config := r.config(upstream.Overwrite)
		config.Hash = hash
		r.set(config.DN, "userPassword", sha512crypt)
		u := r.open(config)
		before := r.logged("RESULT tag=97 err=49")
		if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, r.propose(u, secret.Value{})); err != nil {
			r.Errorf("%s: %v", hash, err)
		}
		if got := r.logged("RESULT tag=97 err=49") - before; got != want {
			r.Errorf("%s: Apply made %d wrong sign-ins, want %d", hash, got, want)
		}
	}
}

func testTwo(r *rig) {
	config := r.config(upstream.Overwrite)
	u := r.open(config)
	r.set(config.DN, "userPassword", "one-"+upstreamtest.Password(r), "two-"+upstreamtest.Password(r))
	if _, err := u.Apply(r.Context(), "run-1", secret.Value{}, r.propose(u, secret.Value{})); !errors.Is(err, upstream.ErrNotApplied) {
		r.Errorf("an entry with two passwords: got %v, want ErrNotApplied", err)
	}
}

// A request that is held up on the way lands after the run was taken back: it asserts a marker that is gone.
func testLate(r *rig) {
	for _, mode := range []upstream.Capability{upstream.Dual, upstream.Alternate} {
		config := r.config(mode)
		u := r.open(config)
		first := r.issue(u, "run-1", secret.Value{})
		candidate := r.propose(u, first)
		dn := candidate.ExposeText("username")
		if _, err := u.Apply(r.Context(), "run-2", first, candidate); err != nil {
			r.Fatal(err)
		}
		late := r.values(dn, "description") // what a request prepared now would assert
		if err := u.Revoke(r.Context(), "run-2", candidate, first); err != nil {
			r.Fatal(err)
		}
		for _, value := range late {
			if !strings.HasPrefix(value, "{") {
				continue
			}
			filter, err := client.CompileFilter("(description=" + client.EscapeFilter(value) + ")")
			if err != nil {
				r.Fatal(err)
			}
			err = r.server.As(r.Context(), r.server.Root, func(conn *client.Conn) error {
				request := client.NewModifyRequest(dn, []client.Control{client.NewControlString("1.3.6.1.1.12", true, string(filter.Bytes()))})
				request.Add("userPassword", []string{candidate.ExposeText("password")})
				return conn.Modify(request)
			})
			if !client.IsErrorWithCode(err, client.LDAPResultAssertionFailed) {
				r.Errorf("%s: a late request: got %v, want its assertion to fail", mode, err)
			}
		}
		r.is(u, upstream.Refused, candidate, fmt.Sprintf("%s: the candidate taken back", mode))
	}
}

// Two that take an unmarked entry at the same moment: the assertion lets one of them have it.
func testTwoClaims(r *rig) {
	for range 20 {
		config := r.config(upstream.Dual)
		done := make(chan error, 2)
		for _, claim := range []string{"shop/test/app", "shop/live/app"} {
			mine := config
			mine.Claim = claim
			u := r.open(mine)
			candidate := r.propose(u, secret.Value{})
			go func() {
				_, err := u.Apply(r.Context(), "run-1", secret.Value{}, candidate)
				done <- err
			}()
		}
		first, second := <-done, <-done
		if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), upstream.ErrSuperseded) {
			r.Errorf("two claims: got %v and %v, want one of them refused as superseded", first, second)
		}
		if held := r.values(config.DN, "userPassword"); len(held) != 1 {
			r.Errorf("the entry holds %d passwords, want that of one claim", len(held))
		}
	}
}

func TestLockedAccountIsUnknown(t *testing.T) {
	for name, lines := range map[string]string{"told": "ppolicy_use_lockout\n", "not told": ""} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, policed(lines, "pwdLockout: TRUE", "pwdMaxFailure: 3"))
			config := r.config(upstream.Overwrite)
			config.WrongEvery = 90 * time.Second
			u := r.open(config)
			v := r.issue(u, "run-1", secret.Value{})
			wrong := upstreamtest.Login(t, config.DN, "wrong")
			for range 2 {
				r.is(u, upstream.Refused, wrong, "a wrong password below the limit")
			}
			_, _ = u.Verify(t.Context(), wrong)
			r.is(u, upstream.Unknown, v, "the right password of a locked account")
			_, err := u.Verify(t.Context(), wrong)
			var later *upstream.Later
			if !errors.As(err, &later) || later.After != config.WrongEvery {
				t.Errorf("got %v, want upstream.Later after %s", err, config.WrongEvery)
			}
			if !strings.Contains(upstream.Explained(err), "pwdAccountLockedTime") {
				t.Errorf("got %s, want a hint that says how a person unlocks it", upstream.Explained(err))
			}
			r.set(config.DN, "pwdAccountLockedTime")
			r.is(u, upstream.Accepted, v, "the right password once unlocked")
		})
	}
}

func TestPolicyRefusals(t *testing.T) {
	strict := newRig(t, policed("", "pwdCheckQuality: 2", "pwdMinLength: 8", "pwdInHistory: 3"))
	config := strict.config(upstream.Overwrite)
	u := strict.open(config)
	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, strict.propose(u, secret.Value{})); !errors.Is(err, upstream.ErrRefusedCandidate) {
		t.Errorf("a hash where the policy must see the password: got %v, want ErrRefusedCandidate", err)
	}
	reset := newRig(t, policed("", "pwdMustChange: TRUE"))
	config = reset.config(upstream.Overwrite)
	u = reset.open(config)
	v := reset.issue(u, "run-1", secret.Value{})
	reset.set(config.DN, "pwdReset", "TRUE")
	reset.is(u, upstream.Unknown, v, "an account that must change its password first")
}
