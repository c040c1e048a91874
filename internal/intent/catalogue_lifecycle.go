// SPDX-License-Identifier: Apache-2.0

package intent

// rotationCatalogue are the rules of the group "Rotation".
func rotationCatalogue() []Rule {
	return grouped("Rotation", []Rule{
		{
			ID:     "policy-type",
			Checks: "The rotationType is static, time or event.",
			Why:    "It says what starts a run.",
			Fix:    "Write one of static, time, event.",
		},
		{
			ID:     "policy-failure-strategy",
			Checks: "The failureStrategy is retry, alert or hold.",
			Why:    "It says what happens when proofs are missing.",
			Fix:    "Write one of retry, alert, hold.",
		},
		{
			ID:     "policy-ttl",
			Checks: "A timed policy has a ttl.",
			Why:    "Without one nothing is ever due.",
			Fix:    "Add a ttl such as 30d.",
		},
		{
			ID:     "policy-no-clock",
			Checks: "Only timed policies have ttl, rotateBefore, windows and jitter.",
			Why:    "They have no effect elsewhere, and look as if they had.",
			Fix:    "Remove the field, or write rotationType: time.",
		},
		{
			ID:     "policy-arithmetic",
			Checks: "rotateBefore and jitter leave time within the ttl; maxOverlap and settle together are less than the ttl.",
			Why:    "Otherwise a run would be due again before it can end.",
			Fix:    "Lengthen the ttl, or shorten the others; maxOverlap is 24h unless said.",
		},
		{
			ID:     "policy-verify",
			Checks: "verifyEvery is between 5m and 90d, or 0s.",
			Why:    "Each is a sign-in at the upstream: too many are load and look like an attack, too few find nothing in time.",
			Fix:    "Write 1d (the default), another time within these bounds, or 0s to try values in runs only.",
		},
		{
			ID:     "window-form",
			Checks: "Windows have known days and zones, a start of HH:MM, and last a week at most.",
			Why:    "A window that never opens lets every secret expire.",
			Fix:    "Write days as Mon to Sun, the start as 02:00, an IANA zone such as Europe/Berlin.",
		},
		{
			ID:     "policy-dangling",
			Checks: "A policyRef names a RotationPolicy.",
			Why:    "Without its policy a secret is never due.",
			Fix:    "Correct the name, or add the RotationPolicy.",
		},
		{
			ID:     "upstream-dangling",
			Checks: "An upstreamRef names an Upstream.",
			Why:    "Without it the new value would not be honoured.",
			Fix:    "Correct the name, or add the Upstream.",
		},
		{
			ID:     "rotated-by",
			Checks: "rotatedBy is PLATFORM/ENVIRONMENT, the environment a known one.",
			Why:    "Otherwise nobody rotates the secret.",
			Fix:    "Write the platform's name, a slash, and one of its environments.",
		},
		{
			ID:     "account-kind",
			Checks: "An account is given for the kind of the upstream, and only then.",
			Why:    "Custody must know which role to change.",
			Fix:    "Give the account under the name of the upstream's type, such as rotation.postgres.",
		},
		{
			ID:     "account-mode",
			Checks: "The mode is one that the upstream's type has.",
			Why:    "It says whether old and new can be valid together.",
			Fix:    "See `custody upstream explain TYPE` for the modes of the type.",
		},
		{
			ID:     "account-alternate",
			Checks: "Mode alternate has two different users, and what else its type wants (PostgreSQL: an owner besides them).",
			Why:    "Two users take turns; what they share belongs to neither.",
			Fix:    "Name two users, or leave them out where the type has a default.",
		},
		{
			ID:     "account-overwrite",
			Checks: "Mode overwrite has one user and no other account.",
			Why:    "One account has one credential there.",
			Fix:    "Name the user, and leave out what belongs to other modes.",
		},
		{
			ID:     "account-form",
			Checks: "The account is named as its upstream wants it.",
			Why:    "A misread account changes somebody else's credential.",
			Fix:    "See `custody upstream explain TYPE` for the upstream's type.",
		},
		{
			ID:     "account-interrupts",
			Checks: "What refuses sign-ins while it rotates has allowInterruption: true.",
			Why:    "Between the change and delivery the old credential no longer works; somebody must have accepted that.",
			Fix:    "Set allowInterruption: true, or use a mode in which old and new are valid together.",
		},
		{
			ID:     "derived-input",
			Checks: "The inputs of a derived secret are ManagedSecrets.",
			Why:    "There would be nothing to compute it from.",
			Fix:    "Correct the name, or add the ManagedSecret.",
		},
		{
			ID:     "derived-form",
			Checks: "A derived secret uses each of its inputs, names inputs and fields well, and has no rotation.",
			Why:    "It changes when an input does, and an input without use would only hold up that one's revocation.",
			Fix:    "Name inputs with letters and digits, use each in a field, and leave rotation out.",
		},
		{
			ID:     "derived-formula",
			Checks: "The templates of a derived secret have text, .INPUT.FIELD and known functions, and nothing else.",
			Why:    "A template sees the inputs it names and cannot run anything.",
			Fix:    "See origin.derived in the documents' reference for the functions.",
		},
		{
			ID:     "derived-cycle",
			Checks: "No secret is computed from itself.",
			Why:    "It could never have a value.",
			Fix:    "Take one of the inputs out.",
		},
		{
			ID:     "group-form",
			Checks: "A group has a well-formed name and at least two members, with one policy and one rotatedBy.",
			Why:    "Its members start together, and go forward or back together.",
			Fix:    "Give every member the same group, policyRef and rotatedBy, or leave group out.",
		},
		{
			ID:     "stagger-form",
			Checks: "A stagger set has a well-formed name, and no member of it is in a group.",
			Why:    "A group starts when its leader does, whatever one member is told to wait for.",
			Fix:    "Write lower-case letters, digits and hyphens; choose one of group and stagger.",
		},
		{
			ID:     "account-shared",
			Checks: "No two secrets share an account of one upstream.",
			Why:    "Each rotation would break the other's credential.",
			Fix:    "Give each secret its own account.",
		},
	})
}

