// SPDX-License-Identifier: Apache-2.0

package intent

// sealMissing is replaced in fixes where the secret and the field are known.
const sealMissing = "`custody seal SECRET --field NAME`"

// rotationCatalogue are the rules of the group "Rotation".
func rotationCatalogue() []Rule {
	return grouped("Rotation", []Rule{
		{
			ID:     "policy-type",
			Checks: "The rotationType is static, time or event.",
			Why:    "It decides what starts a run.",
			Fix:    "Write one of static, time, event.",
		},
		{
			ID:     "policy-failure-strategy",
			Checks: "The failureStrategy is retry, alert or hold.",
			Why:    "It decides what happens when proofs are missing.",
			Fix:    "Write one of retry, alert, hold.",
		},
		{
			ID:     "policy-foreign-write",
			Checks: "onForeignWrite is hold, adopt or revert.",
			Why:    "It decides what happens with a value that somebody else wrote to the authority.",
			Fix:    "Write one of hold, adopt, revert.",
		},
		{
			ID:     "policy-ttl",
			Checks: "A timed policy has a ttl.",
			Why:    "Without a ttl (lifetime) no secret is ever due.",
			Fix:    "Add a ttl such as 30d.",
		},
		{
			ID:     "policy-no-clock",
			Checks: "Only timed policies have ttl, rotateBefore, windows and jitter.",
			Why:    "In other policies these fields have no effect, but look as if they had.",
			Fix:    "Remove the field, or write rotationType: time.",
		},
		{
			ID:     "policy-arithmetic",
			Checks: "rotateBefore and jitter leave time within the ttl; maxOverlap and settle together are less than the ttl.",
			Why:    "Otherwise the next run would be due before this one can end.",
			Fix:    "Lengthen the ttl, or shorten the other times. The default of maxOverlap is 24h.",
		},
		{
			ID:     "policy-verify",
			Checks: "verifyEvery is between 5m and 90d, or 0s.",
			Why:    "Each check signs in at the upstream. Too many are load and look like an attack; too few find a problem too late.",
			Fix:    "Write 1d (the default), another time within these bounds, or 0s to check values in runs only.",
		},
		{
			ID:     "policy-warn",
			Checks: "warnBefore is between 0s and 366d.",
			Why:    "A warning that is always there is not read.",
			Fix:    "Write 14d (the default), another time within these bounds, or 0s for no warning.",
		},
		{
			ID:     "policy-removal",
			Checks: "onRemoval says retire confirm or automatic; after is at least 1h and only with automatic; grace is between 0s and 90d.",
			Why:    "A secret whose document was removed by mistake must be missed by somebody before it is revoked.",
			Fix:    "Write retire: confirm (the default), or retire: automatic with after: 7d; leave grace at 1h.",
		},
		{
			ID:     "policy-compromise",
			Checks: "onCompromise.breakConsumersAfter is between 1s and 30d.",
			Why:    "With less, no consumer could move; with more, it is no answer to a compromise.",
			Fix:    "Write a time such as 15m, or leave it out: then Custody waits for consumers.",
		},
		{
			ID:     "window-form",
			Checks: "Windows have known days and time zones, a start as HH:MM, and last at most a week.",
			Why:    "If a window never opens, its secrets expire.",
			Fix:    "Write days as Mon to Sun, the start such as 02:00, and an IANA time zone such as Europe/Berlin.",
		},
		{
			ID:     "policy-dangling",
			Checks: "A policyRef names a RotationPolicy that exists.",
			Why:    "Without its policy a secret is never due.",
			Fix:    "Correct the name, or add the RotationPolicy.",
		},
		{
			ID:     "upstream-dangling",
			Checks: "An upstreamRef names an Upstream that exists.",
			Why:    "Without its upstream, no system would accept the new value.",
			Fix:    "Correct the name, or add the Upstream.",
		},
		{
			ID:     "rotated-by",
			Checks: "rotatedBy is PLATFORM/ENVIRONMENT, and the environment is known.",
			Why:    "Otherwise nobody rotates the secret.",
			Fix:    "Write the name of the platform, a slash, and one of its environments, for example shop/prod.",
		},
		{
			ID:     "account-kind",
			Checks: "The account is given under the type of the upstream, and under no other type.",
			Why:    "Custody must know which account to change.",
			Fix:    "Give the account under the name of the upstream's type, such as rotation.postgres.",
		},
		{
			ID:     "account-mode",
			Checks: "The type of the upstream supports the mode.",
			Why:    "The mode decides whether old and new credentials can be valid at once.",
			Fix:    "See `custody upstream explain TYPE` for the modes of the type.",
		},
		{
			ID:     "account-alternate",
			Checks: "Mode alternate has two different users, and whatever else its type requires (PostgreSQL: also an owner).",
			Why:    "The two users take turns. What both use must belong to neither, so that either can be changed.",
			Fix:    "Name two users, or leave them out where the type has a default.",
		},
		{
			ID:     "account-overwrite",
			Checks: "Mode overwrite has one user and no other account.",
			Why:    "In this mode one account has one credential.",
			Fix:    "Name the user, and remove the fields of other modes.",
		},
		{
			ID:     "account-form",
			Checks: "The account has the form that its upstream requires.",
			Why:    "With a wrong account, Custody could change the credential of somebody else.",
			Fix:    "`custody upstream explain TYPE` shows the form for the type of the upstream.",
		},
		{
			ID:     "account-interrupts",
			Checks: "If sign-ins are refused during a rotation, the secret has allowInterruption: true.",
			Why:    "Between the change at the upstream and delivery, the old credential does not work. Its owner must accept that.",
			Fix:    "Set allowInterruption: true, or use a mode in which old and new credentials are valid at once.",
		},
		{
			ID:     "derived-input",
			Checks: "The inputs of a derived secret are ManagedSecrets that exist.",
			Why:    "Without its inputs the secret cannot be computed.",
			Fix:    "Correct the name, or add the ManagedSecret.",
		},
		{
			ID:     "derived-form",
			Checks: "A derived secret uses each of its inputs, its inputs and fields have well-formed names, and it has no rotation.",
			Why:    "It changes when an input changes. An unused input would only delay revocation of the old credential of that input.",
			Fix:    "Name inputs with letters and digits, use each in a field, and remove rotation.",
		},
		{
			ID:     "derived-formula",
			Checks: "The templates of a derived secret contain only text, .INPUT.FIELD and known functions.",
			Why:    "So a template can read only its inputs and cannot run anything.",
			Fix:    "See origin.derived in the documents' reference for the functions.",
		},
		{
			ID:     "derived-field",
			Checks: "The fields that the templates of a derived secret name exist in its inputs, as far as sealed documents show.",
			Why:    "Otherwise the secret cannot be computed. An input whose sealed value lacks such a field is not handed over.",
			Fix:    "Name a field that the input has. If the input is sealed, you can seal the missing field: " + sealMissing + ".",
		},
		{
			ID:     "derived-cycle",
			Checks: "No secret is computed from itself, directly or through other secrets.",
			Why:    "Such a secret could never have a value.",
			Fix:    "Remove one of the inputs in the cycle.",
		},
		{
			ID:     "group-form",
			Checks: "A group has a well-formed name and at least two members, with one policy and one rotatedBy.",
			Why:    "The members of a group start together, and are completed or undone together.",
			Fix:    "Give every member the same group, policyRef and rotatedBy, or remove group.",
		},
		{
			ID:     "stagger-form",
			Checks: "A stagger set has a well-formed name, and no member of it is in a group.",
			Why:    "A group starts when its leader starts; a member cannot wait for its turn in a stagger set.",
			Fix:    "Name it with lower-case letters, digits and hyphens, and use only one of group and stagger.",
		},
		{
			ID:     "account-shared",
			Checks: "No two secrets share an account of one upstream.",
			Why:    "Each rotation would break the credential of the other secret.",
			Fix:    "Give each secret its own account.",
		},
	})
}

