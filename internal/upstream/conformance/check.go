// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// Result is what one test of the suite came to.
type Result struct {
	Name string `json:"name"`
	// Failures say what went wrong, each in one line or more; none means that it passed.
	Failures []string `json:"failures,omitempty"`
	// Inapplicable: the kind, or what the suite was given, leaves nothing to try.
	Inapplicable bool `json:"inapplicable,omitempty"`
	// Notes are what the test noted on its way.
	Notes []string `json:"notes,omitempty"`
}

// Check runs the suite outside `go test`, one test after the other, and tells each result as it comes. It stops early
// when ctx ends, whose error it then returns. Only tests whose name chosen takes are run; nil takes all.
func Check(ctx context.Context, fresh func(T) Fixture, chosen func(name string) bool, tell func(Result)) error {
	top := &check{ctx: ctx, result: &Result{}, tell: tell}
	Run(top, fresh, chosen)
	return ctx.Err()
}

// Names lists the tests of the suite in their order.
func Names() []string {
	var names []string
	for _, each := range tests() {
		names = append(names, each.name)
	}
	return names
}

// check is a test that Check runs. The one that stands for the whole suite has tell.
type check struct {
	ctx  context.Context
	tell func(Result)

	mu     sync.Mutex
	result *Result
}

var _ T = (*check)(nil)

func (c *check) Helper() {}

func (c *check) Context() context.Context { return c.ctx }

func (c *check) Logf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if format == inapplicable {
		c.result.Inapplicable = true
		return
	}
	c.result.Notes = append(c.result.Notes, fmt.Sprintf(format, args...))
}

func (c *check) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result.Failures = append(c.result.Failures, fmt.Sprintf(format, args...))
}

// Fatalf ends the goroutine of the test, as package testing does.
func (c *check) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	runtime.Goexit()
}

func (c *check) Run(name string, test func(T)) bool {
	if c.tell != nil && c.ctx.Err() != nil {
		return true
	}
	ctx, cancel := context.WithCancel(c.ctx)
	inner := &check{ctx: ctx, result: &Result{Name: name}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		test(inner)
	}()
	<-done
	if c.tell != nil {
		if c.ctx.Err() == nil { // what was interrupted came to nothing
			c.tell(*inner.result)
		}
		return len(inner.result.Failures) == 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, failure := range inner.result.Failures {
		c.result.Failures = append(c.result.Failures, name+": "+failure)
	}
	c.result.Notes = append(c.result.Notes, inner.result.Notes...)
	return len(inner.result.Failures) == 0
}
