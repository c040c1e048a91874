// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/transport"
)

// hostPath is a path of the host file, and what people call it.
type hostPath struct{ what, path string }

const ruleNotifications = "host-notifications"

// mailTLS are the modes of a relay.
var mailTLS = []string{"", "starttls", "tls", "disable"}

// mostPerHour is more than anybody reads.
const mostPerHour = 60

func resolveNotifications(n *v1alpha1.Notifications, against func(string) string) {
	if n == nil {
		return
	}
	for name, hook := range n.Webhooks {
		hook.URLFile, hook.CAFile = against(hook.URLFile), against(hook.CAFile)
		n.Webhooks[name] = hook
	}
	if n.Mail != nil {
		n.Mail.CAFile, n.Mail.PasswordFile = against(n.Mail.CAFile), against(n.Mail.PasswordFile)
	}
}

// filesOfNotifications are those that nothing may be delivered over: whoever could would choose where messages go.
func filesOfNotifications(n *v1alpha1.Notifications) (files []hostPath) {
	if n == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(n.Webhooks)) {
		files = append(files, hostPath{"the URL of webhook " + name, n.Webhooks[name].URLFile}, hostPath{"the certificates of webhook " + name, n.Webhooks[name].CAFile})
	}
	if n.Mail != nil {
		files = append(files, hostPath{"the password of the mail relay", n.Mail.PasswordFile}, hostPath{"the certificates of the mail relay", n.Mail.CAFile})
	}
	return files
}

func (c *hostChecker) notifications(n *v1alpha1.Notifications) {
	if n == nil {
		return
	}
	t := at("spec", "notifications")
	for _, name := range slices.Sorted(maps.Keys(n.Webhooks)) {
		hook, t := n.Webhooks[name], t.to("webhooks", name)
		c.name(t, name)
		switch {
		case (hook.URLFile == "") == (hook.SecretRef == ""):
			c.bad(ruleNotifications, t, "not exactly one of urlFile and secretRef")
		case hook.SecretRef != "" && hook.Host == "":
			c.bad(ruleNotifications, t, "the URL comes from a secret, so host must name the server that it may lead to")
		}
	}
	if n.Mail != nil {
		c.relay(t.to("mail"), *n.Mail)
	}
	for _, team := range slices.Sorted(maps.Keys(n.Teams)) {
		c.target(t.to("teams", team), n, n.Teams[team])
	}
	if n.Default != nil {
		c.target(t.to("default"), n, *n.Default)
	}
	for i, domain := range n.ContactDomains {
		if _, ok := notify.Address("somebody@" + domain); !ok || domain != strings.ToLower(domain) {
			c.bad(ruleNotifications, t.to("contactDomains", i), "%s is not a domain in lower case", plaintext.Show(domain))
		}
	}
	if len(n.ContactDomains) > 0 && n.Mail == nil {
		c.bad(ruleNotifications, t.to("contactDomains"), "there is no mail relay")
	}
	if n.PerHour < 0 || n.PerHour > mostPerHour {
		c.bad(ruleNotifications, t.to("perHour"), "perHour is not between 1 and %d", mostPerHour)
	}
}

func (c *hostChecker) relay(t trail, relay v1alpha1.MailRelay) {
	switch err := transport.Host(relay.Host); {
	case relay.Host == "": // a missing field, reported as such
	case err != nil, transport.Socket(relay.Host):
		c.bad(ruleNotifications, t.to("host"), "the host is not a single name or address")
	case relay.TLS == "disable" && !transport.Local(relay.Host):
		c.bad(ruleNotifications, t.to("tls"), "TLS is disabled, and the host is not loopback")
	}
	if transport.Port(relay.Port) != nil {
		c.bad(ruleNotifications, t.to("port"), "the port is not between 1 and 65535")
	}
	if !slices.Contains(mailTLS, relay.TLS) {
		c.bad(ruleNotifications, t.to("tls"), "tls is none of starttls, tls and disable")
	}
	if _, ok := notify.Address(relay.From); !ok && relay.From != "" {
		c.bad(ruleNotifications, t.to("from"), "the sender is not a plain e-mail address")
	}
	sources := 0
	for _, source := range []string{relay.PasswordFile, relay.SecretRef} {
		if source != "" {
			sources++
		}
	}
	if relay.User == "" && sources > 0 {
		c.bad(ruleNotifications, t, "there is a password but no user")
	}
	if relay.User != "" && sources != 1 {
		c.bad(ruleNotifications, t, "not exactly one of passwordFile and secretRef")
	}
}

func (c *hostChecker) target(t trail, n *v1alpha1.Notifications, target v1alpha1.NotifyTarget) {
	if target.Webhook == "" && len(target.Mail) == 0 {
		c.bad(ruleNotifications, t, "it names neither a webhook nor an address")
	}
	if _, there := n.Webhooks[target.Webhook]; target.Webhook != "" && !there {
		c.bad(ruleNotifications, t.to("webhook"), "there is no webhook %s", plaintext.Show(target.Webhook))
	}
	for i, address := range target.Mail {
		if _, ok := notify.Address(address); !ok {
			c.bad(ruleNotifications, t.to("mail", i), "it is not a plain e-mail address")
		}
	}
	if len(target.Mail) > 0 && n.Mail == nil {
		c.bad(ruleNotifications, t.to("mail"), "there is no mail relay")
	}
}
