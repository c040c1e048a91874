// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MinIOUpstream is a MinIO server, for S3 access keys.
type MinIOUpstream struct {
	// URL of scheme and host, such as https://minio.internal:9000. http is refused unless the host is loopback.
	Endpoint string `json:"endpoint"`
	// Region that the server is set to. Default us-east-1.
	Region string `json:"region,omitempty"`
	// PEM of the certificate authority; default the system's.
	CACertificate string `json:"caCertificate,omitempty"`
	// How long a change takes to reach every node and every site that replicates. Default 10s; 0s for a single node.
	Settle string `json:"settle,omitempty"`
}

// MinIOAccount says whose access keys one secret is.
type MinIOAccount struct {
	// User that owns the access keys. It must exist. Several secrets may be access keys of one user.
	User string `json:"user"`
	// Policy document in JSON, 2048 bytes at most, that narrows what the keys may do. Default: all that the user may.
	Policy string `json:"policy,omitempty"`
	// The server refuses a key that is older, whether or not Custody has replaced it: 1h to 365d, well above the time
	// between rotations. Default: never.
	ExpiresAfter string `json:"expiresAfter,omitempty"`
}
