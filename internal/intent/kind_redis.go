// SPDX-License-Identifier: Apache-2.0

package intent

func redisKind() kind { return kind{name: "redis", admin: adminOptional} }