// upstreamsCatalogue are the rules of the group "Upstreams".
func upstreamsCatalogue() []Rule {
	return grouped("Upstreams", []Rule{
		{
			ID:     "upstream-type",
			Checks: "An upstream has one type.",
			Why:    "Without one nobody knows how to speak to it.",
			Fix:    "Add one; `custody upstream list` names them.",
		},
		{
			ID:     "upstream-form",
			Checks: "Addresses, ports, certificates and what else an upstream is told are well-formed.",
			Why:    "A misread address sends an admin credential to the wrong place.",
			Fix:    "Write a host name, an address or the folder of a socket; a port up to 65535; certificates in PEM.",
		},
		{
			ID:     "upstream-tls",
			Checks: "The TLS mode is known, and disabled only to loopback or a socket.",
			Why:    "Without TLS the admin credential crosses the network in the open.",
			Fix:    "Write verify-full, and caCertificate for a private authority.",
		},
		{
			ID:     "admin-needed",
			Checks: "An upstream has an adminRef where its type needs one, and only then.",
			Why:    "Without it nothing can be changed there.",
			Fix:    "Name the ManagedSecret that opens the upstream, or leave adminRef out.",
		},
		{
			ID:     "admin-fields",
			Checks: "The admin credential has the fields that its upstream's type signs in with, as far as its documents show them.",
			Why:    "A credential that lacks one is sealed and handed over, and then the server refuses every sign-in.",
			Fix:    "Seal the field that is missing: `custody seal SECRET --field NAME`. `custody upstream explain TYPE` shows what its admin needs.",
		},
		{
			ID:     "admin-dangling",
			Checks: "An adminRef names a ManagedSecret.",
			Why:    "Without it the upstream cannot be changed.",
			Fix:    "Correct the name, or add the ManagedSecret.",
		},
		{
			ID:     "admin-cycle",
			Checks: "Admin credentials do not need each other, except one that rotates itself.",
			Why:    "When one of them is lost, none can be replaced.",
			Fix:    "Let one of the admin credentials rotate itself, or not at all.",
		},
	})
}

