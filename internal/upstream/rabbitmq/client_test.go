// SPDX-License-Identifier: Apache-2.0

package rabbitmq_test

import (
	"errors"
	"fmt"
	"strings"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/realparts/signin"
)

// testClient is for the client that package signin makes up, which is no part of the adapter: a right password is taken, a
// wrong one refused, and neither by a broker that is away.
func testClient(r *rig) {
	r.put(map[string]any{"durable": true}, "queues", "/", "orders")
	proxy := realparts.NewProxy(r, fmt.Sprintf("%s:%d", r.server.Host, r.server.Port))
	right := r.server.Root.ExposeText("password")
	sign := func(password, queue string) error {
		return signin.AMQP(r.Context(), r.server.Host, proxy.Port(), r.server.Root.ExposeText("username"), password, queue)
	}
	if err := sign(right, "orders"); err != nil {
		r.Errorf("the right password: %v", err)
	}
	if err := sign("x"+right, "orders"); !errors.Is(err, signin.ErrRefused) {
		r.Errorf("a wrong password: got %v, want ErrRefused", err)
	}
	if err := sign(right, "nothing"); err == nil || errors.Is(err, signin.ErrRefused) {
		r.Errorf("a queue that is not there: got %v", err)
	}
	for _, gone := range []struct {
		when string
		end  func()
	}{{"hangs up", proxy.Break}, {"is away", proxy.Stop}} {
		gone.end()
		for _, password := range []string{right, "x" + right} {
			if err := sign(password, "orders"); err == nil || errors.Is(err, signin.ErrRefused) || strings.Contains(err.Error(), right) {
				r.Errorf("a broker that %s: got %v", gone.when, err)
			}
		}
	}
}
