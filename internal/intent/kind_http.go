// SPDX-License-Identifier: Apache-2.0

package intent

func httpKind() kind { return kind{name: "http", admin: adminOptional} }
