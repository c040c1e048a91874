// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// drawn is a value that nobody has had before.
func drawn(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// The folder's names on this machine, which no estate may choose.
func hostAddition(self, dir, checkpoint string) string {
	return fmt.Sprintf(`
  listen: 127.0.0.1:0
  reloads:
    shop: {signal: HUP, pidFile: client/pid}
  checks:
    shop: {argv: [%q, play-check, %q]}
  checkpoints: [%q]
`, self, dir+"/client", checkpoint)
}

const policyDocument = `
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: brisk}
spec: {rotationType: time, ttl: 30d, rotateBefore: 5d, settle: 300ms}
`

func databaseDocuments(host string, port int, admin string) string {
	return fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: main-database}
spec:
  adminRef: database-admin
  postgres: {host: %s, port: %d, tls: disable}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: database-admin}
spec:
  purpose: Lets Custody look after the login roles of the main database.
  owner: {team: platform, contact: platform@example.org}
  class: runtime
  path: postgres/main/admin
  origin: {bootstrap: {secretRef: database-admin}}
  rotation:
    policyRef: brisk
    upstreamRef: main-database
    allowInterruption: true
    postgres: {mode: overwrite, user: %s}
---
`, host, port, admin) + rotatedDocument("shop-database", "Lets the shop sign in to the main database.", `
    upstreamRef: main-database
    postgres: {mode: alternate, owner: shop}`, "{type: password, length: 24}")
}

func tokenDocument() string {
	return rotatedDocument("shop-token", "Signs what the shop's processes send to each other.", "", "{type: token}")
}

// rotatedDocument is the secret that rotates under the clients: half of them read one file whenever they sign in, the
// other half hold what they read from the other until they are reloaded.
func rotatedDocument(name, purpose, rotation, rule string) string {
	return fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %s}
spec:
  purpose: %s
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: shop/%s
  origin: {generated: %s}
  rotation:
    policyRef: brisk%s
  consumers:
    - name: reading
      file: {folder: app, path: reading.json, format: json, versionKey: version}
    - name: holding
      file: {folder: app, path: holding.json, format: json, versionKey: version, reload: shop, check: shop}
`, name, purpose, name, rule, rotation)
}
