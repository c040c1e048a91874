// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 defines the documents of an estate (configuration), apiVersion custody.dev/v1alpha1. The Go types
// are the source of the reference in docs/. They declare intent only: no field holds a plaintext secret.
package v1alpha1

// APIVersion is the apiVersion of every document in this package.
const APIVersion = "custody.dev/v1alpha1"

// The kinds of document.
const (
	KindPlatform        = "Platform"
	KindManagedSecret   = "ManagedSecret"
	KindRotationPolicy  = "RotationPolicy"
	KindUpstream        = "Upstream"
	KindBootstrapSecret = "BootstrapSecret"
	KindHost            = "Host"
	KindAgent           = "Agent"
)

// Header has the fields that every document begins with.
type Header struct {
	// Always custody.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Platform, ManagedSecret, RotationPolicy, Upstream, BootstrapSecret, Host or Agent.
	Kind string `json:"kind"`
	// Name and labels of the document.
	Metadata Metadata `json:"metadata"`
}

// Metadata names a document.
type Metadata struct {
	// Lower-case letters and digits, with single hyphens between them; at most 63 characters. Unique within its kind.
	Name string `json:"name"`
	// Kubernetes namespace. On a host it only groups documents by owner: whatever passes a secret on to another
	// namespace needs a grant (`custody grant`).
	Namespace string `json:"namespace,omitempty"`
	// Labels of your own. A webhook in the host file can name the secrets that it may ask for by them; otherwise they have
	// no effect.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations of your own. They have no effect.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// WellNamed reports whether a document can have that name: words of lower-case letters and digits with single hyphens between
// them, 63 characters at most. What a host names (folders, programs) has the same form.
func WellNamed(name string) bool {
	last := '-'
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && (r != '-' || last == '-') {
			return false
		}
		last = r
	}
	return len(name) <= 63 && last != '-'
}

// Platform describes the estate (configuration) as a whole. An estate has exactly one.
type Platform struct {
	Header `json:",inline"`
	// Settings for the whole estate.
	Spec PlatformSpec `json:"spec"`
}

// PlatformSpec has the settings for the whole estate.
type PlatformSpec struct {
	// Names of the environments that the estate is deployed to, such as prod and staging. Each host belongs to one of
	// them.
	Environments []string `json:"environments"`
	// Age public keys (X25519) of the offline root key (recovery key). Every bootstrap document is encrypted to them
	// too, so that the root key can decrypt it.
	RootRecipients []string `json:"rootRecipients"`
	// For each environment, the age public key of its bootstrap identity. With the private key, the hosts of that
	// environment decrypt the first values.
	BootstrapRecipients map[string]string `json:"bootstrapRecipients,omitempty"`
	// Former bootstrap recipients whose private keys were removed. Documents that are still encrypted to one of them stay as they are:
	// their values were handed over. Nothing new is encrypted to them.
	RetiredRecipients []string `json:"retiredRecipients,omitempty"`
	// Which authority (secrets store) holds the values.
	Authority AuthoritySpec `json:"authority"`
	// Limits on timed rotations.
	Rotation PlatformRotation `json:"rotation,omitempty"`
}

// AuthoritySpec selects the authority (secrets store).
type AuthoritySpec struct {
	// Always "embedded": an encrypted store in the state folder of one machine.
	Type string `json:"type"`
}

// PlatformRotation limits the rotations that the clock starts. It does not limit those that a person requests.
type PlatformRotation struct {
	// How many timed rotations may start within an hour. Further ones wait. Default 100; 0 means the default.
	MaxTimedRunsPerHour int `json:"maxTimedRunsPerHour,omitempty"`
}

// ManagedSecret declares one secret: what it is for, who owns it, where its first value comes from, how it is rotated
// and who uses it.
type ManagedSecret struct {
	Header `json:",inline"`
	// The declaration of this secret.
	Spec ManagedSecretSpec `json:"spec"`
}

