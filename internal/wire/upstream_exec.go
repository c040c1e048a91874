// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"fmt"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/exec"
)

// execUpstream takes the program from the host's own configuration, by the name that the document picks.
func execUpstream(p *parts, b binding) (upstream.Upstream, error) {
	program, ok := p.host.Upstreams[b.server.Exec.Program]
	if !ok {
		return nil, fmt.Errorf("the host has no upstream program %q", b.server.Exec.Program)
	}
	if err := trustProgram(program.Argv); err != nil {
		return nil, err
	}
	account := b.account.Exec
	if account == nil {
		account = &v1alpha1.ExecAccount{}
	}
	timeout, err := intent.ParseDuration(cmp.Or(program.Timeout, "0s"))
	if err != nil {
		return nil, err
	}
	return exec.New(exec.Config{
		Argv: program.Argv, Timeout: timeout, Mode: upstream.Capability(account.Mode),
		Parameters: b.server.Exec.Parameters, Account: account.Parameters,
		Claim: b.claim, Admin: b.admin, NewPassword: b.password, Random: Random(),
	})
}
