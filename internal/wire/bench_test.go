// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"custody.dev/custody/internal/thorough"
)

// BenchmarkBound is what a platform keeps in memory of each secret that is declared and bound, each in a file of its own and delivered to
// one, before it has a value.
func BenchmarkBound(b *testing.B) {
	count := thorough.Of(50, 2000, 20_000)
	b.Run(fmt.Sprintf("of %d", count), func(b *testing.B) {
		c := newCheckout(b)
		c.write("policy.yaml", "apiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: monthly}\nspec: {rotationType: time, ttl: 30d, rotateBefore: 5d}\n")
		for i := range count {
			c.write(fmt.Sprintf("token-%06d.yaml", i), fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: token-%06[1]d}
spec:
  purpose: Signs the sessions of a service
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: shop/token-%06[1]d
  origin: {generated: {type: token}}
  rotation: {policyRef: monthly}
  consumers:
    - name: web
      file: {folder: app, path: token-%06[1]d.json, format: json, versionKey: version}
`, i))
		}
		host := c.parts.host
		host.Folders = map[string]string{"app": b.TempDir()}
		host.Unseal.KeyFile = filepath.Join(b.TempDir(), "unseal.key")
		putFile(b, host.Unseal.KeyFile, []byte(strings.Repeat("ab", 32)))
		for b.Loop() {
			p := reopened(b, host)
			before := heap()
			if p.reload(); p.platform.Estate() == nil {
				b.Fatal(p.platform.Fault())
			}
			b.ReportMetric(float64(heap()-before)/float64(count), "kept-B/secret")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// heap is what is in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
