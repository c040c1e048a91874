// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"strings"

	"custody.dev/custody/internal/next"
)

// Adapters know no names of secrets: what they say of the next move has these in their place, and Named fills them in.
var (
	// SupplyAdmin hands in the credential that the upstream is opened with.
	SupplyAdmin = next.Supply(adminName)
	// SupplyOwn hands in the credential of the account itself.
	SupplyOwn = next.Supply(ownName)
)

const (
	adminName = "THE-ADMIN-SECRET"
	ownName   = "THE-SECRET"
)

// SealOwn seals a first value of the account itself that has the field as well.
func SealOwn(field string) string { return next.Seal(ownName, field) }

// Named fills the names of a secret, and of the one that its upstream is opened with, in where an adapter left them open.
func Named(text, own, admin string) string {
	if admin != "" {
		text = strings.ReplaceAll(text, adminName, admin)
	}
	return strings.ReplaceAll(text, ownName, own)
}
