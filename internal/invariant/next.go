// SPDX-License-Identifier: Apache-2.0

package invariant

import (
	"fmt"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/upstream"
)

func setByHand(s Secret) string {
	return "set a credential upstream by hand and hand it in: " + next.Supply(s.Name)
}

// replaceRecord leaves the word to a live run, which waits for what it needs.
func replaceRecord(s Secret) string {
	if s.Candidate.Known || s.Old.Known {
		return explain(s)
	}
	if s.Managed.Known && s.Managed.Verdict == upstream.Accepted {
		return "restore the managed value, which the upstream accepts: " + next.Revert(s.Name)
	}
	return fmt.Sprintf("rotate it: %s; or, if somebody set another value upstream, supply that: %s", next.Rotate(s.Name), next.Supply(s.Name))
}

func deliverRecord(s Secret) string {
	for _, consumer := range s.Consumers {
		if !consumer.Waived && consumer.Runs != (authority.VersionID{}) && consumer.Verdict == upstream.Refused && consumer.Runs == s.Record.ID {
			return replaceRecord(s)
		}
	}
	return "deliver the current version: " + next.Deliver(s.Name)
}

func deliverPromoted(s Secret) string {
	if !s.Promoted {
		return "no consumer needs it once the run has delivered the new version; see what the run waits for: " + next.Explain(s.Name)
	}
	return "deliver the current version: " + next.Deliver(s.Name)
}

func revokeByHand(s Secret) string {
	return "revoke it upstream by hand; what the run made is in " + next.ShowRun(s.TakenBack.ID.Run)
}

func replace(s Secret) string { return "rotate it: " + next.Rotate(s.Name) }

func verifyRecord(Secret) string { return "check the record: `custody audit verify`" }

func explain(s Secret) string { return "see what it waits for: " + next.Explain(s.Name) }
