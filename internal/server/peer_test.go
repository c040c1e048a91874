// SPDX-License-Identifier: Apache-2.0

package server

import (
	"os"
	"testing"
)

// Whoever can write to the folder of the socket could put a server of theirs there, and be handed what people supply.
func TestServerOfAnotherUserIsNotAsked(t *testing.T) {
	folder := t.TempDir()
	if err := (Credentials{UID: os.Geteuid()}).owns(folder); err != nil {
		t.Errorf("the owner's own server: %v", err)
	}
	problem := Problems((Credentials{UID: os.Geteuid() + 1}).owns(folder))
	if problem == nil || problem.Class != Refused || problem.Hint == "" {
		t.Errorf("another user's server: %+v, want it refused with a hint", problem)
	}
}
