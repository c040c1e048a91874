// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// MySQLUpstream is a MySQL or MariaDB server.
type MySQLUpstream struct{}

// MySQLAccount is one account there.
type MySQLAccount struct{}
