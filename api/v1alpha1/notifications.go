// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Notifications say how the owners of secrets are told of findings. They are in the host file, so that nobody who can
// write to the estate can have messages sent to a place of their choosing.
type Notifications struct {
	// Chats to which messages can be posted, by name.
	Webhooks map[string]Webhook `json:"webhooks,omitempty"`
	// The relay that takes e-mail.
	Mail *MailRelay `json:"mail,omitempty"`
	// Where each team is told, by owner.team of its secrets.
	Teams map[string]NotifyTarget `json:"teams,omitempty"`
	// Domains such as example.org. If owner.contact of a secret is a plain e-mail address in one of them, and teams does not
	// name the team, its findings are mailed there. Needs mail.
	ContactDomains []string `json:"contactDomains,omitempty"`
	// Where findings about the platform go, those of owners who are told nowhere else, and those that are open for 7 days.
	Default *NotifyTarget `json:"default,omitempty"`
	// How many messages one target takes within an hour. Further ones wait and are merged. Default 4.
	PerHour int `json:"perHour,omitempty"`
}

// NotifyTarget is where somebody is told. At least one of its fields is set.
type NotifyTarget struct {
	// Name of one of webhooks.
	Webhook string `json:"webhook,omitempty"`
	// E-mail addresses. Needs mail.
	Mail []string `json:"mail,omitempty"`
}

// Webhook is a URL of a chat that takes messages in the form of Slack's incoming webhooks. The URL is a credential. It
// must be https, or http to loopback. Exactly one of urlFile and secretRef is set.
type Webhook struct {
	// File with the URL. Nobody else may be able to read or change it.
	URLFile string `json:"urlFile,omitempty"`
	// Name of a ManagedSecret whose field "value" has the URL. Needs host.
	SecretRef string `json:"secretRef,omitempty"`
	// The host that the URL must name, such as hooks.slack.com, with its port if it has one. Needed with secretRef, because
	// the value may come from the estate.
	Host string `json:"host,omitempty"`
	// File with the certificates (PEM) of the authorities that vouch for the server. Default: those of the system.
	CAFile string `json:"caFile,omitempty"`
}

// MailRelay is the server to which Custody submits e-mail.
type MailRelay struct {
	// Name or address of the server.
	Host string `json:"host"`
	// Port. Default 587, and 465 with tls: tls.
	Port int `json:"port,omitempty"`
	// starttls (default), tls (from the first byte) or disable (only to loopback).
	TLS string `json:"tls,omitempty"`
	// File with the certificates (PEM) of the authorities that vouch for the server. Default: those of the system.
	CAFile string `json:"caFile,omitempty"`
	// Address of the sender.
	From string `json:"from"`
	// User to sign in as. Without it, Custody does not sign in.
	User string `json:"user,omitempty"`
	// File with the password. Nobody else may be able to read or change it. With user, exactly one of passwordFile and
	// secretRef is set.
	PasswordFile string `json:"passwordFile,omitempty"`
	// Name of a ManagedSecret whose field "value" has the password.
	SecretRef string `json:"secretRef,omitempty"`
}