// consumersCatalogue are the rules of the group "Consumers".
func consumersCatalogue() []Rule {
	return grouped("Consumers", []Rule{
		{
			ID:     RuleUnservable,
			Checks: "Everything that serving the estate makes can be made: each consumer, upstream and formula.",
			Why:    "What lint takes, serve takes.",
			Fix:    "Correct what the reason names.",
		},
		{
			ID:     "consumer-name",
			Checks: "Consumer names are well-formed and unique within the secret.",
			Why:    "Proofs are recorded under them.",
			Fix:    "Choose another name.",
		},
		{
			ID:     "consumer-kind",
			Checks: "A consumer says where to deliver to.",
			Why:    "Otherwise nothing is delivered.",
			Fix:    "Add file.",
		},
		{
			ID:     "consumer-field",
			Checks: "Fields that a consumer names are fields of the value.",
			Why:    "The file would lack what its reader looks for.",
			Fix:    "Name a field that the origin makes.",
		},
		{
			ID:     "proof-level",
			Checks: "The proof level is delivered, rolled or observed.",
			Why:    "Revocation waits for it.",
			Fix:    "Write one of delivered, rolled, observed.",
		},
		{
			ID:     "proof-unreachable",
			Checks: "The consumer can give the proof that is asked for.",
			Why:    "Revocation would wait for ever.",
			Fix:    "Add a check, or ask for delivered.",
		},
		{
			ID:     "host-name",
			Checks: "Folders, reloads, checks and upstream programs are named in the host's configuration.",
			Why:    "Git picks from what the host allows and adds nothing to it.",
			Fix:    "Correct the name, or have the host's administrator add it.",
		},
		{
			ID:     "file-path",
			Checks: "The folder is a name, the path a plain one beneath it.",
			Why:    "Git must not say where else files are written.",
			Fix:    "Write a relative path without dots.",
		},
		{
			ID:     "file-shared",
			Checks: "No two consumers write one file, or one beneath another's file.",
			Why:    "Each would overwrite the other.",
			Fix:    "Give one of them another path.",
		},
		{
			ID:     "file-mode",
			Checks: "The mode is octal, readable by its owner and writable by nobody else.",
			Why:    "Whoever can write the file can replace the credential.",
			Fix:    `Write a mode such as "0600" or "0640".`,
		},
		{
			ID:     "file-owner",
			Checks: "Owner and group are set only where the host's process may change them.",
			Why:    "Delivery would fail on every run.",
			Fix:    "Remove user and group, or run Custody with the privilege.",
		},
		{
			ID:     "format-unknown",
			Checks: "The format is env, json, properties or raw, and the reader of an env file one that Custody can write for.",
			Why:    "The reader must find what it can parse.",
			Fix:    "Write one of env, json, properties, raw; as reader one that the finding lists, or none.",
		},
		{
			ID:     "format-keys",
			Checks: "Settings belong to the format; no key is empty or written twice.",
			Why:    "A setting without effect is a misunderstanding; of two equal keys one is lost.",
			Fix:    "Remove the setting, or change the key.",
		},
		{
			ID:     "env-key",
			Checks: "Keys of an env file are letters, digits and underscores and do not begin with a digit.",
			Why:    "No shell or service manager would take the line.",
			Fix:    "Map the field under keys, for example value: APP_PASSWORD.",
		},
	})
}

