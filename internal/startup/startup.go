// SPDX-License-Identifier: Apache-2.0

// Package startup lets a process start before the garbage collector runs first.
//
// The linked libraries allocate about 4 MiB while they are initialised, and Go then starts its first collection. A command that takes a
// tenth of a second ends before that collection does, and spends a fifth of its CPU time on it. Importing this package moves the first
// collection to 16 MiB. From then on the collector runs when the heap has grown by half (Go's default is by all of it), because a
// server keeps most of its heap: what it knows about secrets. The package imports only the standard library, so it is initialised
// before the libraries that allocate most. If GOGC is set, it changes nothing.
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
