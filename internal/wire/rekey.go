// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/server"
)

// RekeyOptions say how the unseal key is replaced.
type RekeyOptions struct {
	// From is the former key; the host file names the new one.
	From   v1alpha1.Unseal
	Reason string
	// Dry only looks whether it could be done.
	Dry bool
}

// Rekeyed is what replacing the unseal key did.
type Rekeyed struct {
	// Already: the authority opens with the key of the host file, and nothing was changed.
	Already bool `json:"already,omitempty"`
	// Entries are how many were encrypted anew.
	Entries uint64 `json:"entries,omitempty"`
	// Roots also open the authority; none does where the new key is no age identity.
	Roots []string `json:"roots"`
}

// RekeyAuthority replaces the unseal key of the host's authority by the one that the host file names, and encrypts everything in it anew;
// see embedded.Rekey. No server may run. It is on record before it is begun and once it is done. Repeated, it goes on where it was: an
// authority that has the new key already is left alone.
func RekeyAuthority(ctx context.Context, o Options, r RekeyOptions) (Rekeyed, error) {
	done := Rekeyed{Roots: []string{}}
	host, err := LoadHost(o.HostFile)
	if err != nil {
		return done, err
	}
	if err := trustState(host.State); err != nil {
		return done, err
	}
	if socket, err := reach(ctx, host); err != nil || socket != "" {
		if err == nil {
			err = &server.Problem{Class: server.Unavailable, Text: "a server runs on this state folder; nothing was changed", Hint: "stop it first: the authority is encrypted anew as a whole"}
		}
		return done, err
	}
	former := host
	former.Unseal = r.From
	p, err := open(ctx, o, former, false)
	if errors.Is(err, authority.ErrSealed) {
		key, wrong := embedded.LoadSealer(sourceOf(host.Unseal))
		if wrong == nil && embedded.Unlocks(authorityFolder(host.State), key) == nil {
			done.Already = true
			return done, nil
		}
		return done, &server.Problem{
			Class: server.Unavailable, Text: "neither the key that was named nor that of the host file opens the authority: " + err.Error(),
			Hint: "name the key that it has now; the root's identity opens it too, where it was made with an age identity: `custody root combine SHARE... --out FILE`",
		}
	}
	if err != nil {
		return done, err
	}
	key, err := p.successor(host, &done)
	if err == nil && !r.Dry {
		err = p.onRecord(ctx, "unseal-key-replacing", r.Reason)
	}
	config := embedded.Config{
		Folder: authorityFolder(host.State), Clock: Now, Random: Random(), Platform: host.Platform, Environment: host.Environment,
	}
	if err == nil {
		config.Key, err = embedded.LoadSealer(sourceOf(former.Unseal))
	}
	if err := errors.Join(err, p.Close()); err != nil || r.Dry {
		return done, err
	}
	if done.Entries, err = embedded.Rekey(ctx, config, key); err != nil {
		return done, err
	}
	if p, err = open(ctx, o, host, false); err != nil {
		return done, err
	}
	return done, errors.Join(p.onRecord(ctx, "unseal-key-replaced", r.Reason), p.Close())
}

// successor is the key that the host file names now, with which the granted roots of the estate open the authority too.
func (p *parts) successor(host v1alpha1.HostSpec, done *Rekeyed) (embedded.Sealer, error) {
	if p.store == (uninitialised{}) {
		return nil, &server.Problem{Class: server.NotFound, Text: "there is no authority yet", Hint: "the first `custody serve` makes it, with the key that the host file names"}
	}
	p.platform.Reload()
	if why := p.platform.Recovering(); why != "" {
		return nil, &server.Problem{Class: server.Refused, Text: "the platform is recovering: " + why, Hint: "accept or mend that first: `custody status`"}
	}
	estate := p.platform.Estate()
	if estate == nil {
		return nil, &server.Problem{Class: server.Refused, Text: "no estate is in force, so it is not known which root opens the authority too", Hint: "run `custody lint` and mend what it says"}
	}
	source := sourceOf(host.Unseal)
	roots := p.rootsGranted(estate)
	var err error
	if source.Recipients, err = root.Recipients(roots); err != nil {
		return nil, err
	}
	key, err := embedded.LoadSealer(source)
	if err != nil {
		return nil, (&parts{host: host, hostFile: p.hostFile}).noKey(err)
	}
	if embedded.OpensForRoots(key) {
		done.Roots = roots
	}
	return key, nil
}

// onRecord puts something that was done with the authority as a whole on record.
func (p *parts) onRecord(ctx context.Context, step, why string) error {
	return p.record.Append(ctx, audit.Event{
		Run: newRun(), Step: step, Workflow: audit.Operation, By: "user " + User(), Reason: why, Result: audit.OK, At: Now(),
	})
}
