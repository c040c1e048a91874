// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
)

// refuses checks the class of an error, that it has a hint, and that nothing was changed. It returns what is said.
func (r *rig) refuses(class error, what string, call func() error) (message string) {
	r.Helper()
	before := r.keys()
	err := call()
	upstreamtest.Hinted(r, class, err, what)
	if diff := cmp.Diff(before, r.keys()); diff != "" {
		r.Errorf("%s changed keys (-before +after):\n%s", what, diff)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

func apply(t *testing.T, u *Upstream, current secret.Value) func() error {
	return func() error { _, err := u.Apply(t.Context(), "run-9", current, secret.Value{}); return err }
}

func TestFullHouseNamesBothKeys(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	one, two := r.cloud.key(t, testUser), r.cloud.key(t, testUser)
	r.cloud.find(one.ExposeText(accesskey.ID)).created = time.Now().Add(-400 * 24 * time.Hour)
	used := r.cloud.find(two.ExposeText(accesskey.ID))
	used.usedAt, used.usedService, used.usedIn = time.Now().Add(-time.Hour), "s3", testRegion
	used.active = false // by somebody else: it is not Custody's to delete
	said := r.refuses(upstream.ErrNotApplied, "a full house", apply(t, u, one))
	for _, want := range []string{one.ExposeText(accesskey.ID), two.ExposeText(accesskey.ID), "inactive", "(active", "400 days old", "never used", "by s3"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %q, want it to say %q", said, want)
		}
	}
	if strings.Contains(said, one.ExposeText(accesskey.Secret)) {
		t.Error("the error quotes a secret")
	}
	r.cloud.fail["GetAccessKeyLastUsed"] = cloudError{http.StatusForbidden, "AccessDenied"}
	r.refuses(upstream.ErrNotApplied, "a full house whose uses cannot be told", apply(t, u, one))
}

func TestQuotaReachedInBetween(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	r.cloud.fail["CreateAccessKey"] = cloudError{http.StatusConflict, "LimitExceeded"}
	r.refuses(upstream.ErrNotApplied, "a quota that the list does not explain", apply(t, u, secret.Value{}))
}

func TestOwnInactiveKeyMakesRoom(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	upstreamtest.Revoke(r, u, "run-2", first, second)
	id := func(v secret.Value) string { return v.ExposeText(accesskey.ID) }
	want := []string{id(first) + " false", id(second) + " true"}
	if diff := cmp.Diff(want, r.keys()); diff != "" {
		t.Errorf("keys after revoking (-want +got):\n%s", diff)
	}
	third := upstreamtest.Issue(r, u, "run-3", second)
	want = []string{id(second) + " true", id(third) + " true"}
	if diff := cmp.Diff(want, r.keys()); diff != "" {
		t.Errorf("keys after the next run (-want +got):\n%s", diff)
	}
	upstreamtest.Revoke(r, u, "run-3", second, third)
	r.cloud.find(id(second)).active = true // brought back by a person: somebody needs it
	said := r.refuses(upstream.ErrNotApplied, "a key that was brought back", apply(t, u, third))
	if !strings.Contains(said, id(second)) {
		t.Errorf("got %q, want it to name the key", said)
	}
}

func TestWhatBecomesOfARevokedKey(t *testing.T) {
	for _, test := range []struct {
		name  string
		mode  Revocation
		undo  bool
		alone bool
		kept  bool
	}{
		{"deactivate", Deactivate, false, false, true},
		{"deactivate, the run taken back", Deactivate, true, false, false},
		{"deactivate, without a successor", Deactivate, false, true, false},
		{"delete", Delete, false, false, false},
		{"delete, the run taken back", Delete, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			config := r.config()
			config.Revocation = test.mode
			u := r.open(config)
			old := upstreamtest.Issue(r, u, "run-1", secret.Value{})
			successor := secret.Value{}
			if !test.alone {
				successor = upstreamtest.Issue(r, u, "run-2", old)
			}
			if test.undo {
				old, successor = successor, old
			}
			for range 2 {
				upstreamtest.Revoke(r, u, "run-2", old, successor)
				upstreamtest.Is(r, u, upstream.Refused, old, "the revoked key")
			}
			if key := r.cloud.find(old.ExposeText(accesskey.ID)); key.active || key.gone == test.kept {
				t.Errorf("got active %v, gone %v; want kept: %v", key.active, key.gone, test.kept)
			}
		})
	}
}

