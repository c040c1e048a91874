// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"
)

func account(mode upstream.Capability, names ...string) login.Account {
	return login.Account{
		Mode: mode, Noun: "user", Names: names, Same: strings.EqualFold, Random: strings.NewReader("drawn"),
		NewPassword: func(random io.Reader) (string, error) {
			text, err := io.ReadAll(random)
			return string(text), err
		},
	}
}

func value(t *testing.T, fields ...string) secret.Value {
	t.Helper()
	texts := map[string]string{}
	for i := 0; i < len(fields); i += 2 {
		texts[fields[i]] = fields[i+1]
	}
	v, err := secret.Text(texts)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestProposeTakesTurns(t *testing.T) {
	for _, test := range []struct {
		mode           upstream.Capability
		names          []string
		current, named string
	}{
		{upstream.Dual, []string{"shop"}, "shop", "shop"},
		{upstream.Overwrite, []string{"shop"}, "before-custody", "shop"},
		{upstream.Alternate, []string{"shop_a", "shop_b"}, "before-custody", "shop_a"},
		{upstream.Alternate, []string{"shop_a", "shop_b"}, "SHOP_A", "shop_b"},
		{upstream.Alternate, []string{"shop_a", "shop_b"}, "shop_b", "shop_a"},
	} {
		got, err := account(test.mode, test.names...).Propose(t.Context(), value(t, "username", test.current, "password", "old", "host", "db"))
		if err != nil || !got.Equal(value(t, "username", test.named, "password", "drawn", "host", "db")) {
			t.Errorf("%s after %s: got user %q (%v), want %q with the drawn password and the other fields", test.mode, test.current, got.ExposeText("username"), err, test.named)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := account(upstream.Dual, "shop").Propose(cancelled, secret.Value{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	dry := account(upstream.Dual, "shop")
	dry.NewPassword = func(io.Reader) (string, error) { return "", io.ErrUnexpectedEOF }
	if _, err := dry.Propose(t.Context(), secret.Value{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: got %v", err)
	}
}

func TestCheckKeepsToTheAccount(t *testing.T) {
	a := account(upstream.Alternate, "shop_a", "shop_b")
	for _, test := range []struct{ user, password, want string }{
		{"shop_a", "x", ""},
		{"Shop_B", "x", ""},
		{"", "x", login.Lacking},
		{"shop_a", "", login.Lacking},
		{"root", "x", `user "root" is not one of this account's`},
	} {
		err := a.Check(value(t, "username", test.user, "password", test.password))
		if got := ""; err != nil {
			got = err.Error()
			if got != test.want {
				t.Errorf("%s: got %q, want %q", test.user, got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("%s: got no error, want %q", test.user, test.want)
		}
	}
}

func TestReplaced(t *testing.T) {
	for _, test := range []struct {
		name                        string
		mode                        upstream.Capability
		user, password, next, after string
		want                        bool
	}{
		{"overwritten", upstream.Overwrite, "shop", "1", "shop", "2", true},
		{"a pair's other", upstream.Alternate, "shop_a", "1", "shop_b", "2", false},
		{"a pair's own", upstream.Alternate, "shop_a", "1", "SHOP_A", "2", true},
		{"a second password", upstream.Dual, "shop", "1", "shop", "2", false},
		{"the same password", upstream.Dual, "shop", "1", "shop", "1", true},
		{"no user", upstream.Alternate, "", "1", "", "2", false},
		{"no user, overwritten", upstream.Overwrite, "", "1", "shop", "2", true},
		{"another user before", upstream.Overwrite, "legacy", "1", "shop", "2", false},
	} {
		old, successor := value(t, "username", test.user, "password", test.password), value(t, "username", test.next, "password", test.after)
		if got := account(test.mode, "shop").Replaced(old, successor); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestForeignLoginIsRevokedOnceItIsRefused(t *testing.T) {
	old := value(t, "username", "before-custody", "password", "hunter2")
	for verdict, done := range map[upstream.Verdict]bool{upstream.Accepted: false, upstream.Unknown: false, upstream.Refused: true} {
		err := account(upstream.Dual, "shop").Foreign(t.Context(), func(context.Context, secret.Value) (upstream.Verdict, error) { return verdict, nil }, old, "lock it")
		if done != (err == nil) || err != nil && (!errors.Is(err, upstream.ErrNotApplied) || !strings.Contains(upstream.Explained(err), "lock it; the run then continues")) {
			t.Errorf("%s: got %v", verdict, err)
		}
	}
}

// TestAdminTakesTheFirstThatIsNotRefused: the pending credential is tried when the current one is refused, and only then.
func TestAdminTakesTheFirstThatIsNotRefused(t *testing.T) {
	first, second := value(t, "username", "admin", "password", "one"), value(t, "username", "admin", "password", "two")
	broken := errors.New("broken")
	for _, test := range []struct {
		name    string
		refused map[string]string
		fails   map[string]error
		listed  []secret.Value
		want    string
		class   error
		said    string
	}{
		{"the current one", nil, nil, []secret.Value{first, second}, "one", nil, ""},
		{"the pending one", map[string]string{"one": "no"}, nil, []secret.Value{{}, first, second}, "two", nil, ""},
		{"neither", map[string]string{"one": "no", "two": "never"}, nil, []secret.Value{first, second}, "", upstream.ErrNotApplied, "so as not to lock it out: never"},
		{"cannot tell", map[string]string{"two": "no"}, map[string]error{"one": broken}, []secret.Value{first, second}, "", broken, "broken"},
		{"none", nil, nil, nil, "", upstream.ErrNotApplied, "refuses every admin credential"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := login.AdminWithBackoff(t.Context(), login.NewAdminBackoff(time.Now), "testing", "there", func(context.Context) ([]secret.Value, error) { return test.listed, nil },
				func(_ context.Context, v secret.Value) (string, string, error) {
					password := v.ExposeText("password")
					return password, test.refused[password], test.fails[password]
				})
			if got != test.want || !errors.Is(err, test.class) || err != nil && !strings.Contains(err.Error(), test.said) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if _, err := login.Admin(t.Context(), "testing", "there", func(context.Context) ([]secret.Value, error) { return nil, broken },
		func(context.Context, secret.Value) (int, string, error) { return 1, "", nil }); !errors.Is(err, broken) || !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("unreadable credentials: got %v", err)
	}
}
