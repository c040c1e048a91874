// SPDX-License-Identifier: Apache-2.0

// Package thorough tells a test how much to try: `make check` runs tests with -short, `make test` without it, and `make
// test-long` with CUSTODY_LONG=1. It also provides the seed with which a test takes a sample of what it does not try in
// full.
//
// The seed comes from the commit, so that every commit tries another sample and a failure can be repeated;
// CUSTODY_SEED=N sets another one. Outside a Git checkout it is 1. No program of Custody uses this package.
package thorough

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Long says whether this is the long run.
func Long() bool { return os.Getenv("CUSTODY_LONG") == "1" && !testing.Short() }

// Of chooses by how long this run may take: the fast loop, the whole, or the long run.
func Of[T any](check, test, long T) T {
	switch {
	case testing.Short():
		return check
	case Long():
		return long
	}
	return test
}

// Seed is the number from which this run samples, and is logged by t, which shows it when it fails.
func Seed(t testing.TB) uint64 {
	t.Helper()
	n, err := seed()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("sampled with CUSTODY_SEED=%d", n)
	return n
}

// Random draws what this run samples. Tests that draw from the same seed under other names do not draw alike.
func Random(t testing.TB, name string) *rand.Rand {
	t.Helper()
	mixed := fnv.New64a()
	_, _ = mixed.Write([]byte(name))                     // never fails
	return rand.New(rand.NewPCG(Seed(t), mixed.Sum64())) //nolint:gosec // a sample, not a secret
}

var seed = sync.OnceValues(func() (uint64, error) {
	if given := os.Getenv("CUSTODY_SEED"); given != "" {
		return strconv.ParseUint(given, 10, 64)
	}
	commit, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return 1, nil //nolint:nilerr // no Git, or no checkout
	}
	return strconv.ParseUint(strings.TrimSpace(string(commit)), 16, 64)
})