// bootstrapDocumentsCatalogue are the rules of the group "Bootstrap documents".
func bootstrapDocumentsCatalogue() []Rule {
	return grouped("Bootstrap documents", []Rule{
		{
			ID:     "bootstrap-seeds",
			Checks: "A BootstrapSecret seeds a secret that names it as its origin.",
			Why:    "It would never be handed over, and stay in Git for nothing.",
			Fix:    "Correct spec.seeds, or the secret's origin, or remove the document.",
		},
		{
			ID:     "bootstrap-twice",
			Checks: "No two BootstrapSecrets seed one secret.",
			Why:    "Nobody could say which value is meant.",
			Fix:    "Remove one of the two.",
		},
		{
			ID:     "sops-alone",
			Checks: "A BootstrapSecret is alone in its file.",
			Why:    "SOPS encrypts and signs whole files.",
			Fix:    "Move it to a file of its own.",
		},
		{
			ID:     "sops-plaintext",
			Checks: "Everything under data is encrypted.",
			Why:    "Whatever was once in Git stays readable in its history.",
			Fix:    "Revoke the value where it is honoured, replace it, and run sops encrypt -i on the file before it is committed.",
		},
		{
			ID:     "sops-type",
			Checks: "Values were text when they were encrypted.",
			Why:    "A number loses its zeros, and a truth value its spelling.",
			Fix:    "Run sops on the file and put the value in quotes.",
		},
		{
			ID:     "sops-mac",
			Checks: "The document has a MAC over its encrypted values alone.",
			Why:    "Without a MAC values can be exchanged; a MAC over plain fields breaks when a tool reorders them.",
			Fix:    "Set mac_only_encrypted: true in .sops.yaml and encrypt again.",
		},
		{
			ID:     "sops-order",
			Checks: "Keys are in alphabetical order, sops aside.",
			Why:    "The MAC depends on the order, and the API server sorts.",
			Fix:    "Sort the keys before encrypting: apiVersion, data, kind, metadata, spec.",
		},
		{
			ID:     "sops-recipients",
			Checks: "Every root recipient can decrypt it, and the bootstrap recipient of one environment at least.",
			Why:    "Without the root a rebuild fails; without the other nobody can hand the value over.",
			Fix:    "Add the recipient to .sops.yaml and run sops updatekeys on the file.",
		},
		{
			ID:     "sops-foreign",
			Checks: "Nobody else can decrypt it.",
			Why:    "A key the platform does not know belongs to somebody the platform does not know.",
			Fix:    "Run sops updatekeys with the platform's recipients alone, then rotate the value.",
		},
	})
}

// hostConfigurationCatalogue are the rules of the group "Host configuration".
func hostConfigurationCatalogue() []Rule {
	return grouped("Host configuration", []Rule{
		{
			ID:     "host-single",
			Checks: "A host's configuration is exactly one Host document.",
			Why:    "What a host allows is said in one place.",
			Fix:    "Keep one Host document in the file.",
		},
		{
			ID:     "host-folders",
			Checks: "Folders for delivery overlap neither the state, nor the estate, nor a key, nor the configuration; the state is outside the estate.",
			Why:    "A delivery could overwrite what Custody lives on, or publish it.",
			Fix:    "Choose a folder apart from those.",
		},
		{
			ID:     "host-unseal",
			Checks: "Exactly one source of the authority's key is named.",
			Why:    "With two, nobody knows which one is needed in an emergency.",
			Fix:    "Keep one of keyFile, identity, credential (a plain name).",
		},
		{
			ID:     RuleSocket,
			Checks: "The paths of the server's sockets (custody.sock in the state folder, and socket.path) have 107 bytes at most; socket lets a group in.",
			Why:    "The kernel takes no longer path, so the server could not listen; and a second socket is for others or for nothing.",
			Fix:    "Choose a shorter path, such as /var/lib/custody (a symbolic link to the long one will do); name readers or operators, and a folder that they can enter.",
		},
		{
			ID:     "host-listen",
			Checks: "The address is loopback.",
			Why:    "Health and metrics are not for the network.",
			Fix:    "Write an address such as 127.0.0.1:8470.",
		},
		{
			ID:     "host-reload",
			Checks: "A reload is exactly one of a signal with its pidFile and a command.",
			Why:    "Otherwise nobody can say whether it was done.",
			Fix:    "Keep one of the two; a timeout belongs to a command.",
		},
		{
			ID:     "host-signal",
			Checks: "The signal is HUP, USR1 or USR2.",
			Why:    "Others stop the process.",
			Fix:    "Write one of HUP, USR1, USR2.",
		},
		{
			ID:     "host-command",
			Checks: "Commands are absolute paths.",
			Why:    "A search path decides otherwise which program runs.",
			Fix:    "Write the full path of the program.",
		},
	})
}