// upstreamsCatalogue are the rules of the group "Upstreams".
func upstreamsCatalogue() []Rule {
	return grouped("Upstreams", []Rule{
		{
			ID:     "upstream-type",
			Checks: "An upstream has exactly one type.",
			Why:    "The type decides how Custody talks to the upstream.",
			Fix:    "Give it one type; `custody upstream list` lists them.",
		},
		{
			ID:     "upstream-form",
			Checks: "Addresses, ports, certificates and the other settings of an upstream are well-formed.",
			Why:    "With a wrong address, Custody would send an admin credential to the wrong server.",
			Fix:    "Write a host name, an IP address or the folder of a socket; a port up to 65535; certificates in PEM.",
		},
		{
			ID:     "upstream-tls",
			Checks: "The TLS mode is known, and TLS is disabled only for loopback addresses and sockets.",
			Why:    "Without TLS the admin credential is sent over the network unencrypted.",
			Fix:    "Write verify-full, and add caCertificate if the server has a certificate of a private CA.",
		},
		{
			ID:     "admin-needed",
			Checks: "An upstream has an adminRef if its type needs one, and otherwise has none.",
			Why:    "Without an admin credential Custody cannot change anything at the upstream.",
			Fix:    "Name the ManagedSecret with the admin credential, or remove adminRef.",
		},
		{
			ID:     "admin-fields",
			Checks: "The admin credential has the fields that the type of its upstream signs in with, as far as its documents show.",
			Why:    "Otherwise the server refuses every sign-in. The credential is not handed over before it has them.",
			Fix:    "If the credential is sealed, seal the missing field: " + sealMissing + ". If it is generated or derived, its own document decides which fields it has. `custody upstream explain TYPE` lists the fields of the admin credential.",
		},
		{
			ID:     "admin-dangling",
			Checks: "An adminRef names a ManagedSecret that exists.",
			Why:    "Without its admin credential Custody cannot change anything at the upstream.",
			Fix:    "Correct the name, or add the ManagedSecret.",
		},
		{
			ID:     "admin-cycle",
			Checks: "Rotating an admin credential does not need another one that in turn needs the first. An admin credential may rotate itself.",
			Why:    "If one of them is lost, none can be replaced.",
			Fix:    "Let one of the admin credentials rotate itself, or do not rotate it.",
		},
	})
}

