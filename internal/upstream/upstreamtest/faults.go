// SPDX-License-Identifier: Apache-2.0

package upstreamtest

import (
	"fmt"
	"strings"

	"custody.dev/custody/internal/upstream"
)

// Faults applies a type's defaults and checks to parameters, as lint does with documents, and lists what is reported as
// "RULE PLACE": account-form users[1]. Admin says whether the upstream names an admin credential.
func Faults(t upstream.Type, admin bool, server, account any) []string {
	var found []string
	bad := func(rule string, at upstream.Trail, _ string) {
		place := ""
		for _, step := range at {
			if name, is := step.(string); is {
				place += "." + name
			} else {
				place += fmt.Sprintf("[%v]", step)
			}
		}
		found = append(found, strings.TrimSpace(rule+" "+strings.TrimPrefix(place, ".")))
	}
	server, account = t.Defaults(server), t.AccountDefaults(account)
	t.Check(server, admin, bad)
	t.CheckAccount(server, account, bad)
	return found
}
