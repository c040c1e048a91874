// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"runtime"
	"sync"

	"custody.dev/custody/internal/upstream"
)

// maxParsers bounds how many files are parsed at once, and how many are ahead of the one that is taken up: one of many small values
// takes a hundred times its size while it is parsed.
const maxParsers = 4

// parse reads the documents. Files are parsed by several goroutines, and taken up in their order.
func (f *Files) parse(types upstream.Types) *reader {
	r := newReader(types)
	r.mostValues = f.bounds.values
	stop := make(chan struct{})
	parsed, wait := f.ahead(types, stop)
	defer wait()
	defer close(stop)
	for i := 0; i < len(f.read) && !r.full; i++ {
		if one := f.read[i]; one.rule != "" {
			r.file(one.rule, one.name, one.reason, "")
			continue
		}
		r.take(<-<-parsed, i, f.read[i].name)
	}
	if f.tooLarge && !r.full {
		r.fill(fmt.Sprintf("the documents have more than %d bytes together", f.bounds.bytes))
	}
	f.declares(r.documents)
	return r
}

// ahead parses the files that could be read until stop is closed. It yields a reader for each, in order; wait returns once nothing is
// parsed any more.
func (f *Files) ahead(types upstream.Types, stop <-chan struct{}) (parsed chan chan *reader, wait func()) {
	type job struct {
		file oneFile
		done chan *reader
	}
	parsed, jobs := make(chan chan *reader, maxParsers), make(chan job)
	var working sync.WaitGroup
	working.Go(func() {
		defer close(jobs)
		for _, one := range f.read {
			if one.rule != "" {
				continue
			}
			next := job{one, make(chan *reader, 1)}
			select {
			case parsed <- next.done:
			case <-stop:
				return
			}
			select {
			case jobs <- next:
			case <-stop:
				return
			}
		}
	})
	for range min(runtime.GOMAXPROCS(0), maxParsers) {
		working.Go(func() {
			shapes, words := newReader(types).shapes, words{}
			for next := range jobs {
				r := newReader(types)
				r.shapes, r.words, r.mostValues = shapes, words, f.bounds.values
				r.read(next.file.name, next.file.data)
				r.trees = nil
				next.done <- r
			}
		})
	}
	return parsed, working.Wait
}

// take takes up what was parsed of one file, which has that index.
func (r *reader) take(file *reader, index int, name string) {
	for _, fault := range file.faults.list {
		r.faults.add(fault)
	}
	r.lost = r.lost || file.lost
	if r.values += file.values; r.values > r.mostValues {
		r.fill(fmt.Sprintf("the documents have more than %d keys, texts, lists and mappings together", r.mostValues))
		return
	}
	if r.faults.crowded(name) {
		r.lost = true
		return
	}
	for _, d := range file.documents {
		d.index = index
	}
	r.documents = append(r.documents, file.documents...)
}
