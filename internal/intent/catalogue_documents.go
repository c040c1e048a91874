// SPDX-License-Identifier: Apache-2.0

package intent

// filesCatalogue are the rules of the group "Files".
func filesCatalogue() []Rule {
	return grouped("Files", []Rule{
		{
			ID:     "file-unreadable",
			Checks: "Every file of the estate can be read.",
			Why:    "A file that is left out would make its secrets look removed.",
			Fix:    "Make it a regular file that Custody's user may read, or move it out of the estate.",
		},
		{
			ID:     "file-symlink",
			Checks: "No file or folder of the estate is a symbolic link.",
			Why:    "A link in Git could make the loader read what lies outside the estate.",
			Fix:    "Replace the link by the file itself, or move it out of the estate.",
		},
		{
			ID:     "file-too-large",
			Checks: "No file is larger than 1 MiB.",
			Why:    "Whoever can write to Git must not be able to exhaust the host's memory.",
			Fix:    "Split the file.",
		},
		{
			ID:     "estate-too-large",
			Checks: "The documents have 4 MiB, and 400,000 keys, texts, lists and mappings, at most together, and fewer than 10,000 faults.",
			Why:    "Loading takes many times their size; the estate that is in force stays there while a larger one is refused.",
			Fix:    "Correct what is reported, take out what does not belong to the estate, or make two platforms of it, each with a folder of its own.",
		},
		{
			ID:     "file-not-text",
			Checks: "Files are UTF-8 text without NUL.",
			Why:    "Anything else is read differently by different tools.",
			Fix:    "Save the file as UTF-8, or give it another extension when it is no document.",
		},
		{
			ID:     "yaml-syntax",
			Checks: "Files are well-formed YAML.",
			Why:    "Nothing that follows the mistake can be read.",
			Fix:    "Correct the file at or just before this line.",
		},
		{
			ID:     "yaml-alias",
			Checks: "There are no anchors, aliases or merge keys.",
			Why:    "They let a small file stand for a huge one, and hide from a reader what holds.",
			Fix:    "Write the value out where it is used.",
		},
		{
			ID:     "yaml-duplicate-key",
			Checks: "No key is given twice in one mapping.",
			Why:    "Tools differ in which of the two they believe.",
			Fix:    "Remove one of them.",
		},
		{
			ID:     "yaml-tag",
			Checks: "No value carries an explicit tag.",
			Why:    "A tag changes what the same text means.",
			Fix:    "Remove the tag; put text in quotes.",
		},
		{
			ID:     "text-form",
			Checks: "Text holds no control or direction characters; keys are 256 bytes at most.",
			Why:    "Such characters mislead readers, terminals and the programs that read delivered files.",
			Fix:    "Remove the character, or shorten the key.",
		},
		{
			ID:     "plaintext",
			Checks: "Nothing in a document, comments included, looks like a credential.",
			Why:    "Whatever was once in Git stays readable in its history.",
			Fix:    "Take it out, revoke it where it is honoured, and declare a BootstrapSecret or a generated origin instead.",
		},
	})
}

// documentsCatalogue are the rules of the group "Documents".
func documentsCatalogue() []Rule {
	return grouped("Documents", []Rule{
		{
			ID:     "document-form",
			Checks: "A document is a mapping with text keys, 32 levels deep at most.",
			Why:    "Nothing else is a document of an estate.",
			Fix:    "Begin the document with apiVersion, kind and metadata.",
		},
		{
			ID:     "api-version",
			Checks: "The apiVersion is custody.dev/v1alpha1.",
			Why:    "Another version may mean something else by the same field.",
			Fix:    "Write apiVersion: custody.dev/v1alpha1.",
		},
		{
			ID:     "kind-unknown",
			Checks: "The kind is one of an estate's.",
			Why:    "A document of unknown kind would be passed over in silence.",
			Fix:    "Write one of Platform, ManagedSecret, RotationPolicy, Upstream, BootstrapSecret, or move the document out of the estate.",
		},
		{
			ID:     "field-unknown",
			Checks: "Every field is known.",
			Why:    "A misspelt field has no effect, and looks as if it had.",
			Fix:    "Correct the name of the field, or remove it; docs/documents.md lists them.",
		},
		{
			ID:     "field-type",
			Checks: "Every field has its type.",
			Why:    "Guessing what was meant gives modes like 384 and versions like 1.1.",
			Fix:    "Write a value of the type the field wants.",
		},
		{
			ID:     "field-missing",
			Checks: "Every required field is there and not empty.",
			Why:    "Each of them answers a question that somebody will ask in an emergency.",
			Fix:    "Add the field.",
		},
		{
			ID:     "duration-form",
			Checks: "Durations are well-formed.",
			Why:    "A wait that cannot be read cannot be kept.",
			Fix:    "Write a number and a unit, such as 30d, 1d12h or 90m.",
		},
		{
			ID:     "estate-empty",
			Checks: "There is at least one document.",
			Why:    "An empty folder would look as if every secret had been removed.",
			Fix:    "Check the folder's path; begin with a Platform document.",
		},
		{
			ID:     "platform-single",
			Checks: "There is exactly one Platform.",
			Why:    "It names the root and the environments for all other documents.",
			Fix:    "Keep one Platform document in the estate.",
		},
		{
			ID:     "name-form",
			Checks: "Names are lower-case letters, digits and single hyphens, 63 at most.",
			Why:    "Names become parts of files, records and Kubernetes objects.",
			Fix:    "Choose a name such as app-database.",
		},
		{
			ID:     "name-duplicate",
			Checks: "Names are unique within their kind.",
			Why:    "A reference must mean one document.",
			Fix:    "Rename one of the two.",
		},
		{
			ID:     "former-name",
			Checks: "A former name belongs to one secret and to no current one.",
			Why:    "Records under the old name must lead to one secret.",
			Fix:    "Remove the former name from one of the two.",
		},
	})
}

