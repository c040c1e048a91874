// SPDX-License-Identifier: Apache-2.0

// Package startup lets a process start before the garbage collector runs first.
//
// The libraries that are linked in allocate about 4 MiB while they are initialised. There Go begins its first collection, which a
// command that takes a tenth of a second does not live to see the end of, and which takes a fifth of its processor time.
// Importing this package moves the first collection to 16 MiB. From then on the collector runs whenever the heap has grown by half, where
// Go has it double: what a platform knows of its secrets stays in memory, and little is allocated beside it. It imports the standard
// library only, and so is initialised before the libraries that allocate most. Where GOGC is set, nothing is changed.
//
// Cost: up to 12 MiB more until the first collection, and twice as many collections as Go has while very much is done. BenchmarkCommand of internal/acceptance shows what a command costs.
package startup

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// firstPercent has the first collection begin at four times Go's 4 MiB.
	firstPercent = 400
	// usualPercent is how much the heap grows between two collections afterwards; Go's own setting is 100.
	usualPercent = 50
)

// unreachable is found by the first collection, and is large enough not to share its memory with something that lives on.
type unreachable [64]byte

func init() { //nolint:gochecknoinits // it is to come before what the libraries allocate
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(firstPercent)
	runtime.AddCleanup(new(unreachable), func(struct{}) { debug.SetGCPercent(usualPercent) }, struct{}{})
}
