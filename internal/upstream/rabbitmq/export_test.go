// SPDX-License-Identifier: Apache-2.0

package rabbitmq

// WithPages returns p with lists of that many connections a page.
func WithPages(p Pair, size int) Pair {
	copied := *p.Upstream
	copied.page = size
	return Pair{&copied}
}
