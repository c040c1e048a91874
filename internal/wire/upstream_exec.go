// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"

	"custody.dev/custody/internal/upstream"
)

func execUpstream(_ *parts, _ binding) (upstream.Upstream, error) {
	return nil, errors.New("not built yet")
}
