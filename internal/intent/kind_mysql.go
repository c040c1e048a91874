// SPDX-License-Identifier: Apache-2.0

package intent

func mysqlKind() kind { return kind{name: "mysql", admin: adminOptional} }