// platformCatalogue are the rules of the group "Platform".
func platformCatalogue() []Rule {
	return grouped("Platform", []Rule{
		{
			ID:     "environment-form",
			Checks: "Environment names are well-formed and listed once.",
			Why:    "They become parts of records and options.",
			Fix:    "Choose names such as prod, each once.",
		},
		{
			ID:     "environment-unknown",
			Checks: "The environment that the estate is loaded for is one of the platform's.",
			Why:    "Otherwise no override would ever hold.",
			Fix:    "Add the environment to the Platform, or name one that it has.",
		},
		{
			ID:     "host-mismatch",
			Checks: "Platform and environment are the host's.",
			Why:    "A host must not run another platform's secrets.",
			Fix:    "Correct spec.platform or spec.environment of the host's configuration, or load the right estate.",
		},
		{
			ID:     "root-recipients",
			Checks: "Root recipients are age X25519 public keys, each listed once.",
			Why:    "What is not encrypted to the root is lost with the host.",
			Fix:    "Write the public key that custody init printed; it begins with age1.",
		},
		{
			ID:     "bootstrap-recipients",
			Checks: "Bootstrap recipients are age X25519 public keys of known environments, and not the root's.",
			Why:    "A host whose key is not known cannot decrypt; a host with the root's key can decrypt everything.",
			Fix:    "Write the public key of that environment's bootstrap identity.",
		},
		{
			ID:     "authority-type",
			Checks: "The authority's type is known.",
			Why:    "Values need one place to live.",
			Fix:    "Write type: embedded.",
		},
		{
			ID:     "platform-limit",
			Checks: "Limits are not negative.",
			Why:    "No run would ever start.",
			Fix:    "Write a number from 1 up, or leave the field out.",
		},
	})
}

// secretsCatalogue are the rules of the group "Secrets".
func secretsCatalogue() []Rule {
	return grouped("Secrets", []Rule{
		{
			ID:     "class-unknown",
			Checks: "The class is bootstrap, runtime or derived.",
			Why:    "The class decides who may consume the secret and when it is retired.",
			Fix:    "Write one of bootstrap, runtime, derived.",
		},
		{
			ID:     "class-origin",
			Checks: "A bootstrap secret comes from an encrypted document.",
			Why:    "It must be there before the authority is; what is generated is not.",
			Fix:    "Make the class runtime, or the origin a bootstrap document.",
		},
		{
			ID:     "class-bootstrap-consumed",
			Checks: "A bootstrap secret has no consumers.",
			Why:    "It is scaffolding, retired once the authority stands; whoever consumed it would lose it.",
			Fix:    "Remove the consumers, or make the class runtime.",
		},
		{
			ID:     "path-form",
			Checks: "The path is lower-case segments joined by slashes, and not beneath custody/.",
			Why:    "It is the secret's identity in the authority.",
			Fix:    "Choose a path such as platform-data/app-db/app.",
		},
		{
			ID:     "path-duplicate",
			Checks: "No two secrets share a path.",
			Why:    "Each would overwrite the other.",
			Fix:    "Give one of them another path.",
		},
		{
			ID:     "path-environment",
			Checks: "No segment of a path is the name of an environment.",
			Why:    "Environments are told apart by their authorities; a path that names one cannot be moved or compared.",
			Fix:    "Remove the environment from the path.",
		},
		{
			ID:     "origin-single",
			Checks: "The origin names exactly one way.",
			Why:    "The first value comes to be once.",
			Fix:    "Keep one of generated, bootstrap, issued and derived.",
		},
		{
			ID:     "origin-bootstrap",
			Checks: "An origin's BootstrapSecret exists and seeds this secret.",
			Why:    "Otherwise there is nothing to hand over.",
			Fix:    "Name a BootstrapSecret whose spec.seeds names this secret.",
		},
		{
			ID:     "generated-form",
			Checks: "What is to be generated is possible and strong enough.",
			Why:    "A setting without effect is a misunderstanding; a short value can be guessed.",
			Fix:    "Correct the setting; docs/documents.md lists what each type takes.",
		},
		{
			ID:     "expires-form",
			Checks: "expiresAt is an RFC 3339 time.",
			Why:    "An end that cannot be read passes unnoticed.",
			Fix:    "Write a time such as 2030-01-31T00:00:00Z.",
		},
		{
			ID:     "override-environment",
			Checks: "Overrides name environments of the platform.",
			Why:    "An override for no environment never holds.",
			Fix:    "Correct the name, or add the environment to the Platform.",
		},
		{
			ID:     "override-fixed",
			Checks: "Overrides leave path, class, origin and former names alone.",
			Why:    "They are what makes it the same secret everywhere.",
			Fix:    "Remove the field from the override; declare another secret if it must differ.",
		},
	})
}
