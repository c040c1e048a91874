// SPDX-License-Identifier: Apache-2.0

package authoritytest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
)

// Counted is a store that counts what is asked of the one behind it: each call once, when it is made, whatever comes of
// it. It is safe for concurrent use. Incarnation and DigestKey ask nothing and are not counted.
type Counted struct {
	authority.Store

	mu    sync.Mutex
	calls []Call
}

// Call is one call: the method, and the path or key (of Keys: the prefix) that it was about.
type Call struct{ Method, On string }

var _ authority.Store = (*Counted)(nil)

// Count wraps store.
func Count(store authority.Store) *Counted { return &Counted{Store: store} }

func (c *Counted) note(method, on string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, Call{method, on})
}

// Take returns the calls since the last Take, in order.
func (c *Counted) Take() Calls {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.calls
	c.calls = nil
	return taken
}

// Calls are calls in the order in which they were made.
type Calls []Call

// Reads, Writes and Listings are the calls of that sort.
func (c Calls) Reads() Calls { return c.of("Read", "ReadVersion", "Get") }

// Writes are those that change something, removals among them.
func (c Calls) Writes() Calls { return c.of("Write", "Destroy", "Put", "Delete") }

// Listings are those that list names.
func (c Calls) Listings() Calls { return c.of("Keys") }

func (c Calls) of(methods ...string) Calls {
	return slices.DeleteFunc(slices.Clone(c), func(call Call) bool { return !slices.Contains(methods, call.Method) })
}

// ByMethod counts the calls of each method.
func (c Calls) ByMethod() map[string]int {
	counts := map[string]int{}
	for _, call := range c {
		counts[call.Method]++
	}
	return counts
}

// String lists the calls, one on each line.
func (c Calls) String() string {
	var lines strings.Builder
	for n, call := range c {
		_, _ = fmt.Fprintf(&lines, "%d. %s %s\n", n+1, call.Method, call.On)
	}
	return lines.String()
}

// Read counts.
func (c *Counted) Read(ctx context.Context, path authority.Path) (authority.Versioned, error) {
	c.note("Read", string(path))
	return c.Store.Read(ctx, path)
}

// ReadVersion counts.
func (c *Counted) ReadVersion(ctx context.Context, path authority.Path, number authority.Version) (authority.Versioned, error) {
	c.note("ReadVersion", string(path))
	return c.Store.ReadVersion(ctx, path, number)
}

// Write counts.
func (c *Counted) Write(ctx context.Context, path authority.Path, base authority.Version, run authority.RunID, v secret.Value) (authority.VersionID, error) {
	c.note("Write", string(path))
	return c.Store.Write(ctx, path, base, run, v)
}

// Destroy counts.
func (c *Counted) Destroy(ctx context.Context, path authority.Path, number authority.Version) error {
	c.note("Destroy", string(path))
	return c.Store.Destroy(ctx, path, number)
}

// Get counts.
func (c *Counted) Get(ctx context.Context, key string) (authority.Document, error) {
	c.note("Get", key)
	return c.Store.Get(ctx, key)
}

// Put counts.
func (c *Counted) Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error) {
	c.note("Put", key)
	return c.Store.Put(ctx, key, base, data)
}

// Delete counts.
func (c *Counted) Delete(ctx context.Context, key string, base authority.Revision) error {
	c.note("Delete", key)
	return c.Store.Delete(ctx, key, base)
}

// Keys counts when it is called; going through what it returns counts no more.
func (c *Counted) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	c.note("Keys", prefix)
	return c.Store.Keys(ctx, prefix)
}
