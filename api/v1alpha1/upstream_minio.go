// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MinIOUpstream is a MinIO server, for S3 access keys.
type MinIOUpstream struct{}

// MinIOAccount is one account there.
type MinIOAccount struct{}
