// SPDX-License-Identifier: Apache-2.0

package intent

// filesCatalogue are the rules of the group "Files".
func filesCatalogue() []Rule {
	return grouped("Files", []Rule{
		{
			ID:     "file-unreadable",
			Checks: "Every file of the estate can be read.",
			Why:    "If a file were skipped, its secrets would look removed.",
			Fix:    "Make it a regular file that the user of Custody can read, or move it out of the estate.",
		},
		{
			ID:     "file-symlink",
			Checks: "No file or folder of the estate is a symbolic link.",
			Why:    "A link in Git could make Custody read files outside the estate.",
			Fix:    "Replace the link with the file itself, or remove it from the estate.",
		},
		{
			ID:     "file-too-large",
			Checks: "No file is larger than 1 MiB.",
			Why:    "Somebody who can write to Git must not be able to exhaust the memory of the host.",
			Fix:    "Split the file.",
		},
		{
			ID:     "estate-too-large",
			Checks: "All documents together have at most 64 MiB and at most 6,400,000 keys, texts, lists and mappings; a file has fewer than 1,000 faults, and all files fewer than 10,000.",
			Why:    "Loading needs many times that memory. A larger estate is refused, and the estate in force stays in force. Of a file with more faults, the documents stay as they were.",
			Fix:    "Correct the reported faults, move other files out of the estate, or split it into two platforms, each with its own folder.",
		},
		{
			ID:     "file-not-text",
			Checks: "Files are UTF-8 text without NUL.",
			Why:    "Tools read other encodings differently.",
			Fix:    "Save the file as UTF-8. If it is not a document, give it another extension.",
		},
		{
			ID:     "yaml-syntax",
			Checks: "Files are well-formed YAML.",
			Why:    "Nothing after the mistake can be read.",
			Fix:    "Correct the file at or just before this line.",
		},
		{
			ID:     "yaml-alias",
			Checks: "There are no anchors, aliases or merge keys.",
			Why:    "With them a small file can expand to a huge one, and readers do not see which values apply.",
			Fix:    "Write the value out where it is used.",
		},
		{
			ID:     "yaml-duplicate-key",
			Checks: "No key is given twice in one mapping.",
			Why:    "Tools differ in which of the two they use.",
			Fix:    "Remove one of them.",
		},
		{
			ID:     "yaml-tag",
			Checks: "No value has an explicit YAML tag, such as !!str.",
			Why:    "A tag changes what the same text means.",
			Fix:    "Remove the tag; put text in quotes.",
		},
		{
			ID:     "text-form",
			Checks: "Text has no control characters and no text-direction characters; keys have at most 256 bytes.",
			Why:    "Such characters mislead readers, terminals and the programs that read delivered files.",
			Fix:    "Remove the character, or shorten the key.",
		},
		{
			ID:     "plaintext",
			Checks: "Nothing in a document, comments included, looks like a credential.",
			Why:    "Everything that was ever committed stays readable in the Git history.",
			Fix:    "Remove it, revoke it at the system that accepts it, and declare a BootstrapSecret or a generated origin instead.",
		},
	})
}

// documentsCatalogue are the rules of the group "Documents".
func documentsCatalogue() []Rule {
	return grouped("Documents", []Rule{
		{
			ID:     "document-form",
			Checks: "A document is a mapping with text keys, at most 32 levels deep.",
			Why:    "Custody cannot read anything else as a document.",
			Fix:    "Begin the document with apiVersion, kind and metadata.",
		},
		{
			ID:     "api-version",
			Checks: "The apiVersion is custody.dev/v1alpha1.",
			Why:    "In another version the same field may have another meaning.",
			Fix:    "Write apiVersion: custody.dev/v1alpha1.",
		},
		{
			ID:     "kind-unknown",
			Checks: "The kind is one that an estate can contain.",
			Why:    "A document of unknown kind would have no effect, without notice.",
			Fix:    "Write one of Platform, ManagedSecret, RotationPolicy, Upstream, BootstrapSecret, or move the document out of the estate.",
		},
		{
			ID:     "field-unknown",
			Checks: "Every field is known.",
			Why:    "A misspelt field has no effect, but looks as if it had.",
			Fix:    "Correct the name of the field, or remove it; docs/documents.md lists them.",
		},
		{
			ID:     "field-type",
			Checks: "Every field has a value of the right type.",
			Why:    "Guessing leads to errors: YAML reads mode 0600 as 384 and version 1.10 as 1.1.",
			Fix:    "Write a value of the type that the message names; put text in quotes.",
		},
		{
			ID:     "field-missing",
			Checks: "Every required field is present and not empty.",
			Why:    "Each required field answers a question that somebody will ask in an emergency.",
			Fix:    "Add the field.",
		},
		{
			ID:     "duration-form",
			Checks: "Durations are well-formed.",
			Why:    "Custody cannot wait for a time that it cannot read.",
			Fix:    "Write a number and a unit, such as 30d, 1d12h or 90m.",
		},
		{
			ID:     "estate-empty",
			Checks: "There is at least one document.",
			Why:    "An empty folder would look as if every secret had been removed.",
			Fix:    "Check the path of the folder. In a new estate, begin with a Platform document.",
		},
		{
			ID:     "platform-single",
			Checks: "There is exactly one Platform.",
			Why:    "It declares the root keys and the environments for all other documents.",
			Fix:    "Keep one Platform document in the estate.",
		},
		{
			ID:     "name-form",
			Checks: "Names have lower-case letters, digits and single hyphens, at most 63 characters.",
			Why:    "Names become parts of file names, of the record and of Kubernetes objects.",
			Fix:    "Choose a name such as app-database.",
		},
		{
			ID:     "name-duplicate",
			Checks: "Names are unique within their kind.",
			Why:    "A reference must lead to exactly one document.",
			Fix:    "Rename one of the two.",
		},
		{
			ID:     "former-name",
			Checks: "A former name belongs to one secret only, and no secret has it as its current name.",
			Why:    "Events in the record under the old name must lead to one secret.",
			Fix:    "Remove the former name from one of the two.",
		},
	})
}

