// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Notifications say how the owners of secrets are notified of findings (alerts). They are in the host file, because
// whoever can write to the estate must not be able to choose where messages go.
type Notifications struct {
	// Chats to which messages can be posted, by name.
	Webhooks map[string]Webhook `json:"webhooks,omitempty"`
	// The relay for e-mail.
	Mail *MailRelay `json:"mail,omitempty"`
	// The target of each team, by owner.team of its secrets.
	Teams map[string]NotifyTarget `json:"teams,omitempty"`
	// Domains such as example.org. If owner.contact of a secret is a plain e-mail address in one of them, and teams does not
	// name the team, its findings are mailed there. Needs mail.
	ContactDomains []string `json:"contactDomains,omitempty"`
	// Target of findings about the platform, of findings of owners without another target, and of findings that have
	// been open for 7 days.
	Default *NotifyTarget `json:"default,omitempty"`
	// The most messages that one target gets within an hour. Further ones wait and are merged. Default 4.
	PerHour int `json:"perHour,omitempty"`
}

// NotifyTarget is where messages are sent. At least one of its fields is set.
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
	// File with the certificates (PEM) of the CAs that the server's certificate is checked against. Default: those of
	// the system.
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
	// File with the certificates (PEM) of the CAs that the server's certificate is checked against. Default: those of
	// the system.
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
