// SPDX-License-Identifier: Apache-2.0

// Package next builds the commands that findings and errors suggest, with all arguments, so that they can be copied.
// What only the person knows is in capitals. A test of package cli checks each of them against the command line.
package next

import (
	"fmt"
	"strings"
)

// reason is the part that only a person can fill in.
const reason = " --reason TEXT"

// Rotate makes a new value of a secret.
func Rotate(secret string) string { return quote("custody rotate " + secret + reason) }

// Supply hands in a value of a secret; it asks for each of its fields.
func Supply(secret string) string { return quote("custody supply " + secret + reason) }

// SupplySealed seals a value of a secret to an intake key, into a file that can be handed in later.
func SupplySealed(secret string) string {
	return quote("custody supply " + secret + " --seal-to KEY --generation N --out FILE" + reason)
}

// AdoptValue takes over a value that somebody else wrote, after it was tried at its upstream.
func AdoptValue(secret string) string { return quote("custody adopt-value " + secret + reason) }

// Revert puts the managed value back over one that somebody else wrote.
func Revert(secret string) string { return quote("custody revert " + secret + reason) }

// Seal encrypts a first value with a field; it asks for it.
func Seal(secret, field string) string {
	return quote(fmt.Sprintf("custody seal %s --field %s", secret, field))
}

// ShowRun says how a run went.
func ShowRun[ID ~string](run ID) string { return quote("custody run show " + string(run)) }

// Deliver gives a secret's consumers the version of record again.
func Deliver(secret string) string { return quote("custody deliver " + secret) }

// Withdraw removes a file that was delivered; see Word.
func Withdraw(file string) string { return quote("custody withdraw " + file + reason) }

// Retire ends a secret that the estate no longer declares.
func Retire(secret string) string { return quote("custody retire " + secret + reason) }

// RetireWithout ends it without asking its upstream to refuse the credential.
func RetireWithout(secret string) string {
	return quote("custody retire " + secret + " --without-revoking" + reason)
}

// RetireUsed ends it though somebody still uses the credential.
func RetireUsed(secret string) string {
	return quote("custody retire " + secret + " --although-used" + reason)
}

// Enroll gives this machine a bootstrap identity for a while.
func Enroll() string { return quote("custody bootstrap enroll" + reason) }

// Explain says what a secret waits for.
func Explain(secret string) string { return quote("custody explain " + secret) }

// Force waives what a run is missing.
func Force[ID ~string](run ID) string {
	return quote(fmt.Sprintf("custody run force %s%s", string(run), reason))
}

// Abort takes a run back.
func Abort[ID ~string](run ID) string {
	return quote(fmt.Sprintf("custody run abort %s%s", string(run), reason))
}

// ConfirmClock says that the time shown is right.
func ConfirmClock() string { return quote("custody clock confirm") }

// Lint says all that is wrong with the estate.
func Lint() string { return quote("custody lint") }

// AcceptCommit believes a commit of the estate's branch whose history does not continue the one before.
func AcceptCommit(commit string) string { return quote("custody estate accept " + commit + reason) }

// VerifyRecord looks for changes in the whole record.
func VerifyRecord() string { return quote("custody audit verify") }

// Grant shows what the estate asks for and is not granted, and asks.
func Grant() string { return quote("custody grant --current" + reason) }

// Revoke takes a grant back; see Revoked.
func Revoke(revoked string) string { return quote("custody grant revoke " + revoked + reason) }

// Revoked are the arguments that name a grant.
func Revoked[Kind ~string](kind Kind, of, to string) string {
	return fmt.Sprintf("%s %s %s", string(kind), Word(of), Word(to))
}

// TestNotifications sends a test message to where an owner is told; see Word.
func TestNotifications(owner string) string { return quote("custody notify test --owner " + owner) }

// ListNotifications says who is told of what.
func ListNotifications() string { return quote("custody notify list") }

// AcceptRecovery goes on with an older state.
func AcceptRecovery() string { return quote("custody recover accept" + reason) }

// Backup makes a backup in the folder that the host file names.
func Backup() string { return quote("custody backup") }

// RekeyAuthority has the authority take the unseal key that the host file names.
func RekeyAuthority() string { return quote("custody authority rekey --from-identity FILE" + reason) }

// Agents lists the agents of other machines.
func Agents() string { return quote("custody agent list") }

// InviteAgent makes a token by which the agent of a machine enrolls.
func InviteAgent(machine string) string { return quote("custody agent invite " + machine + reason) }

// RevokeAgent takes the right of a machine away.
func RevokeAgent(machine string) string { return quote("custody agent revoke " + machine + reason) }

// Word is text as a shell takes it for one word: every command that is printed with a path, or with what a person chose, has it so.
func Word(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func quote(command string) string { return "`" + command + "`" }
