// SPDX-License-Identifier: Apache-2.0

package intent

func awsKind() kind { return kind{name: "aws", admin: adminOptional} }
