// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/agent/identity"
	"custody.dev/custody/internal/agent/link"
	"custody.dev/custody/internal/agent/worker"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

const (
	// identityFile has the agent's certificate and key, in its state folder.
	identityFile   = "identity.json"
	identitySchema = 1
	// reconnectFirst and reconnectMost bound the pause before an agent connects again.
	reconnectFirst = 200 * time.Millisecond
	reconnectMost  = 15 * time.Second
	// renewEvery is how often an agent that stays connected renews its certificate.
	renewEvery = identity.Lifetime / 7
	// connectLimit bounds how long a session may take to begin.
	connectLimit = 30 * time.Second
)

// AgentOptions name a machine's agent.
type AgentOptions struct {
	// File is the agent's configuration.
	File string
	Log  *slog.Logger
	// Version is that of the program.
	Version string
}

// agentProcess is an agent on its machine.
type agentProcess struct {
	name    string
	spec    v1alpha1.AgentSpec
	state   *durable.Folder
	log     *slog.Logger
	version string
	syncs   durable.Syncs
	mounts  file.Mounts
}

// openAgent reads an agent's configuration, which must be the machine's own, and takes its state folder.
func openAgent(o AgentOptions) (*agentProcess, func(), error) {
	const again = "see docs/agents.md for an example"
	if err := refused("the agent's configuration "+o.File+" is not used", trustHost(o.File)); err != nil {
		return nil, nil, err
	}
	document, faults, err := intent.LoadAgent(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &server.Problem{
			Class: server.NotFound, Text: "there is no agent's configuration " + o.File, Hint: "name it with --agent FILE or CUSTODY_AGENT; " + again,
		}
	}
	if err == nil {
		err = faultsError(faults)
	}
	if err != nil {
		return nil, nil, err
	}
	a := &agentProcess{name: document.Metadata.Name, spec: document.Spec, log: o.Log, version: o.Version}
	if err := trustState(a.spec.State); err != nil {
		return nil, nil, err
	}
	if a.state, err = durable.Make(a.spec.State); err != nil {
		return nil, nil, fmt.Errorf("opening the agent's state folder: %w", err)
	}
	lock, err := a.state.Lock("agent.lock")
	if errors.Is(err, durable.ErrLocked) {
		err = &server.Problem{Class: server.Unavailable, Text: "another process uses the agent's state folder " + a.spec.State, Hint: "stop the other one first, or give this one a folder of its own"}
	}
	if err != nil {
		return nil, nil, errors.Join(err, a.state.Close())
	}
	return a, func() { _, _ = lock.Close(), a.state.Close() }, nil
}

// kept is the agent's identity in its file.
type keptIdentity struct {
	Schema int      `json:"schema"`
	Key    []byte   `json:"key"` // PKCS #8
	Chain  [][]byte `json:"chain,omitempty"`
	// For is the digest of the token that the key was made for, while it has no certificate.
	For string `json:"for,omitempty"`
}

func (a *agentProcess) load() (keptIdentity, link.Identity, error) {
	var held keptIdentity
	data, err := a.state.Read(identityFile)
	if err != nil {
		return held, link.Identity{}, err
	}
	damaged := fmt.Errorf("%s is damaged, or was written by a newer custody", filepath.Join(a.spec.State, identityFile))
	if json.Unmarshal(data, &held) != nil || held.Schema != identitySchema {
		return held, link.Identity{}, damaged
	}
	parsed, err := x509.ParsePKCS8PrivateKey(held.Key)
	key, is := parsed.(*ecdsa.PrivateKey)
	if err != nil || !is {
		return held, link.Identity{}, damaged
	}
	return held, link.Identity{Chain: held.Chain, Key: key}, nil
}

func (a *agentProcess) save(held keptIdentity) error {
	held.Schema = identitySchema
	data, err := json.Marshal(held)
	if err != nil {
		return err
	}
	return a.state.Replace(identityFile, data, durable.Private)
}

