// SPDX-License-Identifier: Apache-2.0

package intent

func minioKind() kind { return kind{name: "minio", admin: adminOptional} }
