// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/reason"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/source"
	"custody.dev/custody/internal/source/git"
	"custody.dev/custody/internal/source/place"
)

const (
	// gitFolder is the clone, in the state folder.
	gitFolder = "git"
	// gitHookSecret is the secret of the webhook that is made here, in the state folder.
	gitHookSecret = "git-webhook-secret"
	// gitServer is who is asked, for package outward.
	gitServer = "the Git server"
	// fetchLimit bounds one fetch: a first one of the largest pack that is taken needs about 2 MiB a second.
	fetchLimit = 2 * time.Minute
	// fetchGap is the least time between two fetches, whoever sends webhooks.
	fetchGap = 10 * time.Second
	// gitReadLimit bounds reading a commit from the clone, which lies in the state folder.
	gitReadLimit = time.Minute
)

// gitLimits are those of a repository that holds an estate among other things.
var gitLimits = git.Limits{
	Pack: 256 << 20, Object: 64 << 20, Entries: 20_000, Depth: 64,
	File: intent.MostFile, Files: intent.MostFiles, Commits: 500_000,
}

// gitEstate is the estate of a branch: it knows which commit is believed, and why the branch's newest is not.
type gitEstate struct {
	parts *parts
	calls *outward.Calls
	spec  v1alpha1.Git
	clone *git.Clone
	book  *source.Book // nil before there is an authority
	// woken has a fetch begin, and news says that one ended with another commit.
	woken, news  chan struct{}
	every, stale time.Duration
	began        time.Time

	// judging is held while a commit is judged, by which it is put in force.
	judging  sync.Mutex
	files    *intent.Files // of the commit of
	of       string
	believed source.Belief
	// loaded: believed is what the authority has, and recorded: it is on the record or owed to it.
	loaded, recorded bool

	mu      sync.Mutex
	head    git.ID
	fetched time.Time
	failed  error
	refused reason.Reason
	shown   source.Belief
	damaged bool
}

// newGitEstate is nil where the estate is a folder.
func newGitEstate(p *parts) *gitEstate {
	if p.host.Git == nil {
		return nil
	}
	g := &gitEstate{
		parts: p, calls: outward.New(Now), spec: *p.host.Git, clone: git.In(filepath.Join(p.host.State, gitFolder), gitLimits),
		woken: make(chan struct{}, 1), news: make(chan struct{}, 1), began: Now(),
	}
	g.every, _ = duration.Parse(g.spec.Every) // lint saw to both
	g.stale, _ = duration.Parse(g.spec.StaleAfter)
	if head, at, err := g.clone.Head(); err == nil {
		g.head, g.fetched = head, at
	}
	return g
}

// repository reads how to reach it.
func (g *gitEstate) repository() (git.Repository, error) {
	at, err := place.Parse(g.spec.URL)
	if err != nil {
		return git.Repository{}, fmt.Errorf("reading git.url of the host file: %w", err)
	}
	r := git.Repository{Place: at, User: g.spec.Username, KnownHosts: g.spec.KnownHosts}
	if r.Password, err = credential(g.spec.PasswordFile, git.PasswordField); err != nil {
		return r, err
	}
	if r.Key, err = credential(g.spec.KeyFile, git.KeyField); err != nil {
		return r, err
	}
	if g.spec.KnownHosts != "" {
		if err := trustHost(g.spec.KnownHosts); err != nil {
			return r, refused("the file of known hosts is not used", err)
		}
	}
	if g.spec.CAFile != "" {
		if err := trustHost(g.spec.CAFile); err != nil {
			return r, refused("the file of certificates is not used", err)
		}
		if r.CA, err = readAtMost(g.spec.CAFile, maxGrants); err != nil {
			return r, err
		}
	}
	return r, nil
}

// maxCredential bounds a file with a password or a key.
const maxCredential = 64 << 10

