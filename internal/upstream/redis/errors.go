// SPDX-License-Identifier: Apache-2.0

package redis

import "errors"

// Codes of error replies that decide.
const (
	codeWrongPassword = "WRONGPASS"
	codeNoPermission  = "NOPERM"
)

const nextRights = "give the admin what the page of this upstream lists: ACL SETUSER admin +acl|list +acl|setuser +acl|save"

// said shows the first word of an error reply. The rest of one may quote what was sent and is dropped.
func said(code string) string { return "the server says " + code }

// broken is what is told of an error that is neither the network's nor about certificates.
func broken(err error) string {
	if errors.Is(err, errProtocol) {
		return errProtocol.Error()
	}
	return "the connection broke, or the server and this client could not agree on TLS"
}
