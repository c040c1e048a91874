// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// UpstreamSpec says where it is and which managed secret opens it; exactly one type is set.
type UpstreamSpec struct {
	// Name of the ManagedSecret that holds the admin credential. The type's page says which fields it has, and which types
	// need none.
	AdminRef string `json:"adminRef,omitempty"`
	// A PostgreSQL server, 14 or later.
	Postgres *PostgresUpstream `json:"postgres,omitempty"`
	// A MySQL or MariaDB server.
	MySQL *MySQLUpstream `json:"mysql,omitempty"`
	// A Redis or Valkey server with access control lists.
	Redis *RedisUpstream `json:"redis,omitempty"`
	// A RabbitMQ broker with its management interface.
	RabbitMQ *RabbitMQUpstream `json:"rabbitmq,omitempty"`
	// An LDAP directory.
	LDAP *LDAPUpstream `json:"ldap,omitempty"`
	// A mail server: where its passwords are kept, and where they are tried.
	Mail *MailUpstream `json:"mail,omitempty"`
	// Any HTTP interface, by a recipe.
	HTTP *HTTPUpstream `json:"http,omitempty"`
	// An OpenID provider with dynamic client registration.
	OIDC *OIDCUpstream `json:"oidc,omitempty"`
	// GitHub, or a GitHub Enterprise Server, for tokens of an App.
	GitHub *GitHubUpstream `json:"github,omitempty"`
	// Amazon Web Services, for access keys of IAM users.
	AWS *AWSUpstream `json:"aws,omitempty"`
	// A MinIO server, for S3 access keys.
	MinIO *MinIOUpstream `json:"minio,omitempty"`
	// A program that this host names.
	Exec *ExecUpstream `json:"exec,omitempty"`
}

// Account says which account of an upstream a secret is, under the name of the upstream's type; at most one is set.
type Account struct {
	// An account of an upstream of type postgres.
	Postgres *PostgresAccount `json:"postgres,omitempty"`
	// An account of an upstream of type mysql.
	MySQL *MySQLAccount `json:"mysql,omitempty"`
	// An account of an upstream of type redis.
	Redis *RedisAccount `json:"redis,omitempty"`
	// An account of an upstream of type rabbitmq.
	RabbitMQ *RabbitMQAccount `json:"rabbitmq,omitempty"`
	// An account of an upstream of type ldap.
	LDAP *LDAPAccount `json:"ldap,omitempty"`
	// An account of an upstream of type mail.
	Mail *MailAccount `json:"mail,omitempty"`
	// An account of an upstream of type http.
	HTTP *HTTPAccount `json:"http,omitempty"`
	// An account of an upstream of type oidc.
	OIDC *OIDCAccount `json:"oidc,omitempty"`
	// An account of an upstream of type github.
	GitHub *GitHubAccount `json:"github,omitempty"`
	// An account of an upstream of type aws.
	AWS *AWSAccount `json:"aws,omitempty"`
	// An account of an upstream of type minio.
	MinIO *MinIOAccount `json:"minio,omitempty"`
	// An account of an upstream of type exec.
	Exec *ExecAccount `json:"exec,omitempty"`
}