// A deleted key is honoured for a while: revoking it again must not take it for another user's.
func TestRevokingAgainBeforeItShows(t *testing.T) {
	r := newRig(t)
	config := r.config()
	config.Revocation = Delete
	u := r.open(config)
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	r.cloud.late = time.Hour
	for range 2 {
		upstreamtest.Revoke(r, u, "run-2", first, second)
	}
	upstreamtest.Is(r, u, upstream.Accepted, first, "the deleted key, which AWS has not forgotten everywhere")
	third := upstreamtest.Issue(r, u, "run-3", second)
	upstreamtest.Is(r, u, upstream.Refused, third, "a key that AWS does not know everywhere")
}

func TestClaims(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	second := upstreamtest.Issue(r, u, "run-2", first)
	want := map[string]string{"custody": "shop/test/orders-key", "custody-run": "run-2 " + accesskey.Digest("run-1"), "custody-inactive": ""}
	if diff := cmp.Diff(want, r.cloud.users[testUser].tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	other := r.config()
	other.Claim = "shop/production/orders-key"
	untagged := other
	untagged.Untagged = true
	for what, u := range map[string]*Upstream{"another claim": r.open(other), "another claim, untagged": r.open(untagged)} {
		r.refuses(upstream.ErrSuperseded, "Apply under "+what, apply(t, u, second))
		r.refuses(upstream.ErrSuperseded, "Revoke under "+what, func() error { return u.Revoke(t.Context(), "run-9", first, second) })
	}
	upstreamtest.Revoke(r, u, "run-2", first, second)
	upstreamtest.Issue(r, u, "run-3", second)
	r.refuses(upstream.ErrSuperseded, "Apply of a superseded run", func() error {
		_, err := u.Apply(t.Context(), "run-2", first, secret.Value{})
		return err
	})
	r.refuses(upstream.ErrSuperseded, "Revoke of a superseded run", func() error { return u.Revoke(t.Context(), "run-1", second, first) })
}

func TestForeignKeysAreNeverChanged(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	r.cloud.user(t, "elsewhere", "")
	old := r.cloud.key(t, "elsewhere")
	upstreamtest.Is(r, u, upstream.Unknown, old, "another user's key")
	successor := upstreamtest.Issue(r, u, "run-1", old)
	r.refuses(upstream.ErrNotApplied, "Revoke of another user's key", func() error { return u.Revoke(t.Context(), "run-1", old, successor) })
	if key := r.cloud.find(old.ExposeText(accesskey.ID)); !key.active || key.gone {
		t.Error("another user's key was changed")
	}
	r.cloud.find(old.ExposeText(accesskey.ID)).change(false, true)
	upstreamtest.Revoke(r, u, "run-1", old, successor)

	config := r.config()
	config.Server.AccountID = "210987654321"
	u = r.open(config)
	r.refuses(upstream.ErrNotApplied, "Apply in another account", apply(t, u, successor))
	upstreamtest.Is(r, u, upstream.Unknown, successor, "a key of another account")
	config = r.config()
	config.Server.Partition = "aws-cn"
	upstreamtest.Is(r, r.open(config), upstream.Unknown, successor, "a key of another partition")
}

func TestLostReplyLeavesANewcomer(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	before, err := u.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.cloud.fail["CreateAccessKey"] = cloudError{http.StatusInternalServerError, "ServiceFailure"}
	asked := r.cloud.asked["CreateAccessKey"]
	if _, err := u.Apply(t.Context(), "run-2", first, secret.Value{}); err == nil || errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("an internal error: got %v, want an ambiguous error", err)
	}
	if got := r.cloud.asked["CreateAccessKey"] - asked; got != 1 {
		t.Errorf("the request was made %d times, want once: a repetition could issue twice", got)
	}
	newcomer := r.cloud.key(t, testUser) // it had landed
	after, err := u.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(before, newcomer.ExposeText(accesskey.ID)), after); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestUses(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	uses := func(u *Upstream, since time.Time) []upstream.Use {
		t.Helper()
		got, err := u.Uses(t.Context(), v, since)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := uses(u, time.Time{}); got != nil {
		t.Errorf("a key that nobody used: got %v", got)
	}
	upstreamtest.Is(r, u, upstream.Accepted, v, "the key")
	if got := uses(u, time.Time{}); got != nil {
		t.Errorf("a key that Custody alone used: got %v", got)
	}
	restarted := r.open(r.config())
	if got := uses(restarted, time.Time{}); len(got) != 1 || !strings.Contains(got[0].Who, "Custody itself") {
		t.Errorf("a use by Custody before it was restarted: got %v, want it told with that doubt", got)
	}
	key := r.cloud.find(v.ExposeText(accesskey.ID))
	key.usedAt, key.usedService, key.usedIn = time.Now().Add(-time.Minute).UTC().Truncate(time.Second), "s3", "eu-west-1"
	want := []upstream.Use{{Who: "somebody who asks s3 in eu-west-1", Last: key.usedAt}}
	if diff := cmp.Diff(want, uses(u, time.Now().Add(-time.Hour))); diff != "" {
		t.Errorf("a use by somebody else (-want +got):\n%s", diff)
	}
	if got := uses(u, time.Now()); got != nil {
		t.Errorf("since after the use: got %v", got)
	}
	r.cloud.throttled = true
	if _, err := u.Uses(t.Context(), v, time.Time{}); err == nil {
		t.Error("throttled: got no error; silence is not proof")
	}
}

func TestUserIsItsOwnAdmin(t *testing.T) {
	r := newRig(t)
	r.cloud.user(t, testUser, leastRights)
	first := r.cloud.key(t, testUser) // made by hand, handed over
	config := r.config()
	config.Admin = upstreamtest.Admins(first)
	u := r.open(config)
	second := upstreamtest.Issue(r, u, "run-1", first)
	upstreamtest.Is(r, u, upstream.Accepted, second, "the new key")
	config.Admin = upstreamtest.Admins(second)
	u = r.open(config)
	upstreamtest.Revoke(r, u, "run-1", first, second)
	upstreamtest.Is(r, u, upstream.Refused, first, "the old key")
	config.Admin = upstreamtest.Admins(first, second) // the first is refused
	third := upstreamtest.Issue(r, r.open(config), "run-2", second)
	upstreamtest.Is(r, u, upstream.Accepted, third, "the next key")
	config.Admin = upstreamtest.Admins(first)
	r.refuses(upstream.ErrNotApplied, "by a refused admin", apply(t, r.open(config), third))
}

func TestNoLessRightsSuffice(t *testing.T) {
	page, err := os.ReadFile("page.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), leastRights) {
		t.Error("the page does not show the policy that the tests use")
	}
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(leastRights), &policy); err != nil {
		t.Fatal(err)
	}
	for _, statement := range policy.Statement {
		for _, action := range statement.Action {
			r := newRig(t)
			u := r.open(r.config())
			first := upstreamtest.Issue(r, u, "run-1", secret.Value{})
			r.cloud.user(t, testAdmin, strings.Replace(leastRights, `"`+action+`"`, `"iam:GetNothing"`, 1))
			config := r.config()
			config.Admin = upstreamtest.Admins(r.cloud.key(t, testAdmin))
			u = r.open(config)
			var failures []error
			second, err := u.Apply(t.Context(), "run-2", first, secret.Value{})
			failures = append(failures, err)
			if err == nil {
				failures = append(failures, u.Revoke(t.Context(), "run-2", first, second))
				_, err = u.Apply(t.Context(), "run-3", second, secret.Value{})
				failures = append(failures, err)
			}
			_, err = u.Uses(t.Context(), first, time.Time{})
			failures = append(failures, err)
			if err := errors.Join(failures...); !errors.Is(err, upstream.ErrNotApplied) {
				t.Errorf("without %s: got %v, want a refusal", action, err)
			}
		}
	}
}

