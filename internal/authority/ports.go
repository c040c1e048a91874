// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"iter"

	"custody.dev/custody/internal/secret"
)

// Every method of the ports below may be called again with the same arguments after a crash or a lost reply.
//
// Reads are linearizable: they show every change that was acknowledged before they began, whoever made it. A stale read
// must decide nothing, so an adapter whose server may be behind asks the leader, or answers ErrUnavailable.

// Values are what consumers are given: versions at paths.
type Values interface {
	// Read returns the newest version at path: ErrNotFound when nothing was ever written, or its value was destroyed.
	Read(ctx context.Context, path Path) (Versioned, error)
	// ReadVersion returns one version; ErrNotFound once it was destroyed.
	ReadVersion(ctx context.Context, path Path, number Version) (Versioned, error)
	// Write stores v as the version after base, made by run, durably before it returns. Repeating it with the same
	// base, run and value returns the version it made the first time; anything else newer than base is ErrConflict.
	Write(ctx context.Context, path Path, base Version, run RunID, v secret.Value) (VersionID, error)
	// Destroy makes one version's value unreadable for ever and keeps that it existed. Idempotent.
	Destroy(ctx context.Context, path Path, number Version) error
}

// Documents are Custody's own, for the orchestrator alone.
type Documents interface {
	// Get returns a document, or ErrNotFound.
	Get(ctx context.Context, key string) (Document, error)
	// Put stores data as the revision after base, durably before it returns. Repeating it with the same base and data
	// returns the revision it made the first time; anything else newer than base is ErrConflict.
	Put(ctx context.Context, key string, base Revision, data []byte) (Revision, error)
	// Delete removes a document that is at revision base, durably before it returns; at any other it is ErrConflict, and
	// nothing is removed. One that is not there is gone: idempotent. Revisions of a document that is made anew count from 1.
	Delete(ctx context.Context, key string, base Revision) error
	// Keys yields the keys that begin with prefix, in order, without contents: whoever wants one gets it. A document that
	// was there all the while is yielded; of one that is made or deleted meanwhile nothing is promised. The loop may call
	// the store. An error is the last that is yielded.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Store is the whole of what an authority can do. Callers take the narrower port, or declare what they need of it.
type Store interface {
	// Incarnation identifies this initialisation of the authority. While the store is open it changes by Renew alone; see
	// Renewer.
	Incarnation() Incarnation
	Values
	Documents
	// DigestKey returns the key for digests of values at path. It is derived from one key that was made with the authority
	// (see DeriveDigestKey), so it is the same for ever, nothing is stored for it, and no server is asked. It never leaves
	// the process.
	DigestKey(ctx context.Context, path Path) ([]byte, error)
}

// Collect returns what Keys yields.
func Collect(keys iter.Seq2[string, error]) ([]string, error) {
	var all []string
	for key, err := range keys {
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
}

// Failed is a listing that yields err alone.
func Failed(err error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", err) }
}

// Each yields keys.
func Each(keys []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if !yield(key, nil) {
				return
			}
		}
	}
}