// ManagedSecretSpec is the declaration of one secret.
type ManagedSecretSpec struct {
	// What the secret is for, in one sentence that a person from another team understands.
	Purpose string `json:"purpose"`
	// Who is responsible for the secret.
	Owner Owner `json:"owner"`
	// bootstrap (needed before the authority works; has no consumers), runtime, or derived (computed from other
	// secrets).
	Class string `json:"class"`
	// Path of the value in the authority, such as platform-data/app-db/app. It must never change: with the name it
	// identifies the secret.
	Path string `json:"path"`
	// Where the first value comes from. Exactly one field is set.
	Origin Origin `json:"origin"`
	// When the current value expires according to its issuer, as an RFC 3339 time such as 2030-01-31T00:00:00Z. Custody
	// reads the end of certificates (PEM) and tokens (JWT) from the value itself; the earlier of the two counts. It
	// reports the time and raises a finding ahead of it (warnBefore of the policy) and once it has passed, but rotates
	// nothing because of it.
	ExpiresAt string `json:"expiresAt,omitempty"`
	// How the secret is rotated. Without it, the secret is static: Custody never rotates it.
	Rotation *RotationSpec `json:"rotation,omitempty"`
	// Programs that use the secret, and how each receives it.
	Consumers []ConsumerSpec `json:"consumers,omitempty"`
	// Earlier names of this secret. If you rename a secret, add the old name here and leave path unchanged.
	FormerNames []string `json:"formerNames,omitempty"`
	// While true, no new rotation starts, and a derived value is not computed again. A rotation that is under way
	// continues, and so does delivery.
	Suspend bool `json:"suspend,omitempty"`
	// Overrides for single environments: for each environment, a JSON merge patch on this spec. It cannot change path,
	// class, origin and formerNames.
	Environments map[string]RawPatch `json:"environments,omitempty"`
}

// RawPatch is a JSON merge patch (RFC 7396).
type RawPatch map[string]any

// Owner is responsible for a secret.
type Owner struct {
	// Name of the team.
	Team string `json:"team"`
	// How to reach the team, such as an e-mail address.
	Contact string `json:"contact"`
}

// Origin says where the first value of a secret comes from. Exactly one field is set.
type Origin struct {
	// Custody generates it.
	Generated *GenerateRule `json:"generated,omitempty"`
	// It is in an encrypted document in Git, and Custody hands it over to the authority (imports it), once.
	Bootstrap *BootstrapOrigin `json:"bootstrap,omitempty"`
	// The upstream creates it, for example an API token.
	Issued *IssuedOrigin `json:"issued,omitempty"`
	// Custody computes it from other secrets, for example a connection string.
	Derived *DerivedOrigin `json:"derived,omitempty"`
}

// IssuedOrigin says that the upstream creates the first value and every later one. It has no settings; write issued:
// {}.
type IssuedOrigin struct{}

// GenerateRule says what kind of value Custody generates.
type GenerateRule struct {
	// password, token, ed25519 or rsa. The last two generate a key pair.
	Type string `json:"type"`
	// Length of a password in characters (8 to 256), or of a token in random bytes before encoding (16 to 512). Default
	// 32.
	Length int `json:"length,omitempty"`
	// Character classes of a password: lower, upper, digit, symbol. The password has at least one character of each.
	// Default lower, upper, digit.
	Classes []string `json:"classes,omitempty"`
	// Encoding of a token: base64url (default) or hex.
	Encoding string `json:"encoding,omitempty"`
	// Size of an RSA key in bits: 2048, 3072 (default) or 4096.
	Bits int `json:"bits,omitempty"`
	// Field of the value that receives what is generated. Default "value". The public key of a key pair is in FIELD.pub.
	Field string `json:"field,omitempty"`
}

// BootstrapOrigin names the document that holds the encrypted first value.
type BootstrapOrigin struct {
	// Name of the BootstrapSecret. Its spec.seeds must name this secret.
	SecretRef string `json:"secretRef"`
}

