// SPDX-License-Identifier: Apache-2.0

// Package schema holds the JSON schema of the document kinds, which package reference writes from the types and their
// comments. It says which fields exist, what form they have and what they mean, but not what lint checks beyond that.
package schema

import _ "embed"

// Definitions is what references to the definition of a kind begin with.
const Definitions = "#/definitions/"

// Documents is the schema of a document of any kind, in JSON.
//
//go:embed documents.json
var Documents []byte
