// SPDX-License-Identifier: Apache-2.0

package intent

func oidcKind() kind { return kind{name: "oidc", admin: adminOptional} }
