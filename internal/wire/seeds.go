// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"custody.dev/custody/internal/bootstrap"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

// seeds reads bootstrap documents with the identity that the host's file holds at that moment: one that is put there
// late, or in place of a wrong one, needs no restart, and one that is taken away is no longer used.
type seeds struct {
	parts *parts
	// known are the public keys that were there when changed last looked.
	known string

	mu sync.Mutex
	// faults say why documents could not be read when somebody last tried, by secret.
	faults map[string]error
	// left says why the identity could not be removed; see retire.
	left string
}

// last says why the document of the secret could not be read when somebody last tried, nil when it could or nobody did. It reads
// nothing.
func (s *seeds) last(secretName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults[secretName]
}

func (s *seeds) note(secretName string, fault error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults = map[string]error{}
	}
	if s.faults[secretName] = fault; fault == nil {
		delete(s.faults, secretName)
	}
}

// Value implements handover.Source.
func (s *seeds) Value(ctx context.Context, secretName string) (secret.Value, error) {
	v, err := s.read(ctx, secretName)
	s.note(secretName, err)
	return v, err
}

func (s *seeds) read(ctx context.Context, secretName string) (secret.Value, error) {
	identities, err := s.identities()
	if err != nil {
		return secret.Value{}, err
	}
	decryptor := bootstrap.New(bootstrap.Config{Open: Codec(), Identities: identities, Platform: s.parts.host.Platform})
	return decryptor.Source(s.parts.findBootstrap).Value(ctx, secretName)
}

// identities loads the bootstrap identity; none is fine once nothing in Git is left to hand over.
func (s *seeds) identities() ([]root.Identity, error) {
	if s.parts.host.BootstrapIdentity == "" {
		return nil, nil
	}
	identities, err := root.Load(s.parts.host.BootstrapIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return identities, err
}

// there reports whether an identity is at hand.
func (s *seeds) there() bool {
	identities, err := s.identities()
	return err == nil && len(identities) > 0
}

// changed reports whether the identities are others than when it was called last.
func (s *seeds) changed() bool {
	identities, _ := s.identities() // what is wrong with the file is said where a value is wanted
	var keys []string
	for _, identity := range identities {
		keys = append(keys, identity.Public())
	}
	before := s.known
	s.known = strings.Join(keys, " ")
	return s.known != before
}
