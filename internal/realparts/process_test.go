// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestStartsElsewhereWhenThePortIsTaken(t *testing.T) {
	broken := errors.New("broken")
	taken := fmt.Errorf("server: %w", errExited)
	for _, test := range []struct {
		name   string
		errs   []error // of each start, the last one again and again
		starts int
		want   error
	}{
		{"at once", []error{nil}, 1, nil},
		{"the second time", []error{taken, nil}, 2, nil},
		{"never", []error{taken}, portAttempts, errExited},
		{"for another reason", []error{broken}, 1, broken},
	} {
		port, tried := 0, map[int]bool{}
		err := onFreePort(t.Context(), &port, func(context.Context) error {
			tried[port] = true
			return test.errs[min(len(tried), len(test.errs))-1]
		})
		if !errors.Is(err, test.want) || len(tried) != test.starts || !tried[port] {
			t.Errorf("%s: got %v after the ports %v, the last %d; want %v after %d", test.name, err, tried, port, test.want, test.starts)
		}
	}
}
