// SPDX-License-Identifier: Apache-2.0

package intent

func githubKind() kind { return kind{name: "github", admin: adminOptional} }