// platformCatalogue are the rules of the group "Platform".
func platformCatalogue() []Rule {
	return grouped("Platform", []Rule{
		{
			ID:     "environment-form",
			Checks: "Environment names are well-formed, and each is listed once.",
			Why:    "They become parts of the record and of command options.",
			Fix:    "Choose names such as prod, each once.",
		},
		{
			ID:     "environment-unknown",
			Checks: "The Platform lists the environment that the estate is loaded for.",
			Why:    "Otherwise no override would ever apply.",
			Fix:    "Add the environment to the Platform, or name one that it has.",
		},
		{
			ID:     "host-mismatch",
			Checks: "The host configuration names this platform and one of its environments.",
			Why:    "A host must not manage the secrets of another platform.",
			Fix:    "Correct spec.platform or spec.environment in the host configuration, or use the right estate.",
		},
		{
			ID:     "root-recipients",
			Checks: "Root recipients are age X25519 public keys, each listed once.",
			Why:    "A value that is not encrypted to the root key is lost if the host is lost.",
			Fix:    "Write the public key that custody init printed; it begins with age1.",
		},
		{
			ID:     "bootstrap-recipients",
			Checks: "Bootstrap recipients are age X25519 public keys of known environments, and none of them is a root recipient.",
			Why:    "A host whose key is not listed cannot decrypt its first values. A host with the root key can decrypt everything.",
			Fix:    "Write the public key of the bootstrap identity of that environment.",
		},
		{
			ID:     "authority-type",
			Checks: "The type of the authority is known.",
			Why:    "The authority stores all values.",
			Fix:    "Write type: embedded.",
		},
		{
			ID:     "platform-limit",
			Checks: "Limits are not negative.",
			Why:    "With a negative limit no run would ever start.",
			Fix:    "Write a number of 1 or more, or leave the field out.",
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
			Why:    "A bootstrap secret is needed before the authority exists; a generated value does not exist then.",
			Fix:    "Change the class to runtime, or the origin to a bootstrap document.",
		},
		{
			ID:     "class-bootstrap-consumed",
			Checks: "A bootstrap secret has no consumers.",
			Why:    "A bootstrap secret is removed once the authority works; a consumer would lose it.",
			Fix:    "Remove the consumers, or change the class to runtime.",
		},
		{
			ID:     "path-form",
			Checks: "The path has lower-case segments joined by slashes, and does not begin with custody/.",
			Why:    "The path identifies the secret in the authority.",
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
			Why:    "Each environment has its own authority. If paths named the environment, the same secret would have different paths in them.",
			Fix:    "Remove the environment from the path.",
		},
		{
			ID:     "origin-single",
			Checks: "The origin has exactly one of generated, bootstrap, issued and derived.",
			Why:    "The first value can come from one place only.",
			Fix:    "Keep one of generated, bootstrap, issued and derived.",
		},
		{
			ID:     "origin-bootstrap",
			Checks: "The BootstrapSecret that an origin names exists, and its spec.seeds names this secret.",
			Why:    "Otherwise there is no first value to hand over (import).",
			Fix:    "Name a BootstrapSecret whose spec.seeds names this secret.",
		},
		{
			ID:     "generated-form",
			Checks: "The settings of a generated value are possible, and the value is strong enough.",
			Why:    "A setting without effect misleads readers, and a short value can be guessed.",
			Fix:    "Correct the setting; docs/documents.md lists the settings of each type.",
		},
		{
			ID:     "expires-form",
			Checks: "expiresAt is an RFC 3339 time.",
			Why:    "Custody cannot warn before an end that it cannot read.",
			Fix:    "Write a time such as 2030-01-31T00:00:00Z.",
		},
		{
			ID:     "override-environment",
			Checks: "Overrides name environments of the platform.",
			Why:    "An override for an unknown environment never applies.",
			Fix:    "Correct the name, or add the environment to the Platform.",
		},
		{
			ID:     "override-fixed",
			Checks: "Overrides do not change path, class, origin and formerNames.",
			Why:    "These fields identify the secret; they must be the same in all environments.",
			Fix:    "Remove the field from the override. If it must differ, declare another secret.",
		},
	})
}