// consumersCatalogue are the rules of the group "Consumers".
func consumersCatalogue() []Rule {
	return grouped("Consumers", []Rule{
		{
			ID:     RuleUnservable,
			Checks: "Custody can set up each consumer, upstream and template of the estate.",
			Why:    "An estate that lint accepts must also work in serve.",
			Fix:    "Correct what the message names.",
		},
		{
			ID:     "consumer-name",
			Checks: "Consumer names are well-formed and unique within the secret.",
			Why:    "Proofs are recorded under the name of the consumer.",
			Fix:    "Choose another name.",
		},
		{
			ID:     "consumer-kind",
			Checks: "A consumer declares where its value is delivered.",
			Why:    "Otherwise nothing is delivered.",
			Fix:    "Add file.",
		},
		{
			ID:     "consumer-field",
			Checks: "The fields that a consumer names exist in the value.",
			Why:    "Otherwise the file lacks what its reader looks for. A secret whose sealed value lacks such a field is not handed over.",
			Fix:    "Name a field of the value; the origin decides which it has. If the value is sealed, you can seal the missing field: " + sealMissing + ".",
		},
		{
			ID:     "proof-level",
			Checks: "The proof level is delivered, rolled or observed.",
			Why:    "The old credential is revoked only once this proof is given.",
			Fix:    "Write one of delivered, rolled, observed.",
		},
		{
			ID:     "proof-unreachable",
			Checks: "The consumer can give the proof that is required.",
			Why:    "Otherwise the old credential is never revoked.",
			Fix:    "Add a check, or require only delivered.",
		},
		{
			ID:     "host-name",
			Checks: "The host configuration defines the folders, reloads, checks and upstream programs that the estate names.",
			Why:    "The estate in Git can only choose from what the host allows.",
			Fix:    "Correct the name, or ask the administrator of the host to add it.",
		},
		{
			ID:     "machine-name",
			Checks: "The machine of a consumer is a well-formed name.",
			Why:    "The agent of a machine connects under its name, and certificates are issued for it.",
			Fix:    "Write the name in metadata of the agent's configuration on that machine, such as web-1.",
		},
		{
			ID:     RuleMachineAgents,
			Checks: "If a consumer is on another machine, the host file says where agents connect.",
			Why:    "Otherwise no agent can connect, and nothing is delivered to that machine.",
			Fix:    "Add to spec of the host file: agents: {listen: \"0.0.0.0:8471\"}, and start the server again.",
		},
		{
			ID:     "file-path",
			Checks: "The folder is a name from the host configuration, and the path is relative to it, without dots.",
			Why:    "Git must not be able to make Custody write files elsewhere.",
			Fix:    "Write a relative path without dots.",
		},
		{
			ID:     "file-shared",
			Checks: "No two consumers have the same file, and no file is also a folder of another.",
			Why:    "Each would overwrite the other.",
			Fix:    "Give one of them another path.",
		},
		{
			ID:     "file-mode",
			Checks: "The mode is octal. The owner can read the file, and nobody else can write it.",
			Why:    "Anybody who can write the file can replace the credential.",
			Fix:    `Write a mode such as "0600" or "0640".`,
		},
		{
			ID:     "file-owner",
			Checks: "User and group are set only if the process on the host may change them.",
			Why:    "Otherwise every delivery fails.",
			Fix:    "Remove user and group, or run Custody with the privilege to change owners.",
		},
		{
			ID:     "format-unknown",
			Checks: "The format is env, json, properties or raw. The reader of an env file is one that Custody can write for.",
			Why:    "The reader must be able to parse the file.",
			Fix:    "Write one of env, json, properties, raw. For reader, write one that the message lists, or leave it out.",
		},
		{
			ID:     "format-keys",
			Checks: "The settings are those of the format; no key is empty or given twice.",
			Why:    "A setting without effect misleads readers; of two equal keys one is lost.",
			Fix:    "Remove the setting, or change the key.",
		},
		{
			ID:     "env-key",
			Checks: "Keys of an env file have letters, digits and underscores, and do not begin with a digit.",
			Why:    "Shells and service managers do not accept other keys.",
			Fix:    "Map the field under keys, for example value: APP_PASSWORD.",
		},
	})
}