// RotationSpec says how a secret is rotated: by which policy, at which upstream, and by which environment.
type RotationSpec struct {
	// Name of the RotationPolicy.
	PolicyRef string `json:"policyRef"`
	// Name of the Upstream that accepts the credential. Without it, no system can test a new value; Custody then rotates
	// only values that it generates.
	UpstreamRef string `json:"upstreamRef,omitempty"`
	// The account at that upstream, under the name of the upstream's type; at most one.
	Account Parameters `json:",inline" parameters:"account"`
	// The only platform and environment that rotates the secret, as PLATFORM/ENVIRONMENT. Default: every environment
	// that loads the estate rotates it.
	RotatedBy string `json:"rotatedBy,omitempty"`
	// Must be true if sign-ins are refused during a rotation, as in mode overwrite: from the change at the upstream
	// until the new value is delivered.
	AllowInterruption bool `json:"allowInterruption,omitempty"`
	// Secrets with the same group rotate together. They start at the same time. Once the new credentials of all of them
	// work, all are promoted; if one fails, all are rolled back.
	Group string `json:"group,omitempty"`
	// Keeps the rotations of several secrets apart in time.
	Stagger *Stagger `json:"stagger,omitempty"`
}

// Stagger keeps the rotations of several secrets apart in time.
type Stagger struct {
	// Name of the set. While one secret of the set is being rotated, the others wait.
	Set string `json:"set"`
	// How long to wait after the end of one rotation before the next one of the set starts. Default 1h.
	Gap string `json:"gap,omitempty"`
}

// ConsumerSpec is one consumer of a secret: a program that uses it, and how the value reaches it.
type ConsumerSpec struct {
	// Name of the consumer. Unique within the secret.
	Name string `json:"name"`
	// Machine whose agent delivers the value. Default: the machine that runs the server. See custody agent.
	Machine string `json:"machine,omitempty"`
	// Deliver the value to a file on that machine.
	File *FileConsumer `json:"file,omitempty"`
	// Evidence that is needed before the old credential is revoked: delivered (the file is in place), rolled (the
	// program was reloaded and its check passed) or observed (the program itself reports the new version). Default: the
	// highest that the consumer can give. Without a check that is delivered, with a check observed.
	Proof string `json:"proof,omitempty"`
}

// FileConsumer writes the value to one file, in a folder that the host file names.
type FileConsumer struct {
	// Name of a folder from folders in the host file.
	Folder string `json:"folder"`
	// Path of the file, relative to that folder. It must not contain ".." or symbolic links. Missing folders are
	// created, with the mode, owner and group of the folder above.
	Path string `json:"path"`
	// env, json, properties or raw.
	Format string `json:"format"`
	// env: the program that reads the file: sh (set -a; . file), systemd (EnvironmentFile=), docker (--env-file),
	// compose (env_file:), node (--env-file), dotenv (npm), python-dotenv, ruby (dotenv), phpdotenv, symfony or
	// godotenv. Custody then quotes the value for that program. Default: Custody quotes the value so that all of these
	// except docker read it alike; if that is impossible, it does not deliver the value.
	Reader string `json:"reader,omitempty"`
	// raw: the field of the value that is written. Default "value".
	Field string `json:"field,omitempty"`
	// env, json, properties: the key under which each field is written, such as value: APP_PASSWORD. Default: the name
	// of the field, in format env in upper case.
	Keys map[string]string `json:"keys,omitempty"`
	// env, json, properties: an additional key under which the identity of the version is written. Default: it is not
	// written.
	VersionKey string `json:"versionKey,omitempty"`
	// Write into the existing file instead of replacing it. Needed if a reader holds on to this one file, for example a
	// container that mounts the file and not its folder, or another hard link; otherwise delivery to such a file fails.
	// A reader may see a half-written file for a moment. Custody can only detect mounts by processes that it may look at
	// in /proc: set this if it runs in a PID namespace of its own, or if /proc hides processes (hidepid, ProtectProc=).
	InPlace bool `json:"inPlace,omitempty"`
	// Octal mode of the file, in quotes. Group and others can never write. Default "0600".
	Mode string `json:"mode,omitempty"`
	// Owner of the file, as a name or number. Custody needs the privilege to change owners.
	User string `json:"user,omitempty"`
	// Group of the file, as a name or number. Custody needs the privilege to change groups.
	Group string `json:"group,omitempty"`
	// Name of a reload in the host file: a signal or a command that makes the program read the new version.
	Reload string `json:"reload,omitempty"`
	// Name of a check in the host file: a command that proves that the reloaded program runs on the new version.
	Check string `json:"check,omitempty"`
}

