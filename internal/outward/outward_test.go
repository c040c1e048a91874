// SPDX-License-Identifier: Apache-2.0

package outward_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"custody.dev/custody/internal/outward"
)

// bubble runs test in virtual time with fresh calls.
func bubble(t *testing.T, test func(*testing.T, *outward.Calls)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, outward.New(time.Now)) })
}

func answers(context.Context) (string, error) { return "answer", nil }

func TestDeafCallIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		release := make(chan struct{})
		call := outward.Call{Part: "a", Group: "server", Limit: 30 * time.Second}
		began := time.Now()
		_, err := outward.Do(t.Context(), calls, call, func(context.Context) (string, error) {
			<-release
			return "late", nil
		})
		if _, unanswered := errors.AsType[*outward.Unanswered](err); !unanswered || errors.Is(err, outward.ErrNotBegun) {
			t.Errorf("got %v, want that it is not known", err)
		}
		if took := time.Since(began); took != 30*time.Second+outward.Grace {
			t.Errorf("it was given up after %s", took)
		}
		if _, err := outward.Do(t.Context(), calls, call, answers); !errors.Is(err, outward.ErrUnended) || !errors.Is(err, outward.ErrNotBegun) {
			t.Errorf("a second call while the first goes on: %v", err)
		}
		other := outward.Call{Part: "b", Group: "server", Limit: time.Second}
		if _, err := outward.Do(t.Context(), calls, other, answers); err != nil {
			t.Errorf("another part: %v", err)
		}
		close(release)
		synctest.Wait()
		if got, err := outward.Do(t.Context(), calls, call, answers); err != nil || got != "answer" {
			t.Errorf("once the first ended: %q, %v", got, err)
		}
	})
}

// A part that obeys its context says itself how the call ended.
func TestCallThatEndsAtItsLimitIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		said := errors.New("never connected")
		_, err := outward.Do(t.Context(), calls, outward.Call{Part: "a", Limit: time.Second}, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", said
		})
		if !errors.Is(err, said) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTwoCallsGivenUpMustBothEnd(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		call := outward.Call{Part: "a", Limit: time.Second}
		releases := []chan struct{}{make(chan struct{}), make(chan struct{})}
		for _, release := range releases {
			go func() {
				_, _ = outward.Do(context.Background(), calls, call, func(context.Context) (string, error) { <-release; return "", nil })
			}()
		}
		time.Sleep(time.Minute)
		for i, release := range releases {
			if _, err := outward.Do(t.Context(), calls, call, answers); !errors.Is(err, outward.ErrUnended) {
				t.Errorf("with %d going on: %v", len(releases)-i, err)
			}
			close(release)
			synctest.Wait()
		}
		if _, err := outward.Do(t.Context(), calls, call, answers); err != nil {
			t.Error(err)
		}
	})
}

// Whoever panics in a call panics in its caller, and one that ends its goroutine leaves nobody waiting.
func TestPanicReachesTheCaller(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		defer func() {
			if got := recover(); got != "broken" {
				t.Errorf("recovered %v", got)
			}
		}()
		_, _ = outward.Do(t.Context(), calls, outward.Call{Part: "a", Limit: time.Second}, func(context.Context) (string, error) { panic("broken") })
	})
}

func TestGroupHasItsWidthAndKeepsSomeForWhatIsBegun(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var mu sync.Mutex
		var began []string
		order := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(began)
		}
		hang := func(name string, rank outward.Rank, limit time.Duration) {
			go func() {
				call := outward.Call{Part: name, Group: "server", Rank: rank, Limit: limit}
				_, _ = outward.Do(ctx, calls, call, func(ctx context.Context) (string, error) {
					mu.Lock()
					began = append(began, name)
					mu.Unlock()
					<-ctx.Done()
					return "", ctx.Err()
				})
			}()
			synctest.Wait()
		}
		for i := range 2 * outward.Width {
			hang(fmt.Sprintf("first-%d", i), outward.First, time.Duration(i+1)*10*time.Second)
		}
		if got := len(order()); got != outward.Width-outward.Kept {
			t.Errorf("%d first steps go on at once", got)
		}
		for i := range outward.Kept + 1 {
			hang(fmt.Sprintf("begun-%d", i), outward.Begun, time.Hour)
		}
		hang("cut", outward.Cut, time.Hour)
		if got := order(); len(got) != outward.Width || got[outward.Width-1] != "begun-1" {
			t.Errorf("%v go on at once", got)
		}
		time.Sleep(21 * time.Second) // two have ended
		synctest.Wait()
		if next := order()[outward.Width:]; !slices.Equal(next, []string{"cut", "begun-2"}) {
			t.Errorf("%v went next", next)
		}
		cancel()
		synctest.Wait()
	})
}

func TestTurnThatDoesNotComeIsNotBegun(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		release := make(chan struct{})
		for i := range outward.Width {
			go func() {
				call := outward.Call{Part: fmt.Sprint(i), Group: "server", Rank: outward.Begun, Limit: time.Second}
				_, _ = outward.Do(context.Background(), calls, call, func(context.Context) (string, error) { <-release; return "", nil })
			}()
		}
		synctest.Wait()
		began := time.Now()
		_, err := outward.Do(t.Context(), calls, outward.Call{Part: "x", Group: "server", Limit: time.Second}, answers)
		if !errors.Is(err, outward.ErrBusy) || time.Since(began) != outward.Patience {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		close(release)
		synctest.Wait()
	})
}

// A worker holds its place while it works, and none while it waits for something outside.
func TestPlaceIsGivenUpWhileACallGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		places := outward.NewGate(1, 0)
		worked := 0
		for i := range 3 {
			go func() {
				if places.Enter(t.Context(), outward.First) != nil {
					return
				}
				defer places.Leave()
				ctx := outward.AtPlace(t.Context(), places, outward.First)
				nested := outward.Call{Part: fmt.Sprint("nested ", i), Limit: 20 * time.Second}
				_, _ = outward.Do(ctx, calls, outward.Call{Part: fmt.Sprint(i), Limit: time.Minute}, func(ctx context.Context) (string, error) {
					return outward.Do(ctx, calls, nested, func(context.Context) (string, error) {
						time.Sleep(10 * time.Second)
						return "", nil
					})
				})
				worked++
			}()
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if worked != 3 {
			t.Errorf("%d of 3 are through when the longest call is", worked)
		}
		if err := places.Enter(t.Context(), outward.First); err != nil {
			t.Fatal(err)
		}
		places.Leave()
	})
}

// Each caller leaves its turn when it is done with it; the server is as busy as before.
func TestCallThatWasGivenUpKeepsItsPlaceInTheGroup(t *testing.T) {
	bubble(t, func(t *testing.T, calls *outward.Calls) {
		release := make(chan struct{})
		for i := range outward.Width {
			turn, err := calls.Enter(t.Context(), outward.Call{Part: fmt.Sprint(i), Group: "server", Rank: outward.Cut})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = outward.Run(t.Context(), turn, time.Second, func(context.Context) (string, error) { <-release; return "", nil })
			turn.Leave()
		}
		next := outward.Call{Part: "next", Group: "server", Rank: outward.Cut, Limit: time.Second}
		if _, err := outward.Do(t.Context(), calls, next, answers); !errors.Is(err, outward.ErrBusy) {
			t.Errorf("one more call than the group's width: %v", err)
		}
		close(release)
		synctest.Wait()
		if _, err := outward.Do(t.Context(), calls, next, answers); err != nil {
			t.Errorf("once they have ended: %v", err)
		}
	})
}
