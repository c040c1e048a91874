// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/durable"
)

// stepRetired records that the bootstrap identity is removed.
const stepRetired = "bootstrap-identity-retired"

// retire removes the bootstrap identity from this machine once Git has nothing left to hand over, where the host file says
// retireBootstrapIdentity, or where it was enrolled for a while: nothing that runs here can decrypt Git then. One that was enrolled stays
// until a value was handed over since, or its time is over. It is on record before the file is touched; after a crash the
// next call does it again. The key is in the root's hands still: whoever seals encrypts to the root too.
//
// Nothing is removed while anything is in doubt: a document of the estate is not in force, the platform is recovering, nothing was ever
// handed over, or the file unseals the authority as well.
func (s *seeds) retire(ctx context.Context) {
	var why string
	if err := s.retireNow(ctx); err != nil {
		why = "the bootstrap identity " + s.parts.host.BootstrapIdentity + " cannot be removed, though nothing is left to hand over: " + err.Error()
		if s.unretired() == "" {
			s.parts.log.Error("retiring the bootstrap identity", "error", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = why
}

// unretired says why the identity could not be removed, "" when it could or is not to be.
func (s *seeds) unretired() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

func (s *seeds) retireNow(ctx context.Context) error {
	file := s.parts.host.BootstrapIdentity
	identities, err := s.identities()
	if err != nil || len(identities) == 0 {
		return nil // what is wrong with the file is said where a value is wanted
	}
	how, err := s.temporary()
	if err != nil || how.zero() && !s.parts.host.RetireBootstrapIdentity {
		return err
	}
	last, done := s.done(ctx)
	switch over := !how.zero() && !Now().Before(how.until); {
	case !done, how.zero() && last.IsZero():
		return nil
	case !how.zero() && !over && !last.After(how.since):
		return nil
	}
	by, why := "host file", "retireBootstrapIdentity: nothing is left to hand over"
	if !how.zero() {
		by, why = "bootstrap enroll", "it was enrolled for a while, and nothing is left to hand over"
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	for _, other := range []string{s.parts.host.Unseal.Identity, s.parts.host.Unseal.KeyFile} {
		if also, err := os.Stat(other); err == nil && os.SameFile(info, also) {
			return errors.New("the host file names it for unseal too; give each a file of its own")
		}
	}
	if err := s.parts.record.Append(ctx, audit.Event{
		Run: authority.RunID(fmt.Sprintf("retire-%s-%d", identities[0].Public(), info.ModTime().Unix())), Step: stepRetired, Workflow: audit.Operation,
		By: by, Reason: why, Result: audit.OK, Detail: identities[0].Public(), At: Now(),
	}); err != nil {
		return err
	}
	folder, err := durable.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	name := filepath.Base(file)
	err = folder.Overwrite(name, make([]byte, info.Size()), durable.Private)
	if err = errors.Join(err, folder.Remove(name), folder.Close()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		s.parts.log.Info("the bootstrap identity was removed: nothing is left to hand over", "file", file)
	}
	return err
}

// done reports whether every first value in Git was handed over, without a doubt, and when the last one was; zero where there was none.
func (s *seeds) done(ctx context.Context) (last time.Time, done bool) {
	p := s.parts.platform
	estate := p.Estate()
	if estate == nil || p.Fault() != "" || len(p.Older()) > 0 || p.Recovering() != "" {
		return last, false
	}
	entries := s.parts.entries()
	for _, declared := range estate.Secrets {
		if declared.Spec.Origin.Bootstrap == nil {
			continue
		}
		entry, err := entries.Load(ctx, declared.Path)
		if err != nil || entry.Tombstone == nil || entry.Live != nil {
			return last, false
		}
		if at := entry.Tombstone.At; at.After(last) {
			last = at
		}
	}
	return last, true
}