// RotationPolicy says when secrets are rotated and what happens when proofs are missing.
type RotationPolicy struct {
	Header `json:",inline"`
	// The settings of the policy.
	Spec RotationPolicySpec `json:"spec"`
}

// RotationPolicySpec has the settings of a policy. A run that is under way takes over a change only where the change
// makes it stricter.
type RotationPolicySpec struct {
	// What starts a rotation: time (the end of the ttl), event (an event) or static (neither). A person can always start
	// one with `custody rotate`.
	RotationType string `json:"rotationType"`
	// Lifetime of a version. Required for rotationType time, rejected for the others.
	TTL string `json:"ttl,omitempty"`
	// rotationType time: how long before the end of the ttl the rotation starts. Default 0.
	RotateBefore string `json:"rotateBefore,omitempty"`
	// Whether Custody revokes the old credential. Default true.
	RevokeOld *bool `json:"revokeOld,omitempty"`
	// How long the old and the new credential may both be valid. After that, a missing proof is a failure, and
	// failureStrategy applies. Default 24h.
	MaxOverlap string `json:"maxOverlap,omitempty"`
	// What happens when proofs are still missing after maxOverlap: retry (keep trying), alert (keep trying and alert a
	// person) or hold (also stop delivering this version again to the consumer whose proof is missing). None of them
	// revokes the old credential. Default alert.
	FailureStrategy string `json:"failureStrategy,omitempty"`
	// How long to wait between the last proof and revocation, for clients that have read the old value but have not
	// signed in yet. Default 1m.
	Settle string `json:"settle,omitempty"`
	// How long the old credential must have been unused before it is revoked. Only at upstreams that report who still
	// uses it (evidence of use). Default: the settle time.
	QuietWindow string `json:"quietWindow,omitempty"`
	// While no rotation is under way, Custody signs in with the current value at least this often, and raises a finding
	// if it no longer works. 5m to 90d, or 0s to switch this off. Default 1d.
	VerifyEvery string `json:"verifyEvery,omitempty"`
	// What happens when somebody else writes a value to the secret's path in the authority: hold (a person decides),
	// adopt (take it over if the upstream accepts it) or revert (put the managed value back). A policy decides at most
	// once an hour for each secret. Default hold.
	OnForeignWrite string `json:"onForeignWrite,omitempty"`
	// How long before the end of a value's lifetime its owner is warned, if no timed rotation replaces it before: by a
	// certificate or token in the value, by expiresAt, or by ttl. Up to 366d, or 0s to switch this off. Default 14d.
	WarnBefore string `json:"warnBefore,omitempty"`
	// Maintenance windows. Timed rotations start only within one of them. Default: at any time.
	Windows []MaintenanceWindow `json:"windows,omitempty"`
	// Timed rotations start earlier by up to this time, so that many secrets are not rotated at once. The share of each
	// secret is fixed. Default 0.
	Jitter string `json:"jitter,omitempty"`
	// What happens once the document of a secret is removed from the estate. Until the secret is retired, it stays in
	// force.
	OnRemoval *OnRemoval `json:"onRemoval,omitempty"`
	// What is done beyond that if a secret is reported as compromised (`custody rotate SECRET --compromised --reason TEXT`, or a
	// webhook). Without it, the old credential is revoked once every consumer has shown that it runs on the new one.
	OnCompromise *OnCompromise `json:"onCompromise,omitempty"`
}

