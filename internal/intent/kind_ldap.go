// SPDX-License-Identifier: Apache-2.0

package intent

func ldapKind() kind { return kind{name: "ldap", admin: adminOptional} }