// EnrollAgent gets a certificate for this machine by a token of custody agent invite. The key is made here and kept before the server is
// asked, so that the same token can be used again where an answer was lost.
func EnrollAgent(ctx context.Context, o AgentOptions, token string) (machine string, err error) {
	a, done, err := openAgent(o)
	if err != nil {
		return "", err
	}
	defer done()
	named, _, _, err := identity.Parse(token)
	if err != nil {
		return "", &server.Problem{Class: server.Usage, Text: err.Error(), Hint: "copy the whole line that it printed"}
	}
	if named != a.name {
		return "", &server.Problem{
			Class: server.Usage, Text: fmt.Sprintf("the token is for machine %s, and the configuration %s is of machine %s", named, o.File, a.name),
			Hint: "ask for a token of this machine: " + next.InviteAgent(a.name),
		}
	}
	held, as, err := a.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && held.For != identity.TokenDigest(token) {
		err = fs.ErrNotExist // of another token, or damaged: the new one takes its place
	}
	if errors.Is(err, fs.ErrNotExist) {
		if as.Key, err = ecdsa.GenerateKey(elliptic.P256(), Random()); err != nil {
			return "", err
		}
		private, err := x509.MarshalPKCS8PrivateKey(as.Key)
		if err != nil {
			return "", err
		}
		held = keptIdentity{Key: private, For: identity.TokenDigest(token)}
		if err := a.save(held); err != nil {
			return "", fmt.Errorf("keeping the agent's key: %w", err)
		}
	}
	made, err := link.Enroll(ctx, a.spec.Server, strings.TrimSpace(token), as.Key, Random())
	if err != nil {
		return "", a.unreached(err)
	}
	held.Chain = made.Chain
	return a.name, a.save(held)
}

// unreached is why the server could not be asked.
func (a *agentProcess) unreached(err error) error {
	if refused, is := errors.AsType[*identity.Refused](err); is {
		return &server.Problem{Class: server.Refused, Text: "the server refused: " + refused.Why, Hint: refused.Next}
	}
	return &server.Problem{
		Class: server.Unavailable, Text: "asking the server at " + a.spec.Server + ": " + err.Error(),
		Hint: "see that it runs, that its host file has agents.listen, and that this machine reaches that address",
	}
}

// RunAgent serves the orders for this machine until SIGTERM or SIGINT, which let those in hand finish. A server that is away is asked again.
func RunAgent(ctx context.Context, o AgentOptions) error {
	a, done, err := openAgent(o)
	if err != nil {
		return err
	}
	defer done()
	stop, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	held, as, err := a.load()
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(held.Chain) == 0 {
		return &server.Problem{
			Class: server.Refused, Text: "this machine is not enrolled",
			Hint: "ask an operator for a token (" + next.InviteAgent(a.name) + ", where the server runs), then run here: custody agent enroll",
		}
	}
	if err != nil {
		return err
	}
	if of, err := as.Machine(); err != nil || of != a.name {
		return &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("the certificate in %s is of machine %s, and the configuration is of machine %s", a.spec.State, of, a.name),
			Hint: "put the former name back, or enroll again: " + next.InviteAgent(a.name),
		}
	}
	a.log.Info("agent started", "machine", a.name, "server", a.spec.Server)
	working, abandon := context.WithCancel(context.WithoutCancel(ctx)) // for orders in hand when stop comes
	defer abandon()
	work := worker.New(a.name, a, Now)
	pause, said := reconnectFirst, ""
	for stop.Err() == nil {
		began := Now()
		err := a.session(working, stop, work, &as)
		if stop.Err() != nil {
			break
		}
		if Now().Sub(began) > reconnectMost {
			pause, said = reconnectFirst, ""
		}
		if why := a.unreached(err); why.Error() != said {
			said = why.Error()
			a.log.Warn("not connected; trying again until it works", "why", said)
		}
		select {
		case <-stop.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, reconnectMost)
	}
	a.log.Info("stopping")
	grace := time.AfterFunc(stepGrace, abandon)
	defer grace.Stop()
	work.Wait()
	return nil
}

