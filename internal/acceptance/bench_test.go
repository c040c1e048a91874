// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/thorough"
)

// BenchmarkFirstIssue is what it takes the built binary to make, store, record and deliver the first values of many secrets, into
// one folder; and how often it asks the system for what is slow, where strace is installed to count that.
func BenchmarkFirstIssue(b *testing.B) {
	count := thorough.Of(20, 1000, 1000)
	b.Run(fmt.Sprintf("of %d", count), func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			f := newFarm(b, count)
			custody(b) // is built before time counts
			b.StartTimer()
			f.serve()
			f.ready()
			b.StopTimer()
			b.ReportMetric(float64(f.cpu().Milliseconds())/float64(count), "CPU-ms/secret")
			f.stop()
			b.StartTimer()
		}
		b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "secrets/s")
	})
	if _, err := exec.LookPath("strace"); err != nil {
		b.Log("strace is not installed: system calls are not counted")
		return
	}
	traced := thorough.Of(20, 200, 1000)
	b.Run(fmt.Sprintf("calls of %d", traced), func(b *testing.B) {
		for b.Loop() {
			f := newFarm(b, traced)
			f.traced = filepath.Join(b.TempDir(), "calls")
			f.serve()
			f.ready()
			f.stop()
			for name, calls := range f.calls() {
				b.ReportMetric(float64(calls)/float64(traced), name+"/secret")
			}
		}
	})
}

// BenchmarkServed is what a server of many steady secrets takes for an answer over its socket, at rest, for a change of its estate,
// and for a start. CUSTODY_BENCH_SECRETS takes another number of them.
func BenchmarkServed(b *testing.B) {
	count := thorough.Of(50, 10_000, 100_000)
	if given := os.Getenv("CUSTODY_BENCH_SECRETS"); given != "" {
		var err error
		if count, err = strconv.Atoi(given); err != nil || count < 1 {
			b.Fatalf("CUSTODY_BENCH_SECRETS=%q is no number of secrets", given)
		}
	}
	f := newFarm(b, count)
	f.serve()
	f.ready()
	f.atRest(b)
	f.questions(b)
	f.change(b)
	f.starts(b)
}

// BenchmarkCommand is what a command takes that does nothing: to be started.
func BenchmarkCommand(b *testing.B) {
	program := custody(b)
	var used time.Duration
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), program, "--version")
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "CPU-ms")
}

// run measures do, and what the server uses of the processor meanwhile.
func (f *farm) run(b *testing.B, what string, do func(b *testing.B) error) {
	b.Helper()
	b.Run(fmt.Sprintf("%s of %d", what, f.count), func(b *testing.B) {
		before := f.cpu()
		for b.Loop() {
			if err := do(b); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((f.cpu()-before).Milliseconds())/float64(b.N), "CPU-ms")
	})
}

func (f *farm) atRest(b *testing.B) {
	b.Helper()
	idle := thorough.Of(time.Second, time.Minute, time.Minute)
	b.Run(fmt.Sprintf("idle of %d", f.count), func(b *testing.B) {
		before := f.cpu()
		for b.Loop() {
			time.Sleep(idle)
		}
		b.ReportMetric(float64((f.cpu()-before).Milliseconds())/b.Elapsed().Minutes(), "CPU-ms/min")
	})
	b.Run(fmt.Sprintf("memory of %d", f.count), func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(f.memory("VmRSS"), "MiB-resident")
			b.ReportMetric(f.memory("RssAnon"), "MiB-own") // the rest are pages of the binary and of the database, which the kernel takes back
		}
	})
}

func (f *farm) questions(b *testing.B) {
	b.Helper()
	name := tokenName(f.count / 2)
	known, err := f.client.Runs(b.Context(), name)
	if err != nil || len(known) == 0 {
		b.Fatalf("%d runs of %s: %v", len(known), name, err)
	}
	ask := func(what string, do func(ctx context.Context) error) {
		f.run(b, what, func(b *testing.B) error { return do(b.Context()) })
	}
	ask("inventory", func(ctx context.Context) error { _, err := f.client.Inventory(ctx, server.Filter{}); return err })
	ask("status", func(ctx context.Context) error { _, err := f.client.Status(ctx, server.Filter{}); return err })
	ask("plan", func(ctx context.Context) error { _, err := f.client.Plan(ctx, server.Filter{}); return err })
	ask("metrics", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.address+"/metrics", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
	ask("explain", func(ctx context.Context) error { _, err := f.client.Explain(ctx, name); return err })
	ask("run show", func(ctx context.Context) error { _, err := f.client.Run(ctx, known[0].ID); return err })
	ask("doctor", func(ctx context.Context) error { _, err := f.client.Doctor(ctx); return err })
}

// change edits one document and waits until it is in force; looks are how many secrets were looked at since, those whose turn it
// was among them.
func (f *farm) change(b *testing.B) {
	b.Helper()
	looks, edit := 0, 0
	f.run(b, "change", func(b *testing.B) error {
		before, edited := f.inForce(b), time.Now()
		edit++
		f.declare(f.count/2, fmt.Sprintf("Signs the sessions of service %d", edit))
		if err := syscall.Kill(f.pid(), syscall.SIGHUP); err != nil {
			return err
		}
		for f.inForce(b) == before {
			if time.Since(edited) > hang {
				return fmt.Errorf("the change is not in force")
			}
			time.Sleep(between)
		}
		looks = 0
		for _, row := range f.rows() {
			if row.Looked.After(edited) {
				looks++
			}
		}
		b.ReportMetric(float64(looks), "looks")
		return nil
	})
}

// inForce is the digest of the estate that is in force.
func (f *farm) inForce(b *testing.B) string {
	b.Helper()
	status, err := f.client.Status(b.Context(), server.Filter{Secret: tokenName(0)})
	if err != nil {
		b.Fatal(err)
	}
	return status.Estate
}

func (f *farm) starts(b *testing.B) {
	b.Helper()
	f.stop()
	b.Run(fmt.Sprintf("alone of %d", f.count), func(b *testing.B) {
		for b.Loop() {
			command := f.command("explain", tokenName(f.count/2))
			if out, err := command.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			used := command.ProcessState
			b.ReportMetric(float64((used.UserTime() + used.SystemTime()).Milliseconds()), "CPU-ms")
			b.ReportMetric(float64(used.SysUsage().(*syscall.Rusage).Maxrss)/1024, "MiB-peak")
		}
	})
	b.Run(fmt.Sprintf("start of %d", f.count), func(b *testing.B) {
		for b.Loop() {
			f.serve()
			b.StopTimer()
			b.ReportMetric(float64(f.cpu().Milliseconds()), "CPU-ms")
			b.ReportMetric(f.memory("VmHWM"), "MiB-peak")
			f.stop()
			b.StartTimer()
		}
	})
}