// OnRemoval says how a secret ends whose document was removed from the estate.
type OnRemoval struct {
	// Who retires the secret: confirm (a person, with `custody retire`) or automatic (Custody, after the time in after;
	// while more than 3 secrets leave at once, only a person). Default confirm.
	Retire string `json:"retire,omitempty"`
	// retire automatic: how long after the removal. Default 7d.
	After string `json:"after,omitempty"`
	// How long to wait after the secret was taken from its consumers before its credential is revoked. Until then,
	// declaring the secret again gives consumers the same value back. Default 1h.
	Grace string `json:"grace,omitempty"`
}

// OnCompromise says what a compromised credential is worth. Its rotation never waits for windows, caps or stagger sets.
type OnCompromise struct {
	// How long after the report was acknowledged the old credential is revoked, even if consumers have not shown that they
	// run on the new one. They are broken then, which is a finding for the owner. 1s to 30d. Default: never.
	BreakConsumersAfter string `json:"breakConsumersAfter,omitempty"`
	// End open sessions that began with the old credential, at upstreams that can. Where old and new credential belong to
	// one account, all sessions of it end, and its clients sign in again. Default false.
	EndSessions bool `json:"endSessions,omitempty"`
}

// MaintenanceWindow is a maintenance window that opens every week.
type MaintenanceWindow struct {
	// Days on which it opens: Mon to Sun. Default: every day.
	Days []string `json:"days,omitempty"`
	// Local time at which it opens, HH:MM.
	Start string `json:"start"`
	// How long it stays open; at most a week.
	Duration string `json:"duration"`
	// IANA time zone, such as Europe/Berlin. Default UTC.
	Zone string `json:"zone,omitempty"`
}

// Upstream is a system that accepts credentials, such as a database server.
type Upstream struct {
	Header `json:",inline"`
	// Where the upstream is, and which admin credential Custody uses there.
	Spec UpstreamSpec `json:"spec"`
}

// BootstrapSecret is a SOPS document with an encrypted first value. It must be alone in its file. SOPS encrypts
// everything under data. Its keys must be in alphabetical order, except sops, which SOPS writes last: then the MAC
// stays valid when a tool sorts the keys.
type BootstrapSecret struct {
	Header `json:",inline"`
	// Not encrypted: what the document is for.
	Spec BootstrapSecretSpec `json:"spec"`
	// Encrypted by SOPS: the first value, and which secret it belongs to.
	Data BootstrapData `json:"data"`
	// Metadata that SOPS writes.
	Sops map[string]any `json:"sops"`
}

// BootstrapSecretSpec says what the document is for. It is not encrypted.
type BootstrapSecretSpec struct {
	// Name of the ManagedSecret whose first value the document holds.
	Seeds string `json:"seeds"`
	// Who needs the value before the authority exists. For people who read the document; it has no effect.
	NeededBy []string `json:"neededBy,omitempty"`
}

// BootstrapData is encrypted. After decryption, Custody compares the binding with the secret that the document was
// found for, and rejects the document if they differ.
type BootstrapData struct {
	// Which secret the document belongs to.
	Binding Binding `json:"binding"`
	// The fields of the value, each encrypted as text. A field that is not UTF-8 has a key that ends in ".base64", and
	// its text begins with "base64:".
	Values map[string]string `json:"values"`
}

// Binding says which secret an encrypted document belongs to, so that a copy of it under another secret is rejected.
type Binding struct {
	// Name of the Platform.
	Platform string `json:"platform"`
	// Name of the ManagedSecret whose first value the document holds.
	Secret string `json:"secret"`
	// Path of that secret in the authority. With the name it identifies the secret: Custody never hands over a value at
	// another path than the one it was sealed for.
	Path string `json:"path"`
	// Namespace of the document, if it has one.
	Namespace string `json:"namespace,omitempty"`
}

// Host is the host file: the configuration of one machine. It is not part of the estate. It says what Git must not
// decide, such as which programs Custody may run.
type Host struct {
	Header `json:",inline"`
	// Where things are on this machine, and what the estate may use.
	Spec HostSpec `json:"spec"`
}

