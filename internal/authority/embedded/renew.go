// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"custody.dev/custody/internal/authority"
)

// Renew implements authority.Renewer. What earlier incarnations wrote stays readable.
func (s *Store) Renew(ctx context.Context, from authority.Incarnation, plan func(authority.Incarnation) (authority.Renewal, error)) (next authority.Incarnation, err error) {
	s.ops.Lock()
	defer s.ops.Unlock()
	defer s.guard(&err)()
	before := s.identity
	defer func() {
		if err != nil {
			next, s.identity, err = "", before, fmt.Errorf("renewing the incarnation: %w", err)
		}
		s.show()
	}()
	if err := s.ready(ctx); err != nil {
		return "", err
	}
	if before.current() != from {
		return "", fmt.Errorf("%s is over: %w", from, authority.ErrConflict)
	}
	if next, err = s.config.incarnation(before.current()); err != nil {
		return "", err
	}
	what, err := plan(next)
	if err != nil {
		return "", err
	}
	s.identity.Incarnations = append(slices.Clone(before.Incarnations), next)
	return next, s.commit(ctx, func(b *batch) error { return b.renew(what) })
}

// An incarnation is a family, which is random and that of the authority's first one; the second in which it began, which is
// more than that of the one before it; and more that is random, since two copies may begin one in the same second.
const (
	familyBytes = 8
	beganBytes  = familyBytes + 4
)

// incarnation makes the one after before, or the first one with "".
func (c Config) incarnation(before authority.Incarnation) (authority.Incarnation, error) {
	raw := make([]byte, incarnationBytes)
	if _, err := io.ReadFull(c.Random, raw); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	began := c.Clock().Unix()
	if earlier, err := hex.DecodeString(string(before)); err == nil && len(earlier) == incarnationBytes {
		copy(raw, earlier[:familyBytes])
		began = max(began, int64(binary.BigEndian.Uint32(earlier[familyBytes:]))+1)
	}
	binary.BigEndian.PutUint32(raw[familyBytes:], uint32(min(max(began, 0), math.MaxUint32)))
	return authority.Incarnation(hex.EncodeToString(raw)), nil
}

// Later implements authority.Renewer.
func (s *Store) Later(i authority.Incarnation) bool {
	now := s.Incarnation()
	return len(i) == len(now) && i[:2*familyBytes] == now[:2*familyBytes] && i[:2*beganBytes] > now[:2*beganBytes]
}

func (b *batch) renew(what authority.Renewal) error {
	sealed, err := sealMeta(b.store.aead, identityKey, b.store.identity)
	if err != nil {
		return err
	}
	b.changes++
	if err := b.tx.Bucket(metaBucket).Put(identityKey, sealed); err != nil {
		return err
	}
	for _, v := range what.Values {
		if err := nameFits(string(v.Path)); err != nil {
			return err
		}
		if _, err := b.write(v.Path, v.Base, v.Run, v.Value); err != nil && !errors.Is(err, errUnchanged) {
			return fmt.Errorf("writing %s: %w", v.Path, err)
		}
	}
	for _, r := range what.Documents {
		if err := nameFits(r.Key); err != nil {
			return err
		}
		if err := b.document(r.Key, r.Revision, r.Data); err != nil && !errors.Is(err, errUnchanged) {
			return fmt.Errorf("putting document %s: %w", r.Key, err)
		}
	}
	for _, key := range what.Gone {
		if _, err := b.remove(documentsBucket, []byte(key)); err != nil {
			return fmt.Errorf("deleting document %s: %w", key, err)
		}
	}
	return nil
}