// session serves orders until the connection ends or stop comes, and says why it ended. What it began goes on under working. A renewed
// certificate is for the next session.
func (a *agentProcess) session(working, stop context.Context, work *worker.Worker, as *link.Identity) error {
	client, err := link.Dial(a.spec.Server, *as, link.Patience{})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(working)
	defer cancel()
	beginning := time.AfterFunc(connectLimit, cancel)
	early := context.AfterFunc(stop, cancel)
	open, err := client.Session(ctx, a.version, Now())
	beginning.Stop()
	early()
	if err != nil {
		return err
	}
	defer open.Close()
	a.log.Info("connected", "server", a.spec.Server)
	renewing := make(chan time.Time, 1)
	if open.Renew {
		renewing <- time.Time{}
	}
	every := time.NewTicker(renewEvery)
	defer every.Stop()
	orders, ended := make(chan agent.Order), make(chan error, 1)
	go func() {
		ended <- open.Orders(func(order agent.Order) {
			select {
			case orders <- order:
			case <-ctx.Done():
			}
		})
	}()
	taken := make(chan agent.Order)
	defer close(taken)
	go work.Serve(working, taken, func(answer agent.Answer) {
		if err := open.Answer(answer); err != nil {
			a.log.Debug("an answer did not reach the server", "error", err)
		}
	})
	for {
		select {
		case <-stop.Done():
			work.Wait() // so that the server hears how what is in hand ends
			return nil
		case err := <-ended:
			return err
		case order := <-orders:
			taken <- order
		case <-renewing:
			a.renew(ctx, client, as)
		case <-every.C:
			a.renew(ctx, client, as)
		}
	}
}

// renew replaces the agent's certificate.
func (a *agentProcess) renew(ctx context.Context, client *link.Client, as *link.Identity) {
	made, err := client.Renew(ctx, *as)
	if err != nil {
		a.log.Warn("renewing the certificate; it is tried again", "error", err)
		return
	}
	private, err := x509.MarshalPKCS8PrivateKey(made.Key)
	if err == nil {
		err = a.save(keptIdentity{Key: private, Chain: made.Chain})
	}
	if err != nil {
		a.log.Error("keeping the renewed certificate", "error", err)
		return
	}
	*as = made
	a.log.Info("the certificate was renewed")
}

// Open implements worker.Machine.
func (a *agentProcess) Open(spec v1alpha1.ConsumerSpec) (materialize.Consumer, error) {
	if spec.File == nil {
		return nil, errors.New("only files are delivered by an agent")
	}
	for _, named := range []struct {
		what, name string
		is         bool
	}{
		{"folder", spec.File.Folder, a.spec.Folders[spec.File.Folder] != ""},
		{"reload", spec.File.Reload, spec.File.Reload == "" || has(a.spec.Reloads, spec.File.Reload)},
		{"check", spec.File.Check, spec.File.Check == "" || has(a.spec.Checks, spec.File.Check)},
	} {
		if !named.is {
			return nil, fmt.Errorf("the agent's configuration has no %s %s", named.what, named.name)
		}
	}
	made, err := machine{a.spec.Folders, a.spec.Reloads, a.spec.Checks, &a.syncs, &a.mounts}.consumer(spec)
	if err != nil {
		return nil, err
	}
	return made, nil
}

func has[V any](in map[string]V, name string) bool {
	_, is := in[name]
	return is
}

// Leftovers implements worker.Machine.
func (a *agentProcess) Leftovers(_ context.Context, keep []string) ([]agent.Left, error) {
	wanted := map[string]bool{}
	for _, one := range keep {
		folder, path, _ := strings.Cut(one, "/")
		wanted[filepath.Join(a.spec.Folders[folder], path)] = true
	}
	var found []agent.Left
	for _, folder := range a.spec.Folders {
		stamped, err := file.Leftovers(folder, func(at string) bool { return wanted[at] })
		if err != nil {
			return nil, err
		}
		for _, one := range stamped {
			left := agent.Left{File: one.File, Secret: one.Secret, Version: one.Version}
			if !slices.Contains(found, left) { // a folder may lie in another
				found = append(found, left)
			}
		}
	}
	return found, nil
}

// Clear implements worker.Machine.
func (a *agentProcess) Clear(ctx context.Context, at string, v authority.Versioned) error {
	for _, folder := range a.spec.Folders {
		relative, err := filepath.Rel(folder, at)
		if err != nil || !filepath.IsLocal(relative) {
			continue
		}
		one, err := file.LeftoverAt(folder, relative)
		if err != nil {
			return err
		}
		if one.Secret != v.Path || one.Version != v.ID {
			return errors.New("another version was delivered there meanwhile")
		}
		if v.Value.Empty() {
			return one.Withdraw(ctx, nil)
		}
		return one.Withdraw(ctx, &v)
	}
	return fmt.Errorf("%s lies in none of the folders of the agent's configuration", at)
}
