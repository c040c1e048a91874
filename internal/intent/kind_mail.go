// SPDX-License-Identifier: Apache-2.0

package intent

func mailKind() kind { return kind{name: "mail", admin: adminOptional} }
