// SPDX-License-Identifier: Apache-2.0

package root

import (
	"errors"
	"testing"
)

// A holder who forges a share with a fitting checksum gets no other identity out of the rest.
func TestCombineForgedShare(t *testing.T) {
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for at := range 74 { // the length of an age key
		shares, err := Split(id, 3, 2)
		if err != nil {
			t.Fatal(err)
		}
		(*shares[1].in).data[at] ^= 0x18
		forged, err := ParseShare(shares[1].Expose())
		if err != nil {
			t.Fatal(err)
		}
		got, err := Combine([]Share{shares[0], forged})
		if !errors.Is(err, ErrDamagedShare) || got.Public() != "" {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}