// bootstrapDocumentsCatalogue are the rules of the group "Bootstrap documents".
func bootstrapDocumentsCatalogue() []Rule {
	return grouped("Bootstrap documents", []Rule{
		{
			ID:     "bootstrap-seeds",
			Checks: "A BootstrapSecret names in spec.seeds a secret that has it as its origin.",
			Why:    "Otherwise its value is never handed over (imported) and has no use in Git.",
			Fix:    "Correct spec.seeds or the origin of the secret, or remove the document.",
		},
		{
			ID:     "bootstrap-twice",
			Checks: "No two BootstrapSecrets hold the first value of one secret.",
			Why:    "Custody could not know which value to use.",
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
			Why:    "Everything that was ever committed stays readable in the Git history.",
			Fix:    "Revoke the value at the system that accepts it, replace it, and run sops encrypt -i on the file before you commit it.",
		},
		{
			ID:     "sops-type",
			Checks: "Values were text when they were encrypted.",
			Why:    "A number can lose zeros, and a boolean its spelling.",
			Fix:    "Run sops on the file and put the value in quotes.",
		},
		{
			ID:     "sops-mac",
			Checks: "The document has a MAC over its encrypted values alone.",
			Why:    "Without a MAC, somebody could swap values. A MAC that covers plain fields breaks when a tool reorders them.",
			Fix:    "Set mac_only_encrypted: true in .sops.yaml and encrypt again.",
		},
		{
			ID:     "sops-order",
			Checks: "Keys are in alphabetical order, except sops.",
			Why:    "The MAC depends on the order of keys, and a Kubernetes API server sorts them.",
			Fix:    "Sort the keys before encrypting: apiVersion, data, kind, metadata, spec.",
		},
		{
			ID:     "sops-recipients",
			Checks: "Every root recipient can decrypt the document, and so can the bootstrap recipient of at least one environment, now or before it was retired.",
			Why:    "Without the root recipients a rebuild fails. Without a bootstrap recipient no host can hand the value over (import it).",
			Fix:    "Add the recipient to .sops.yaml and run sops updatekeys on the file.",
		},
		{
			ID:     "sops-foreign",
			Checks: "Nobody but the recipients of the Platform can decrypt the document.",
			Why:    "An unknown recipient can read the value.",
			Fix:    "Run sops updatekeys with only the recipients of the Platform, then rotate the value.",
		},
	})
}

