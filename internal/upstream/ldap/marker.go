// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"strings"

	"custody.dev/custody/internal/upstream/login"
)

// markerStart is how a marker is told from the other values of its attribute.
const markerStart = `{"custody":`

// findMarker returns the marker among values, "" when there is none. own is false when it is not one that this version
// wrote. Whoever may read the entry can read it. Each change asserts the marker that it read, and no two are the same: so
// none can land after another did.
func findMarker(values []string) (text string, m login.Marker, own bool) {
	for _, value := range values {
		if !strings.HasPrefix(value, markerStart) {
			continue
		}
		if text != "" {
			return text, login.Marker{}, false // two of them
		}
		text = value
	}
	if text == "" {
		return "", login.Marker{}, true
	}
	m, own = login.ParseMarker(text)
	return text, m, own
}
