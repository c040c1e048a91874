// SPDX-License-Identifier: Apache-2.0

package intent

func execKind() kind { return kind{name: "exec", admin: adminOptional} }