// HostSpec says where things are on this machine, and which folders and programs the estate may use. Relative paths are
// relative to the folder of the host file.
type HostSpec struct {
	// Name of the Platform that this host runs.
	Platform string `json:"platform"`
	// Environment that this host belongs to.
	Environment string `json:"environment"`
	// Folder of the estate. Exactly one of estate and git is given.
	Estate string `json:"estate,omitempty"`
	// Git repository of the estate.
	Git *Git `json:"git,omitempty"`
	// Folder for the embedded authority, the record (audit log) and the socket. Its mode is 0700.
	State string `json:"state"`
	// File with the bootstrap identity, an age private key that decrypts first values. You can remove the file once Git
	// has no value left to hand over.
	BootstrapIdentity string `json:"bootstrapIdentity,omitempty"`
	// Whether Custody removes that file itself once every value in Git was handed over. After that nothing on this machine
	// can decrypt the estate. Default false.
	RetireBootstrapIdentity bool `json:"retireBootstrapIdentity,omitempty"`
	// Where the key that unseals the authority comes from. Exactly one source is given.
	Unseal Unseal `json:"unseal"`
	// An additional socket for members of groups. Without it, only root and the user that runs custody can use commands.
	Socket *Socket `json:"socket,omitempty"`
	// Loopback address for health checks and metrics. Default 127.0.0.1:8470.
	Listen string `json:"listen,omitempty"`
	// Folders in which Custody may write files, by name. None may overlap the state folder or the estate.
	Folders map[string]string `json:"folders,omitempty"`
	// Ways to make a program read a new version, by name.
	Reloads map[string]Reload `json:"reloads,omitempty"`
	// Commands that check whether a program runs on a version, by name.
	Checks map[string]Command `json:"checks,omitempty"`
	// Programs that the estate may use as upstreams of type exec, by name.
	Upstreams map[string]Command `json:"upstreams,omitempty"`
	// Files to which signed checkpoints of the record are copied, best on the disk of another machine. Only a copy
	// elsewhere shows if somebody removed the newest events.
	Checkpoints []string `json:"checkpoints,omitempty"`
	// File with the grants of the operator: to which keys values may be encrypted, to which servers credentials may be
	// sent, and who may read secrets of other owners. Like the host file, nobody else may be able to change it. Custody
	// reads it again when it changes; `custody grant --help` shows an example.
	Grants string `json:"grants,omitempty"`
	// Backups of the authority and the record (audit log) that the server makes by itself. Without it, run `custody
	// backup --to DIR` yourself.
	Backup *Backup `json:"backup,omitempty"`
	// Webhooks with which other systems may request a rotation or report a compromise, each at /hooks/NAME of the
	// address in listen.
	Webhooks []EventWebhook `json:"webhooks,omitempty"`
	// How the owners of secrets are notified of findings (alerts). Without it, only `custody status` shows them.
	Notifications *Notifications `json:"notifications,omitempty"`
	// Agents of other machines. Without it, no secret is delivered to another machine.
	Agents *Agents `json:"agents,omitempty"`
}

// Backup says where backups are written, how often, and how many are kept. They are encrypted to the root recipients of the estate that
// the operator granted.
type Backup struct {
	// Folder for the backups, best on the disk of another machine. It must exist: Custody does not make it, so that a
	// missing mount is noticed.
	To string `json:"to"`
	// Time between two backups, at least 10m. Default 24h.
	Every string `json:"every,omitempty"`
	// How many backups are kept. Default 14.
	Keep int `json:"keep,omitempty"`
}