// credential reads a file into a value of one field; the empty value without a file.
func credential(file, field string) (secret.Value, error) {
	if file == "" {
		return secret.Value{}, nil
	}
	data, err := readAtMost(file, maxCredential)
	if err != nil {
		return secret.Value{}, err
	}
	return secret.New(map[string][]byte{field: data})
}

// fetch asks the repository once, and notes how that ended.
func (g *gitEstate) fetch(ctx context.Context) {
	g.mu.Lock()
	damaged := g.damaged
	g.mu.Unlock()
	head, err := outward.Do(ctx, g.calls, outward.Call{Part: gitServer, Limit: fetchLimit, Own: true}, func(ctx context.Context) (git.ID, error) {
		if damaged {
			if err := g.clone.Discard(); err != nil {
				return "", err
			}
		}
		repository, err := g.repository()
		if err != nil {
			return "", err
		}
		return g.clone.Fetch(ctx, repository, g.spec.Branch, Now())
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return // this process ends
	}
	if err != nil {
		if g.failed == nil {
			g.parts.log.Warn("fetching the estate", "repository", g.spec.URL, "error", err)
		}
		g.failed = err
		return
	}
	g.damaged = false
	if g.head != head || g.failed != nil {
		g.parts.log.Info("estate fetched", "branch", g.spec.Branch, "commit", string(head))
	}
	g.head, g.fetched, g.failed = head, Now(), nil
	wake(g.news)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// poll fetches every so often, and soon after it was woken, until stop comes.
func (g *gitEstate) poll(stop context.Context) {
	last := time.Time{}
	for stop.Err() == nil {
		wait := g.every - g.every/5 + mathrand.N(2*g.every/5+1) // so that many hosts do not ask at once
		select {
		case <-stop.Done():
			return
		case <-time.After(wait):
		case <-g.woken:
			select {
			case <-stop.Done():
				return
			case <-time.After(fetchGap - Now().Sub(last)):
			}
		}
		last = Now()
		g.fetch(stop)
	}
}

// newest are the files of the commit that is believed, once the branch's newest was judged. It asks nobody outside.
func (g *gitEstate) newest() (*intent.Files, error) {
	return outward.Do(context.Background(), g.calls, outward.Call{Part: "the clone of the estate", Limit: gitReadLimit, Own: true}, g.read)
}

func (g *gitEstate) read(ctx context.Context) (*intent.Files, error) {
	g.judging.Lock()
	defer g.judging.Unlock()
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	g.mu.Lock()
	head, failed := g.head, g.failed
	g.mu.Unlock()
	if head == "" && g.believed.Commit == "" {
		return nil, g.unfetched(failed)
	}
	why := reason.Reason{}
	if head != "" {
		var err error
		if why, err = g.follow(ctx, head); err != nil {
			return nil, err
		}
	}
	g.say(why)
	if g.believed.Commit == "" {
		return nil, &server.Problem{Class: server.Refused, Text: why.Text(), Hint: "correct it in the repository, or `git` in the host file; `custody serve` looks again by itself"}
	}
	return g.filesOf(ctx, g.believed.Commit)
}

func (g *gitEstate) unfetched(failed error) error {
	problem := &server.Problem{Class: server.Unavailable, Text: fmt.Sprintf("branch %s of %s was never fetched", g.spec.Branch, g.spec.URL), Hint: "`custody serve` fetches it"}
	if failed != nil {
		problem.Text, problem.Hint = failed.Error(), server.Problems(failed).Hint
	}
	return problem
}

// load reads what is believed, once there is an authority to keep it. What was judged before there was one is kept then.
func (g *gitEstate) load(ctx context.Context) error {
	if g.book == nil || g.loaded && (g.recorded || g.believed.Commit == "") {
		return nil
	}
	held, err := g.book.Load(ctx)
	if err != nil {
		return err
	}
	if g.loaded = true; held.Commit != "" || g.believed.Commit == "" {
		g.believed = held
	}
	if g.believed.Commit == "" {
		return nil
	}
	return g.believe(ctx, g.believed.Commit, g.believed.Signer, "custody", "") // which puts on record what is owed
}

func (g *gitEstate) believe(ctx context.Context, commit, signer, by, why string) error {
	if g.book == nil {
		g.believed = source.Belief{Commit: commit, Signer: signer, At: Now()}
		return nil
	}
	held, err := g.book.Believe(ctx, commit, signer, by, why)
	if held.Commit != "" {
		g.believed = held
	}
	g.recorded = err == nil
	return err
}

// follow judges the branch's newest commit, and believes it or says why not.
func (g *gitEstate) follow(ctx context.Context, head git.ID) (reason.Reason, error) {
	if string(head) == g.believed.Commit {
		return reason.Reason{}, nil
	}
	signers, err := g.allowed()
	if err != nil {
		return g.why(reason.CommitUnusable, head).Because(err.Error()), nil
	}
	signer, err := g.clone.Follow(git.ID(g.believed.Commit), head, signers, Now())
	if err == nil { // what cannot be read is not believed
		_, err = g.filesOf(ctx, string(head))
	}
	if err == nil {
		if err := g.believe(ctx, string(head), signer, "custody", ""); err != nil {
			return reason.Reason{}, err
		}
		g.parts.log.Info("commit believed", "commit", string(head), "signer", signer)
		return reason.Reason{}, nil
	}
	return g.refusal(head, err)
}

func (g *gitEstate) refusal(head git.ID, err error) (reason.Reason, error) {
	unsigned, is := errors.AsType[*git.Unsigned](err)
	switch {
	case is:
		return g.why(reason.CommitUnsigned, head).With(reason.Args{"unsigned": unsigned.Commit.Short()}).Because(unsigned.Why), nil
	case errors.Is(err, git.ErrOlder):
		return g.why(reason.CommitOlder, head), nil
	case errors.Is(err, git.ErrRewritten):
		return g.why(reason.HistoryRewritten, head), nil
	case errors.Is(err, git.ErrUnusable):
		return g.why(reason.CommitUnusable, head).Because(err.Error()), nil
	case errors.Is(err, git.ErrDamaged):
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.damaged {
			g.parts.log.Warn("the clone of the estate is damaged; it is fetched again", "error", err)
		}
		g.damaged = true
		wake(g.woken)
	}
	return reason.Reason{}, err
}

func (g *gitEstate) why(code reason.Code, head git.ID) reason.Reason {
	return reason.New(code, reason.Args{"commit": string(head), "branch": g.spec.Branch, "believed": orNone(git.ID(g.believed.Commit).Short())})
}

func orNone(commit string) string {
	if commit == "" {
		return "none"
	}
	return commit
}

// allowed are who may sign; nil where no signature is asked for.
func (g *gitEstate) allowed() (*git.Signers, error) {
	if g.spec.Signers == nil {
		return nil, nil
	}
	read := func(file string) ([]byte, error) {
		if err := trustHost(file); err != nil {
			return nil, refused("the file of signers "+file+" is not used", err)
		}
		return readAtMost(file, maxGrants)
	}
	var allowed []byte
	var armored [][]byte
	if file := g.spec.Signers.AllowedSigners; file != "" {
		var err error
		if allowed, err = read(file); err != nil {
			return nil, err
		}
	}
	for _, file := range g.spec.Signers.OpenPGP {
		data, err := read(file)
		if err != nil {
			return nil, err
		}
		armored = append(armored, data)
	}
	return git.ParseSigners(allowed, armored...)
}

// filesOf reads the estate's files of a commit, once.
func (g *gitEstate) filesOf(ctx context.Context, commit string) (*intent.Files, error) {
	if g.of == commit {
		return g.files, nil
	}
	found, err := g.clone.Files(ctx, git.ID(commit), g.spec.Path, intent.Wanted)
	if err != nil {
		if errors.Is(err, git.ErrDamaged) {
			_, err = g.refusal(git.ID(commit), err)
		}
		return nil, err
	}
	entries := make([]intent.Entry, len(found))
	for i, f := range found {
		entries[i] = intent.Entry(f)
	}
	g.files, g.of = intent.Of(entries), commit
	return g.files, nil
}

// say notes why the branch's newest commit is not believed; none says that it is.
func (g *gitEstate) say(why reason.Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !why.None() && !why.Same(g.refused) {
		g.parts.log.Error("commit refused", "code", why.Code, "reason", why.Text())
	}
	g.refused, g.shown = why, g.believed
}

// Standing implements platform.Source.
func (g *gitEstate) Standing() server.Source {
	g.mu.Lock()
	defer g.mu.Unlock()
	standing := server.Source{
		Repository: g.spec.URL, Branch: g.spec.Branch, Commit: g.shown.Commit, Signer: g.shown.Signer, Believed: g.shown.At,
		Head: string(g.head), Fetched: g.fetched,
	}
	if g.failed != nil {
		standing.Failed = g.failed.Error()
	}
	return standing
}

// Findings implements platform.Source.
func (g *gitEstate) Findings() (found []reason.Reason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.refused.None() {
		found = append(found, g.refused)
	}
	since, never := g.fetched, "never"
	if since.IsZero() {
		since = g.began
	} else {
		never = since.UTC().Format(time.RFC3339)
	}
	if Now().Sub(since) > g.stale {
		stale := reason.New(reason.EstateUnfetched, reason.Args{"branch": g.spec.Branch, "repository": g.spec.URL, "since": never})
		if g.failed != nil {
			stale = stale.Because(g.failed.Error())
		}
		found = append(found, stale)
	}
	return found
}

// Accept implements platform.Source.
func (g *gitEstate) Accept(ctx context.Context, by, why, commit string) error {
	g.judging.Lock()
	defer g.judging.Unlock()
	if err := g.load(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	head := g.head
	g.mu.Unlock()
	const least = 7
	switch {
	case g.book == nil:
		return &server.Problem{Class: server.Refused, Text: "the platform has never run here, so there is no commit in force yet", Hint: "start it: `custody serve`"}
	case head == "":
		return g.unfetched(nil)
	case string(head) == g.believed.Commit:
		return &server.Problem{Class: server.Refused, Text: "commit " + head.Short() + " is already in force; nothing was changed", Hint: "see where it stands: `custody status`"}
	case len(commit) < least || !strings.HasPrefix(string(head), strings.ToLower(commit)):
		return &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("branch %s is at commit %s, not at %s; nothing was changed", g.spec.Branch, head, commit),
			Hint: "review that commit, and if it is right: " + next.AcceptCommit(string(head)),
		}
	}
	signers, err := g.allowed()
	if err != nil {
		return err
	}
	signer, err := g.clone.Alone(head, signers, Now())
	if err == nil {
		_, err = g.filesOf(ctx, string(head))
	}
	if err != nil {
		if unsigned, is := errors.AsType[*git.Unsigned](err); is {
			return &server.Problem{Class: server.Refused, Text: unsigned.Error() + "; only its history can be accepted", Hint: "have an allowed signer sign it, or add who signed it to git.signers of the host file"}
		}
		return err
	}
	return g.believe(ctx, string(head), signer, by, why)
}

// hookSecret reads the secret of the webhook, and makes it where none is named and none is there.
func (g *gitEstate) hookSecret() (secret.Value, error) {
	if file := g.spec.Webhook.SecretFile; file != "" {
		return credential(file, git.SecretField)
	}
	file := filepath.Join(g.parts.host.State, gitHookSecret)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		const size = 32
		random := make([]byte, size)
		_, _ = rand.Read(random)
		if err := g.parts.state.Create(gitHookSecret, []byte(hex.EncodeToString(random)+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
			return secret.Value{}, fmt.Errorf("making the secret of the webhook: %w", err)
		}
		g.parts.log.Info("made the secret of the webhook", "file", file)
	}
	return credential(file, git.SecretField)
}
