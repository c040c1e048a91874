// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"custody.dev/custody/internal/durable"
)

// sinkDeadline bounds one offer of a checkpoint to one place.
const sinkDeadline = 10 * time.Second

// Sink is somewhere else that keeps checkpoints, best where whoever writes the log cannot rewrite them. It gets the
// newest, not each: it never holds up an append, and its failure is a finding.
type Sink interface {
	// Name tells this place from others, for people.
	Name() string
	// Put keeps a checkpoint. It may be called again with the same one.
	Put(ctx context.Context, checkpoint []byte) error
}

// Rememberer is an optional power of a Sink: it gives back what it keeps, which Open holds against the log.
type Rememberer interface {
	// Last returns the checkpoint kept last, nil when there is none.
	Last(ctx context.Context) ([]byte, error)
}

// Paced is an optional power of a Sink to which a checkpoint is a cost: it is offered the newest one after a pause, for all events of
// that time, and when the log is closed. What was cut off the log within the pause it cannot show.
type Paced interface {
	// Pause is how long it waits after an event.
	Pause() time.Duration
}

// FileSink is a Sink: one file in a folder, such as a mount of another host.
type FileSink struct {
	Folder *durable.Folder
	// As is the file's name within Folder.
	As string
}

var (
	_ Sink       = FileSink{}
	_ Rememberer = FileSink{}
)

// Name is the file's path.
func (f FileSink) Name() string { return f.Folder.Dir() + "/" + f.As }

// Put replaces the file.
func (f FileSink) Put(_ context.Context, checkpoint []byte) error {
	return f.Folder.Replace(f.As, checkpoint, durable.Private)
}

// Last reads the file.
func (f FileSink) Last(context.Context) ([]byte, error) {
	data, err := f.Folder.Read(f.As)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// lastOf reads what a place keeps, nil when it keeps nothing or cannot say. The error says why it could not be asked: a place
// that hangs must not be able to stop the log.
func lastOf(place Sink) ([]byte, error) {
	remembers, can := place.(Rememberer)
	if !can {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sinkDeadline)
	defer cancel()
	var data []byte
	ended := make(chan error, 1)
	go func() {
		read, err := remembers.Last(ctx)
		data = read
		ended <- err
	}()
	select {
	case err := <-ended:
		return data, err
	case <-ctx.Done():
		return nil, fmt.Errorf("it did not answer within %s", sinkDeadline)
	}
}

// sink offers the newest checkpoint to one place, one at a time, in its own goroutine.
//
// What a place keeps is held against the log before it is first replaced: a place that was away when the log was opened may
// keep the only evidence that an older log was put back.
type sink struct {
	place    Sink
	verifier note.Verifier
	own      bool // the place keeps a checkpoint of this log as it is now
	// has is the log's; compared is what the place kept when that was last held against the log and was right.
	has      func(context.Context, checkpoint) (bool, error)
	compared []byte
	// anchor is what the authority knew when the log was opened.
	anchor []byte
	wake   chan struct{}
	done   chan struct{}
	ending chan struct{} // closed when no pause is to be made any more

	mu     sync.Mutex
	newest []byte
	failed error
	ended  bool
	// ahead is what the place keeps when that covers more events than the log has; givenUp is what does not count so.
	ahead   *Outside
	givenUp [][]byte
}

// start has the sink offer first.
func (s *sink) start(first []byte) *sink {
	s.wake, s.done, s.ending = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go s.work()
	s.offer(first)
	return s
}

func (s *sink) offer(checkpoint []byte) {
	s.mu.Lock()
	s.newest = checkpoint
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // awake already, and it will see the newest
	}
}

func (s *sink) work() {
	defer close(s.done)
	for {
		<-s.wake
		s.pause()
		s.mu.Lock()
		checkpoint, ended := s.newest, s.ended
		s.newest = nil
		s.mu.Unlock()
		if checkpoint != nil {
			s.put(checkpoint)
		}
		if ended {
			return
		}
	}
}

// pause lets more events come, where the place asks for it and something is to be offered.
func (s *sink) pause() {
	paced, is := s.place.(Paced)
	s.mu.Lock()
	idle := s.newest == nil
	s.mu.Unlock()
	if !is || idle {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), paced.Pause())
	defer cancel()
	select {
	case <-ctx.Done():
	case <-s.ending:
	}
}

// put offers one checkpoint. A place that does not end the call when its deadline has passed, as a mount whose server is
// gone, is a finding from then on, and is offered nothing more until it does.
func (s *sink) put(checkpoint []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), sinkDeadline)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.send(ctx, checkpoint) }()
	note := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = err
	}
	select {
	case err := <-ended:
		note(err)
	case <-ctx.Done():
		note(fmt.Errorf("it has not answered for %s; look at the mount or the host behind it", sinkDeadline))
		note(<-ended)
	}
}

// send puts a checkpoint in place of an older one. One that tells of more than this log holds is evidence, and stays.
func (s *sink) send(ctx context.Context, checkpoint []byte) error {
	if remembers, ok := s.place.(Rememberer); ok && !s.own {
		data, err := remembers.Last(ctx)
		if err != nil {
			return err
		}
		if err := s.compare(ctx, data, checkpoint); err != nil {
			return err
		}
	}
	err := s.place.Put(ctx, checkpoint)
	s.own = s.own || err == nil
	return err
}

// stop waits until the last checkpoint was offered, or the place's deadline has passed.
func (s *sink) stop() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	close(s.ending)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*sinkDeadline)
	defer cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
}

func (s *sink) findings() []Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		return nil
	}
	return []Finding{{Unsent, s.place.Name(), fmt.Sprintf("it did not take the newest checkpoint: %v", s.failed)}}
}
