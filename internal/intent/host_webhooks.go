// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/event"
	"custody.dev/custody/internal/plaintext"
)

const ruleWebhooks = "host-webhooks"

const (
	defaultPerMinute = 60
	mostPerMinute    = 6000
)

// filesOfWebhooks are those that nothing may be delivered over: whoever could would choose who may ask.
func filesOfWebhooks(hooks []v1alpha1.EventWebhook) (files []hostPath) {
	for _, hook := range hooks {
		files = append(files, hostPath{"the key of webhook " + hook.Name, hook.SecretFile})
	}
	return files
}

func (c *hostChecker) webhooks(hooks []v1alpha1.EventWebhook) {
	seen := map[string]bool{}
	for i, hook := range hooks {
		t := at("spec", "webhooks", i)
		if hook.Name != "" {
			c.name(t.to("name"), hook.Name)
		}
		switch {
		case hook.Name == "git":
			c.bad(ruleWebhooks, t.to("name"), "/hooks/git is the webhook of the estate's repository")
		case seen[hook.Name]:
			c.bad(ruleWebhooks, t.to("name"), "there is another webhook %s", plaintext.Show(hook.Name))
		}
		seen[hook.Name] = true
		c.webhookKey(t, hook)
		c.webhookRights(t.to("may"), hook)
		if hook.PerMinute < 0 || hook.PerMinute > mostPerMinute {
			c.bad(ruleWebhooks, t.to("perMinute"), "perMinute is not between 1 and %d", mostPerMinute)
		}
	}
}

func (c *hostChecker) webhookKey(t trail, hook v1alpha1.EventWebhook) {
	shared := hook.SecretFile != "" || hook.SecretRef != ""
	switch {
	case hook.Kind == "": // a missing field, reported as such
	case !slices.Contains(event.Kinds(), hook.Kind):
		c.bad(ruleWebhooks, t.to("kind"), "the kind is none of %s", strings.Join(event.Kinds(), ", "))
	case hook.Kind == event.GitHub && (shared || len(hook.PublicKeys) == 0):
		c.bad(ruleWebhooks, t, "a webhook of kind %s takes publicKeys, not a secret", event.GitHub)
	case hook.Kind != event.GitHub && (len(hook.PublicKeys) > 0 || (hook.SecretFile == "") == (hook.SecretRef == "")):
		c.bad(ruleWebhooks, t, "not exactly one of secretFile and secretRef")
	}
	for _, id := range slices.Sorted(maps.Keys(hook.PublicKeys)) {
		if _, err := event.PublicKey(hook.PublicKeys[id]); err != nil {
			c.bad(ruleWebhooks, t.to("publicKeys"), "public key %s: %s", plaintext.Show(id), err)
		}
	}
}

func (c *hostChecker) webhookRights(t trail, hook v1alpha1.EventWebhook) {
	may := hook.May
	if len(may.Secrets) == 0 && len(may.Labels) == 0 {
		c.bad(ruleWebhooks, t, "it names neither secrets nor labels")
	}
	for i, ask := range may.Ask {
		switch {
		case !slices.Contains(event.Asks(), ask):
			c.bad(ruleWebhooks, t.to("ask", i), "%s is none of %s", plaintext.Show(ask), strings.Join(event.Asks(), ", "))
		case hook.Kind == event.GitHub && ask != event.Compromise:
			c.bad(ruleWebhooks, t.to("ask", i), "a webhook of kind %s only reports compromises", event.GitHub)
		}
	}
}
