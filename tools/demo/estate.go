// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
)

// mailFolder is where the mail server's passwords are, beneath the tour's folder.
const mailFolder = "mail-users"

// shop is the name under which the host knows the clients of the tour's first part; exhibits have theirs.
const shop = "shop"

// drawn is a value that nobody has had before.
func drawn(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// configure adds to the host file the names on this machine, which no estate may choose.
func (t *tour) configure(host string) string {
	reloads, checks := "", ""
	clients := []string{shop}
	for _, e := range t.exhibits {
		clients = append(clients, e.id)
	}
	for _, name := range clients {
		reloads += fmt.Sprintf("    %s: {signal: HUP, pidFile: client/%s/pid}\n", name, name)
		checks += fmt.Sprintf("    %s: {argv: [%q, play-check, %q]}\n", name, t.self, t.path("client", name))
	}
	const folders = "  folders:\n"
	if !strings.Contains(host, folders) {
		t.fail("the host file that custody init wrote names no folders")
	}
	host = strings.Replace(host, folders, fmt.Sprintf("%s    mail: %q\n", folders, filepath.Join(t.base, mailFolder)), 1)
	return fmt.Sprintf("%s\n  listen: 127.0.0.1:0\n  reloads:\n%s  checks:\n%s  checkpoints: [%q]\n",
		host, reloads, checks, filepath.Join(t.base, "elsewhere", "checkpoint"))
}

const policyDocument = `
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: brisk}
spec: {rotationType: time, ttl: 30d, rotateBefore: 5d, settle: 300ms}
`

func databaseDocuments(host string, port int, admin string) string {
	return upstreamDocument("main-database", "database-admin", fmt.Sprintf("postgres: {host: %s, port: %d, tls: disable}\n", host, port)) +
		adminDocument("database-admin", "Lets Custody look after the login roles of the main database.") + `  rotation:
    policyRef: brisk
    upstreamRef: main-database
    allowInterruption: true
    postgres: {mode: overwrite, user: ` + admin + `}
---
` + rotatedDocument("shop-database", "Lets the shop sign in to the main database.", "{generated: {type: password, length: 24}}", shop, `
    upstreamRef: main-database
    postgres: {mode: alternate, owner: shop}`)
}

func tokenDocument() string {
	return rotatedDocument("shop-token", "Signs what the shop's processes send to each other.", "{generated: {type: token}}", shop, "")
}

// upstreamDocument is a server that honours credentials: spec is YAML, indented by two.
func upstreamDocument(name, admin, spec string) string {
	text := "apiVersion: custody.dev/v1alpha1\nkind: Upstream\nmetadata: {name: " + name + "}\nspec:\n"
	if admin != "" {
		text += "  adminRef: " + admin + "\n"
	}
	return text + "  " + spec + "---\n"
}

// adminDocument is a credential by which Custody administers an upstream, sealed in Git. It ends within its spec.
func adminDocument(name, purpose string) string {
	return fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %[1]s}
spec:
  purpose: %[2]s
  owner: {team: platform, contact: platform@example.org}
  class: runtime
  path: admin/%[1]s
  origin: {bootstrap: {secretRef: %[1]s}}
`, name, purpose)
}

// rotatedDocument is a secret that rotates under clients, which the host knows by name.
func rotatedDocument(secret, purpose, origin, name, rotation string) string {
	return fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %[1]s}
spec:
  purpose: %[2]s
  owner: {team: shop, contact: shop@example.org}
  class: runtime
  path: shop/%[1]s
  origin: %[3]s
  rotation:
    policyRef: brisk%[4]s
`, secret, purpose, origin, rotation) + consumers(name)
}

// derivedDocument is a secret that is computed from the database credential.
func derivedDocument(secret, host string, port int) string {
	return fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: %[1]s}
spec:
  purpose: Lets programs connect that take one string.
  owner: {team: shop, contact: shop@example.org}
  class: derived
  path: shop/%[1]s
  origin:
    derived:
      inputs: {db: shop-database}
      fields:
        url: "postgres://{{ userinfo .db.username }}:{{ userinfo .db.password }}@%[2]s:%[3]d/postgres?sslmode=disable"
`, secret, host, port) + consumers("url")
}

// consumers are the clients by that name: half of them read one file whenever they sign in, the other half hold what they
// read from the other until they are reloaded.
func consumers(name string) string {
	return fmt.Sprintf(`  consumers:
    - name: reading
      file: {folder: app, path: %[1]s-reading.json, format: json, versionKey: version}
    - name: holding
      file: {folder: app, path: %[1]s-holding.json, format: json, versionKey: version, reload: %[1]s, check: %[1]s}
`, name)
}