// Git says from which branch of a Git repository the estate is read, and which of its commits are accepted.
type Git struct {
	// Where the repository is: an https or ssh URL, user@host:path, or an absolute path. Passwords do not belong here.
	URL string `json:"url"`
	// Branch that is read. Default main.
	Branch string `json:"branch,omitempty"`
	// Folder of the estate in the repository. Default: the whole repository.
	Path string `json:"path,omitempty"`
	// Time between two fetches, at least 10s; a fifth more or less at random. Default 3m.
	Every string `json:"every,omitempty"`
	// If no fetch succeeds for this long, there is a finding. Default 1h.
	StaleAfter string `json:"staleAfter,omitempty"`
	// User that signs in over https. Default git.
	Username string `json:"username,omitempty"`
	// File with the password or token of that user. It is read at each fetch.
	PasswordFile string `json:"passwordFile,omitempty"`
	// File with the CA certificates (PEM) that an https server's certificate is checked against. Default: those of the
	// machine.
	CAFile string `json:"caFile,omitempty"`
	// File with the private key for ssh, without a passphrase. It is read at each fetch.
	KeyFile string `json:"keyFile,omitempty"`
	// File with the public keys of ssh servers, in the form of OpenSSH's known_hosts. Custody sends nothing to a server
	// that shows another key.
	KnownHosts string `json:"knownHosts,omitempty"`
	// Who must have signed each commit. Without it, commits of anybody who can push to the branch are accepted.
	Signers *Signers `json:"signers,omitempty"`
	// Webhook that makes Custody fetch the branch immediately, at /hooks/git of the address in listen.
	Webhook *GitWebhook `json:"webhook,omitempty"`
}

// Signers says who may sign commits. At least one field is set. Like the host file, nobody else may be able to change the files.
type Signers struct {
	// File in the form of OpenSSH's allowed_signers: a name, options, a public key.
	AllowedSigners string `json:"allowedSigners,omitempty"`
	// Files with armored OpenPGP public keys.
	OpenPGP []string `json:"openPGP,omitempty"`
}

// GitWebhook says how a webhook proves who sent it.
type GitWebhook struct {
	// File with the secret that the sender knows too. Default: git-webhook-secret in the state folder, which custody serve makes.
	SecretFile string `json:"secretFile,omitempty"`
}

// Socket is an additional socket through which members of groups can use commands. At least one group is given. The
// kernel tells the server which user connects.
type Socket struct {
	// Path of the socket, such as /run/custody/socket. Its folder must exist, must belong to root or to the user that
	// runs custody, and must be open to the groups. It cannot be the state folder, which nobody else can enter.
	Path string `json:"path"`
	// Group whose members may use every command that changes nothing, except doctor, which signs in at upstreams.
	Readers string `json:"readers,omitempty"`
	// Group whose members may do everything that the user that runs custody may do.
	Operators string `json:"operators,omitempty"`
}

// Unseal says where the key of the authority comes from. Exactly one field is set.
type Unseal struct {
	// File with 32 random bytes in hexadecimal.
	KeyFile string `json:"keyFile,omitempty"`
	// File with an age private key (identity).
	Identity string `json:"identity,omitempty"`
	// Name of a systemd credential with either of them. It is read from $CREDENTIALS_DIRECTORY.
	Credential string `json:"credential,omitempty"`
}

// Reload is one way to make a program read a new version: either a signal or a command. Exactly one of signal and argv
// is set.
type Reload struct {
	// Signal to send: HUP, USR1 or USR2. Needs pidFile.
	Signal string `json:"signal,omitempty"`
	// File with the id of the process that receives the signal.
	PIDFile string `json:"pidFile,omitempty"`
	// Absolute path of the program that the process in pidFile must run. Set it if the program writes its pid file again
	// later. Otherwise Custody does not signal a process that started more than 10m before its pid file was written,
	// because it may be another process.
	Program string `json:"program,omitempty"`
	// Command to run: the absolute path of a program, and its arguments. There is no shell.
	Argv []string `json:"argv,omitempty"`
	// How long the command may run. Default 30s.
	Timeout string `json:"timeout,omitempty"`
}

// Command is a program that the host file allows Custody to run, without a shell.
type Command struct {
	// Absolute path of the program, and its arguments.
	Argv []string `json:"argv"`
	// How long it may run. Default 30s.
	Timeout string `json:"timeout,omitempty"`
}
