// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 defines the documents of an estate, apiVersion custody.dev/v1alpha1. The Go types are the source of
// the reference in docs/. They carry intent only: no field of any of them holds a plaintext secret.
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
)

// Header is what every document begins with.
type Header struct {
	// Always custody.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// One of the kinds.
	Kind string `json:"kind"`
	// Name and labels of the document.
	Metadata Metadata `json:"metadata"`
}

// Metadata names a document.
type Metadata struct {
	// Unique within its kind: lower-case letters, digits and hyphens, 63 at most.
	Name string `json:"name"`
	// Kubernetes namespace; on a host only a label of ownership.
	Namespace string `json:"namespace,omitempty"`
	// Free labels, for selecting.
	Labels map[string]string `json:"labels,omitempty"`
	// Free annotations.
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

// Platform is the estate's own document; there is exactly one.
type Platform struct {
	Header `json:",inline"`
	// What holds for the whole estate.
	Spec PlatformSpec `json:"spec"`
}

// PlatformSpec says what holds for the whole estate.
type PlatformSpec struct {
	// Environments this estate is run in; a host is one of them.
	Environments []string `json:"environments"`
	// Age public keys (X25519) of the offline root: everything encrypted is readable by them.
	RootRecipients []string `json:"rootRecipients"`
	// Age public key of each environment's bootstrap identity.
	BootstrapRecipients map[string]string `json:"bootstrapRecipients,omitempty"`
	// Which authority holds the values.
	Authority AuthoritySpec `json:"authority"`
	// Limits on timed work.
	Rotation PlatformRotation `json:"rotation,omitempty"`
}

// AuthoritySpec chooses the runtime authority.
type AuthoritySpec struct {
	// "embedded" (one machine).
	Type string `json:"type"`
}

// PlatformRotation bounds what the clock alone may start.
type PlatformRotation struct {
	// Timed runs started in any hour, at most. Default (and 0) 100.
	MaxTimedRunsPerHour int `json:"maxTimedRunsPerHour,omitempty"`
}

// ManagedSecret declares one secret: why it exists, whose it is, where it comes from, who consumes it.
type ManagedSecret struct {
	Header `json:",inline"`
	// The intent for this secret.
	Spec ManagedSecretSpec `json:"spec"`
}

// ManagedSecretSpec is the intent for one secret.
type ManagedSecretSpec struct {
	// What the secret is for, in a sentence a stranger understands.
	Purpose string `json:"purpose"`
	// Who answers for it.
	Owner Owner `json:"owner"`
	// bootstrap, runtime or derived.
	Class string `json:"class"`
	// Where its value lives in the authority. Immutable.
	Path string `json:"path"`
	// Exactly one way by which the first value comes to be.
	Origin Origin `json:"origin"`
	// When the issuer says it ends, RFC 3339, where the issuer says so.
	ExpiresAt string `json:"expiresAt,omitempty"`
	// How it is rotated; absent means static.
	Rotation *RotationSpec `json:"rotation,omitempty"`
	// Who consumes it.
	Consumers []ConsumerSpec `json:"consumers,omitempty"`
	// Names this secret had before; the path stays.
	FormerNames []string `json:"formerNames,omitempty"`
	// No new run starts while true. A live run finishes.
	Suspend bool `json:"suspend,omitempty"`
	// JSON merge patch over this spec per environment. path, class and origin cannot be changed.
	Environments map[string]RawPatch `json:"environments,omitempty"`
}

// RawPatch is a JSON merge patch (RFC 7396).
type RawPatch map[string]any

// Owner answers for a secret.
type Owner struct {
	// Team that owns it.
	Team string `json:"team"`
	// How to reach them.
	Contact string `json:"contact"`
}

// Origin says how the first value comes to be; exactly one field is set.
type Origin struct {
	// Custody generates it by rule.
	Generated *GenerateRule `json:"generated,omitempty"`
	// It is handed over from an encrypted document in Git.
	Bootstrap *BootstrapOrigin `json:"bootstrap,omitempty"`
	// Its upstream issues it.
	Issued *IssuedOrigin `json:"issued,omitempty"`
	// It is computed from other secrets.
	Derived *DerivedOrigin `json:"derived,omitempty"`
}

// IssuedOrigin says that the first value, like each later one, is made by the upstream. It has no settings: write {}.
type IssuedOrigin struct{}

// GenerateRule says what to generate.
type GenerateRule struct {
	// password, token, ed25519 or rsa.
	Type string `json:"type"`
	// Characters (password, 8 to 256) or random bytes before encoding (token, 16 to 512). Default 32.
	Length int `json:"length,omitempty"`
	// Character classes of a password, each of which it then holds: lower, upper, digit, symbol. Default lower, upper,
	// digit.
	Classes []string `json:"classes,omitempty"`
	// Encoding of a token: base64url (default) or hex.
	Encoding string `json:"encoding,omitempty"`
	// Bits of an RSA key: 2048, 3072 (default) or 4096.
	Bits int `json:"bits,omitempty"`
	// Name of the field that receives it. Default "value"; key pairs add FIELD.pub.
	Field string `json:"field,omitempty"`
}

// BootstrapOrigin points at the encrypted document.
type BootstrapOrigin struct {
	// Name of the BootstrapSecret.
	SecretRef string `json:"secretRef"`
}

// RotationSpec says by which policy, where, and by whom a secret is rotated.
type RotationSpec struct {
	// Name of the RotationPolicy.
	PolicyRef string `json:"policyRef"`
	// Name of the Upstream that honours the credential; absent means nothing outside checks it.
	UpstreamRef string `json:"upstreamRef,omitempty"`
	// The account at that upstream, under the name of the upstream's type; at most one.
	Account Parameters `json:",inline" parameters:"account"`
	// The one platform and environment that rotates it, as PLATFORM/ENVIRONMENT. Default: wherever the estate is run.
	RotatedBy string `json:"rotatedBy,omitempty"`
	// Allows kinds whose rotation refuses sign-ins for a moment (overwrite).
	AllowInterruption bool `json:"allowInterruption,omitempty"`
	// Secrets of the same group rotate as one: they start together, and either all go forward, once each candidate works,
	// or all are taken back.
	Group string `json:"group,omitempty"`
	// Secrets of the same stagger set do not rotate near each other.
	Stagger *Stagger `json:"stagger,omitempty"`
}

// Stagger keeps the rotations of several secrets apart.
type Stagger struct {
	// Name of the set.
	Set string `json:"set"`
	// Time between the end of one's run and the start of another's. Default 1h.
	Gap string `json:"gap,omitempty"`
}

// ConsumerSpec is one consumer of a secret.
type ConsumerSpec struct {
	// Unique within the secret.
	Name string `json:"name"`
	// Delivery to a file on this host.
	File *FileConsumer `json:"file,omitempty"`
	// Proof level that revocation needs: delivered, rolled or observed. Default: the highest the consumer can give. A
	// file without a check can give delivered, with one all three.
	Proof string `json:"proof,omitempty"`
}

// FileConsumer delivers to one file beneath a folder that the host's own configuration names.
type FileConsumer struct {
	// Name of a folder in the host's configuration.
	Folder string `json:"folder"`
	// Path beneath it. No "..", no symlinks. Folders on the way are made, as open as the one above.
	Path string `json:"path"`
	// env, json, properties or raw.
	Format string `json:"format"`
	// env: what reads the file: sh (set -a; . file), systemd (EnvironmentFile=), docker (--env-file), compose (env_file:),
	// node (--env-file), dotenv (npm), python-dotenv, ruby (dotenv), phpdotenv, symfony or godotenv. The value is then
	// written for it. Default: such that all of them but docker read the same; a value that cannot be is not delivered.
	Reader string `json:"reader,omitempty"`
	// raw: the field to write. Default "value".
	Field string `json:"field,omitempty"`
	// Key written for each field (env, json, properties). Default: the field name (env: in upper case).
	Keys map[string]string `json:"keys,omitempty"`
	// Key under which the version's identity is written as well (env, json, properties); absent: not written.
	VersionKey string `json:"versionKey,omitempty"`
	// Write the file itself instead of replacing it. For readers that hold on to that one file: a container that mounts it
	// by itself, another hard link; without this, delivery to such a file fails. A reader may see half a file for a moment.
	InPlace bool `json:"inPlace,omitempty"`
	// Octal mode. Default "0600"; never writable by group or others.
	Mode string `json:"mode,omitempty"`
	// Owner by name or number; changing it needs privilege.
	User string `json:"user,omitempty"`
	// Group by name or number; changing it needs privilege.
	Group string `json:"group,omitempty"`
	// Name of a reload in the host's configuration (a signal or a command).
	Reload string `json:"reload,omitempty"`
	// Name of a check in the host's configuration: it proves that the reloaded process runs on the version.
	Check string `json:"check,omitempty"`
}

// RotationPolicy is the policy as data.
type RotationPolicy struct {
	Header `json:",inline"`
	// The policy.
	Spec RotationPolicySpec `json:"spec"`
}

// RotationPolicySpec holds the six attributes and their refinements. Durations are Go's, and "d" for 24 hours.
type RotationPolicySpec struct {
	// static, time or event. Manual requests are taken under each.
	RotationType string `json:"rotationType"`
	// How long a version is meant to live (time; required there, refused elsewhere).
	TTL string `json:"ttl,omitempty"`
	// How long before the end of the TTL the run begins (time).
	RotateBefore string `json:"rotateBefore,omitempty"`
	// Whether the old credential is revoked at all. Default true.
	RevokeOld *bool `json:"revokeOld,omitempty"`
	// How long both may be valid before missing proofs are a failure. Default 24h.
	MaxOverlap string `json:"maxOverlap,omitempty"`
	// retry, alert or hold. None of them revokes. Default alert.
	FailureStrategy string `json:"failureStrategy,omitempty"`
	// Time between the last proof and revocation, for clients that read the old value and have not yet signed in. Default 1m.
	Settle string `json:"settle,omitempty"`
	// For upstreams that tell who still uses the old credential: how long it must not have been used before it is
	// revoked. Default: the settle time.
	QuietWindow string `json:"quietWindow,omitempty"`
	// The most time between two sign-ins with the value of record while no run is live, so that one that stopped working is
	// found. 5m to 90d, or 0s for none. Default 1d.
	VerifyEvery string `json:"verifyEvery,omitempty"`
	// Timed runs begin only within these windows.
	Windows []MaintenanceWindow `json:"windows,omitempty"`
	// Timed runs begin earlier by a stable share of this, so that many secrets do not rotate at once. Default 0.
	Jitter string `json:"jitter,omitempty"`
}

// MaintenanceWindow is a weekly window in a named zone.
type MaintenanceWindow struct {
	// Days: Mon to Sun. Default all.
	Days []string `json:"days,omitempty"`
	// Local start, HH:MM.
	Start string `json:"start"`
	// How long it lasts.
	Duration string `json:"duration"`
	// IANA zone. Default UTC.
	Zone string `json:"zone,omitempty"`
}

// Upstream is a system that honours credentials.
type Upstream struct {
	Header `json:",inline"`
	// Where it is, and which managed secret opens it.
	Spec UpstreamSpec `json:"spec"`
}

// BootstrapSecret is a SOPS document, alone in its file; sops itself encrypts everything under data, including the
// binding. Its keys are in alphabetical order (sops, which SOPS writes last, aside), so that the MAC survives tools that
// sort them.
type BootstrapSecret struct {
	Header `json:",inline"`
	// Plain: what the document is for.
	Spec BootstrapSecretSpec `json:"spec"`
	// Encrypted by SOPS: the values, and what they are bound to.
	Data BootstrapData `json:"data"`
	// SOPS's own metadata.
	Sops map[string]any `json:"sops"`
}

// BootstrapSecretSpec is plain: what the document is for.
type BootstrapSecretSpec struct {
	// The managed secret that this document seeds.
	Seeds string `json:"seeds"`
	// Who needs the value before the authority exists.
	NeededBy []string `json:"neededBy,omitempty"`
}

// BootstrapData is encrypted. The binding is compared after decryption with where the document was found.
type BootstrapData struct {
	// What this document is bound to.
	Binding Binding `json:"binding"`
	// The fields of the value, each encrypted as a string; not UTF-8 is written "base64:…" under a key that ends in
	// ".base64".
	Values map[string]string `json:"values"`
}

// Binding says where an encrypted document belongs, so that a copy elsewhere is refused.
type Binding struct {
	// Name of the Platform.
	Platform string `json:"platform"`
	// Name of the managed secret that the document seeds.
	Secret string `json:"secret"`
	// Path of that secret in the authority. With the name it is the secret's identity: a value that was sealed for one path is
	// never handed over at another.
	Path string `json:"path"`
	// Namespace of the document, when it has one.
	Namespace string `json:"namespace,omitempty"`
}

// Host is the host's own configuration. It is not part of the estate: what Git may not say is said here.
type Host struct {
	Header `json:",inline"`
	// What is where on this machine, and what an estate may make it do.
	Spec HostSpec `json:"spec"`
}

// HostSpec says where things are on this machine, and what an estate may make it do. Relative paths are relative to the
// file.
type HostSpec struct {
	// Name of the Platform this host runs.
	Platform string `json:"platform"`
	// The environment this host is.
	Environment string `json:"environment"`
	// Folder of the estate.
	Estate string `json:"estate"`
	// Folder of the embedded authority, the audit log and the socket; 0700.
	State string `json:"state"`
	// File with the bootstrap identity (age). May be absent once nothing in Git is left to hand over.
	BootstrapIdentity string `json:"bootstrapIdentity,omitempty"`
	// How the authority is unsealed; exactly one.
	Unseal Unseal `json:"unseal"`
	// A second socket, for users of some groups. Without it commands are for root and the user that runs custody alone.
	Socket *Socket `json:"socket,omitempty"`
	// Loopback address of health and metrics. Default 127.0.0.1:8470.
	Listen string `json:"listen,omitempty"`
	// Folders under which files may be written, by name. None overlaps the state folder or the estate.
	Folders map[string]string `json:"folders,omitempty"`
	// Ways to make a process take a new version, by name.
	Reloads map[string]Reload `json:"reloads,omitempty"`
	// Checks that a process runs on a version, by name.
	Checks map[string]Command `json:"checks,omitempty"`
	// Programs that an estate may use as upstreams of type exec, by name.
	Upstreams map[string]Command `json:"upstreams,omitempty"`
	// Files, best on another machine's disk, to which signed checkpoints are copied.
	Checkpoints []string `json:"checkpoints,omitempty"`
	// File with what the operator grants: to whom values are encrypted, where credentials are sent, who reads across owners.
	// It is believed as this file is, and read again when it changes; custody grant --help shows one.
	Grants string `json:"grants,omitempty"`
}

// Socket opens the server to users of some groups, at least one of which is named. The kernel says who connects.
type Socket struct {
	// Path of the socket, such as /run/custody/socket. Its folder exists, belongs to the user that runs custody or to root, and lets
	// the groups in; the state folder lets in nobody.
	Path string `json:"path"`
	// Group whose members may ask everything but doctor, which signs in, and change nothing.
	Readers string `json:"readers,omitempty"`
	// Group whose members may do all that the user that runs custody may.
	Operators string `json:"operators,omitempty"`
}

// Unseal names the one source of the authority's key.
type Unseal struct {
	// File with 32 random bytes in hexadecimal.
	KeyFile string `json:"keyFile,omitempty"`
	// File with an age identity.
	Identity string `json:"identity,omitempty"`
	// Name of a systemd credential (read beneath $CREDENTIALS_DIRECTORY) that holds either of them.
	Credential string `json:"credential,omitempty"`
}

// Reload is one way to make a process take a new version; exactly one of signal and argv is set.
type Reload struct {
	// Signal by name: HUP, USR1 or USR2. Needs pidFile.
	Signal string `json:"signal,omitempty"`
	// File with the process id to signal.
	PIDFile string `json:"pidFile,omitempty"`
	// Absolute path of the program that the process in pidFile must run. Needed where the process writes its pid file again
	// long after its start; else a number in a file that was written more than 10m after the process began is not signalled.
	Program string `json:"program,omitempty"`
	// Command, as an absolute path, and arguments; no shell.
	Argv []string `json:"argv,omitempty"`
	// How long the command may take. Default 30s.
	Timeout string `json:"timeout,omitempty"`
}

// Command is a locally configured program; no shell.
type Command struct {
	// Command, as an absolute path, and arguments.
	Argv []string `json:"argv"`
	// How long it may take. Default 30s.
	Timeout string `json:"timeout,omitempty"`
}
