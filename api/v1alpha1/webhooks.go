// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// EventWebhook lets another system request a rotation or report a compromise. It must sign what it sends. It is in the
// host file, because whoever can write to the estate must not be able to add a sender.
type EventWebhook struct {
	// Lower-case letters and digits, with single hyphens between them; not git. It is part of the URL, and the record
	// names it as the requester.
	Name string `json:"name"`
	// generic (a JSON object), cloudevents (a CloudEvent in structured mode) or github-secret-scanning (the alerts that
	// GitHub sends to partners).
	Kind string `json:"kind"`
	// generic and cloudevents: file with the key that the sender signs with (Standard Webhooks: HMAC-SHA256 of id,
	// timestamp and body). Nobody else may be able to read or change it. Exactly one of secretFile and secretRef is set.
	SecretFile string `json:"secretFile,omitempty"`
	// generic and cloudevents: name of a ManagedSecret whose field "value" has the key.
	SecretRef string `json:"secretRef,omitempty"`
	// github-secret-scanning: the public keys that GitHub publishes, in PEM, by their identifiers.
	PublicKeys map[string]string `json:"publicKeys,omitempty"`
	// What the sender may ask for.
	May EventRights `json:"may"`
	// How many signed requests are accepted within a minute; the sender has to send further ones later. 1 to 6000.
	// Default 60.
	PerMinute int `json:"perMinute,omitempty"`
}

// EventRights say what the sender of a webhook may ask for, and for which secrets: those that are named, and those that
// have all of the labels. At least one of the two is given.
type EventRights struct {
	// rotate (a new version), compromise (somebody else may have the credential) and expiry (the issuer says that it ends
	// soon; it is rotated). github-secret-scanning only reports compromises.
	Ask []string `json:"ask"`
	// Names of ManagedSecrets.
	Secrets []string `json:"secrets,omitempty"`
	// Labels that a ManagedSecret must have in its metadata, all of them.
	Labels map[string]string `json:"labels,omitempty"`
}