func TestVerdictsOfErrors(t *testing.T) {
	r := newRig(t)
	u := r.open(r.config())
	v := upstreamtest.Issue(r, u, "run-1", secret.Value{})
	for code, failure := range map[string]cloudError{
		"a denial": {http.StatusForbidden, "AccessDenied"}, "an internal error": {http.StatusInternalServerError, "InternalFailure"},
		"no service": {http.StatusServiceUnavailable, "ServiceUnavailable"}, "another refusal": {http.StatusForbidden, "OptInRequired"},
	} {
		r.cloud.fail["GetCallerIdentity"] = failure
		upstreamtest.Is(r, u, upstream.Unknown, v, code)
	}
	delete(r.cloud.fail, "GetCallerIdentity")
	wrong, err := v.With(accesskey.Secret, []byte("another/secret"))
	if err != nil {
		t.Fatal(err)
	}
	upstreamtest.Is(r, u, upstream.Refused, wrong, "a wrong secret")
	r.cloud.timeless = true
	upstreamtest.Is(r, u, upstream.Unknown, wrong, "a wrong secret, where AWS does not tell its time")
	r.cloud.timeless = false
	for name, body := range map[string]string{"a page of something else": "<html>welcome</html>", "nothing": "", "another's XML": "<Error><Code>AccessDenied</Code></Error>"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		config := r.config()
		config.Server.IAMEndpoint, config.Server.STSEndpoint = server.URL, server.URL
		elsewhere := r.open(config)
		upstreamtest.Is(r, elsewhere, upstream.Unknown, v, name)
		if _, err := elsewhere.Apply(t.Context(), "run-2", v, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
			t.Errorf("Apply, %s: got %v, want ErrNotApplied", name, err)
		}
		server.Close()
	}
	r.cloud.find(v.ExposeText(accesskey.ID)).active = false
	upstreamtest.Is(r, u, upstream.Refused, v, "an inactive key")
}
