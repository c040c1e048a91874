// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"runtime"
	"testing"
	"testing/fstest"

	"custody.dev/custody/internal/wire/kinds"
)

// BenchmarkLint lints 10,000 documents, each in its own file. Peak is the heap that is in use at the end, before what is not
// needed any more is let go.
func BenchmarkLint(b *testing.B) {
	made := fstest.MapFS{"platform.yaml": {Data: []byte(boundsPlatform)}}
	for i := range 9_999 {
		made[fmt.Sprintf("s%05d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, boundsSecret, i, i, i)}
	}
	files, err := readFS(made, largest())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if estate, faults := files.Load(Options{Types: kinds.Upstreams()}); estate == nil {
			b.Fatal(faults)
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.HeapSys-memory.HeapReleased)/(1<<20), "MB-heap")
}

// BenchmarkMixture does the same where one document of them has a fault.
func BenchmarkMixture(b *testing.B) {
	made := fstest.MapFS{"platform.yaml": {Data: []byte(boundsPlatform)}}
	for i := range 9_999 {
		made[fmt.Sprintf("s%05d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, boundsSecret, i, i, i)}
	}
	before, err := readFS(made, largest())
	if err != nil {
		b.Fatal(err)
	}
	made["s00007.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, boundsSecret, 7, 7, 8)}
	newest, err := readFS(made, largest())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if estate, _ := newest.LoadOver(before, Options{Types: kinds.Upstreams()}); estate == nil || len(estate.Older) != 1 {
			b.Fatal("no mixture")
		}
	}
}
