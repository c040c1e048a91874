// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	adapter "custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"golang.org/x/crypto/ssh"
)

func publishedGitHubDeployKey(t *testing.T) {
	compiled := builtin(t, "github-deploy-key")
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		server := &gitHub{token: "admin-token-for-tests", delay: 20 * time.Millisecond}
		for _, title := range []string{"a person's", "another's", "and a third", "and a fourth"} {
			server.keys = append(server.keys, gitHubKey{ID: len(title), Title: title, Key: "ssh-ed25519 " + title})
		}
		f := suited(t, server)
		config := f.config(compiled, text(t, map[string]string{"token": server.token}))
		config.Parameters = map[string]any{"owner": "example", "repository": "shop"}
		return upstreamtest.Fixture{
			Upstream: f.upstream(t, config).Powers(), Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: server.titles, Wait: func() { time.Sleep(25 * time.Millisecond) },
		}
	})
}

func TestGitHubDeployKeyIsAnEd25519Pair(t *testing.T) {
	t.Parallel()
	server := &gitHub{token: "admin-token-for-tests"}
	f := newFake(t, server)
	config := f.config(builtin(t, "github-deploy-key"), text(t, map[string]string{"token": server.token}))
	config.Parameters = map[string]any{"owner": "example", "repository": "shop"}
	v := apply(t, f.upstream(t, config), "run-1", secret.Value{})
	signer, err := ssh.ParsePrivateKey(v.Expose("privateKey"))
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(v.Expose("publicKey"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ssh.FingerprintSHA256(signer.PublicKey()), ssh.FingerprintSHA256(public); got != want || public.Type() != ssh.KeyAlgoED25519 {
		t.Errorf("the private key has the public key %s, the field %s %s", got, public.Type(), want)
	}
}

func TestGitHubKeyOfAnotherRunIsSuperseded(t *testing.T) {
	t.Parallel()
	server := &gitHub{token: "admin-token-for-tests"}
	f := newFake(t, server)
	config := f.config(builtin(t, "github-deploy-key"), text(t, map[string]string{"token": server.token}))
	config.Parameters = map[string]any{"owner": "example", "repository": "shop"}
	u := f.upstream(t, config)
	v := apply(t, u, "run-1", secret.Value{})
	if _, err := u.Apply(t.Context(), "run-2", secret.Value{}, v); !errors.Is(err, upstream.ErrSuperseded) {
		t.Errorf("got %v, want ErrSuperseded", err)
	}
}

func gitLabConfig(t *testing.T, f *fake) adapter.Config {
	t.Helper()
	config := f.config(builtin(t, "gitlab-token-rotate"), secret.Value{})
	config.Parameters = map[string]any{"name": gitLabName}
	return config
}

// seeded gives a kind that only trades its credential a first one, made at the server by hand.
type seeded struct {
	upstream.Upstream
	mint func() string
}

func (s seeded) Apply(ctx context.Context, run authority.RunID, current, candidate secret.Value) (secret.Value, error) {
	if current.Empty() {
		first, err := secret.Text(map[string]string{"token": s.mint()})
		if err != nil {
			return secret.Value{}, err
		}
		current = first
	}
	return s.Upstream.Apply(ctx, run, current, candidate)
}

func (s seeded) Decoy(v secret.Value) (secret.Value, error) {
	return s.Upstream.(upstream.Decoyer).Decoy(v)
}

func publishedGitLabTokenRotate(t *testing.T) {
	upstreamtest.Run(t, func(t *testing.T) upstreamtest.Fixture {
		server := &gitLab{tokens: map[string]bool{}}
		f := suited(t, server)
		u := f.upstream(t, gitLabConfig(t, f))
		mint := func() string {
			server.mu.Lock()
			defer server.mu.Unlock()
			return server.mint()
		}
		return upstreamtest.Fixture{
			Upstream: seeded{u.Powers(), mint}, Break: f.proxy.Break, Mend: f.mend, Cut: f.proxy.Cut, Hold: f.proxy.Hold,
			Throttle: func() { f.setThrottle(true) }, Held: server.held,
		}
	})
}

func TestGitLabTokenRotate(t *testing.T) {
	t.Parallel()
	server := &gitLab{tokens: map[string]bool{}}
	f := newFake(t, server)
	config := gitLabConfig(t, f)
	config.Clock = func() time.Time { return time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC) }
	u := f.upstream(t, config)

	if _, err := u.Apply(t.Context(), "run-1", secret.Value{}, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("without a first token: got %v, want ErrNotApplied", err)
	}
	if got := f.asked(); len(got) != 0 {
		t.Errorf("without a first token: got the requests %q, want none", got)
	}

	first := text(t, map[string]string{"token": server.mint(), "note": "kept"})
	second := apply(t, u, "run-1", first)
	if got := second.ExposeText("note"); got != "kept" {
		t.Errorf("another field: got %q, want it kept", got)
	}
	if len(server.days) != 1 || server.days[0] != "2030-03-02" {
		t.Errorf("asked for the ends %q, want 2030-03-02", server.days)
	}
	verdict(t, u, first, upstream.Refused)
	verdict(t, u, second, upstream.Accepted)

	f.setLose(true)
	_, err := u.Apply(t.Context(), "run-2", second, secret.Value{})
	f.mend()
	if err == nil || errors.Is(err, upstream.ErrNotApplied) {
		t.Errorf("a lost reply: got %v, want an error that leaves it open", err)
	}
	// The token was traded: presented for rotation once more, it would end its family.
	if _, err := u.Apply(t.Context(), "run-2", second, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) || server.traded != 0 {
		t.Errorf("after a lost reply: got %v and %d rotations of a traded token, want ErrNotApplied and none", err, server.traded)
	}
	if got, want := u.Kind().CallDeadline, 80*time.Second; got < want {
		t.Errorf("a call can land no more after %s, want %s at least", got, want)
	}
	if _, collects := u.Powers().(upstream.Collector); collects {
		t.Error("it can collect, though nothing upstream carries the run")
	}
}

func TestGitLabTokenOfAnotherNameIsLeftAlone(t *testing.T) {
	t.Parallel()
	server := &gitLab{tokens: map[string]bool{}}
	f := newFake(t, server)
	config := gitLabConfig(t, f)
	config.Parameters["name"] = "deploy"
	u := f.upstream(t, config)
	first := text(t, map[string]string{"token": server.mint()})
	if _, err := u.Apply(t.Context(), "run-1", first, secret.Value{}); !errors.Is(err, upstream.ErrNotApplied) || len(server.days) != 0 {
		t.Errorf("got %v and %d rotations, want ErrNotApplied and none", err, len(server.days))
	}
	verdict(t, u, first, upstream.Unknown)
}
