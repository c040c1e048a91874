// SPDX-License-Identifier: Apache-2.0

package intent

func rabbitmqKind() kind { return kind{name: "rabbitmq", admin: adminOptional} }