// hostConfigurationCatalogue are the rules of the group "Host configuration".
func hostConfigurationCatalogue() []Rule {
	return grouped("Host configuration", []Rule{
		{
			ID:     "host-single",
			Checks: "The configuration of a machine is exactly one Host document, or one Agent document.",
			Why:    "One document must say everything that the machine allows.",
			Fix:    "Keep one document in the file.",
		},
		{
			ID:     "host-folders",
			Checks: "Delivery folders do not overlap the state folder, the estate, a key or the configuration. The state folder is outside the estate.",
			Why:    "Otherwise a delivery could overwrite or expose files that Custody needs.",
			Fix:    "Choose another folder.",
		},
		{
			ID:     RuleGit,
			Checks: "Exactly one of estate and git is given. The repository of git is reached over https, ssh or as an absolute path, and git has what that needs: keyFile and knownHosts for ssh. Signers name at least one file.",
			Why:    "With two places, nobody knows which estate is meant. A server that is not identified could give any estate, and a password in a URL would be shown.",
			Fix:    "Keep one of estate and git. Write a URL such as https://git.example.org/estate.git without a password, or git@git.example.org:estate.git with keyFile and knownHosts.",
		},
		{
			ID:     "host-unseal",
			Checks: "Exactly one source of the unseal key of the authority is named.",
			Why:    "With two sources, nobody knows in an emergency which one is needed.",
			Fix:    "Keep one of keyFile, identity, credential (a plain name).",
		},
		{
			ID:     RuleSocket,
			Checks: "The paths of the sockets of the server (custody.sock in the state folder, and socket.path) have at most 107 bytes. If socket is given, it names a group of readers or operators.",
			Why:    "The kernel does not accept a longer path, so the server could not listen. A second socket that admits no group has no use.",
			Fix:    "Choose a shorter path, such as /var/lib/custody; it can be a symbolic link to the long one. Name readers or operators, and put the socket in a folder that they can enter.",
		},
		{
			ID:     "host-listen",
			Checks: "The listen address is a loopback address.",
			Why:    "Health and metrics must not be reachable over the network.",
			Fix:    "Write an address such as 127.0.0.1:8470.",
		},
		{
			ID:     "host-notifications",
			Checks: "Each target under notifications names e-mail addresses, or a webhook that the host file defines. Addresses are plain. A webhook has one source of its URL, and names a host if that source is a secret. A relay has one source of its password.",
			Why:    "Otherwise a finding would reach nobody, or the wrong person.",
			Fix:    "Correct what the message names; docs/notifications.md has an example.",
		},
		{
			ID:     ruleBackup,
			Checks: "backup has an interval of at least 10m and keeps between 1 and 10000 backups. Its folder does not overlap the state folder, the estate or a delivery folder.",
			Why:    "A backup inside what it protects is lost with it.",
			Fix:    "Choose a folder on another disk or machine; write `every: 24h` and `keep: 14`, or leave them out.",
		},
		{
			ID:     "host-webhooks",
			Checks: "Each of webhooks has a unique name, a known kind, and one source of its key (for GitHub: public keys), and says what it may request and for which secrets.",
			Why:    "Otherwise the wrong system could request a rotation, or no system could.",
			Fix:    "Correct what the message names; docs/events.md has an example.",
		},
		{
			ID:     ruleAgentAddress,
			Checks: "agents.listen in the host file is ADDRESS:PORT, and server in an agent's configuration is HOST:PORT.",
			Why:    "Otherwise agents and server cannot reach each other.",
			Fix:    "Write, for example, listen: 0.0.0.0:8471 in the host file and server: custody.example.org:8471 in the agent's.",
		},
		{
			ID:     "host-reload",
			Checks: "A reload is either a signal with a pidFile, or a command, and not both.",
			Why:    "Otherwise Custody cannot tell whether the reload was done.",
			Fix:    "Keep one of the two. Only a command can have a timeout.",
		},
		{
			ID:     "host-signal",
			Checks: "The signal is HUP, USR1 or USR2.",
			Why:    "Other signals can stop the process.",
			Fix:    "Write one of HUP, USR1, USR2.",
		},
		{
			ID:     "host-command",
			Checks: "Commands are absolute paths.",
			Why:    "Otherwise the search path (PATH) decides which program runs.",
			Fix:    "Write the full path of the program.",
		},
	})
}
