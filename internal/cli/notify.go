// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) notifyCommand() *cobra.Command {
	return group("notify", "tell the owners of secrets about findings",
		`A running server tells the owner of each secret about its findings, by chat or e-mail: once when a finding is new, again after 1, 7
and 37 days and then every 30 days, and once when it is over. Findings about the platform, and those that are open for 7 days, go to
the default target.

The host file says where messages may go, because whoever can write to the estate (configuration) must not be able to choose. Example:

  notifications:
    webhooks:
      chat: {urlFile: /etc/custody/chat-url}          # the URL is a credential: mode 0600
    mail:
      host: mail.example.org
      from: custody@example.org
      user: custody
      passwordFile: /etc/custody/mail-password        # mode 0600
    teams:
      shop: {webhook: chat}                           # by owner.team
    contactDomains: [example.org]                     # owner.contact is mailed if it is an address in one of these
    default: {mail: [platform@example.org]}`,
		"  custody notify list\n  custody notify test\n  custody notify test --owner shop",
		a.notifyListCommand(), a.notifyTestCommand())
}
