// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/wire"
)

// longestToken bounds what is read where a token is expected.
const longestToken = 4 << 10

func (a *app) agentEnrollCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "give this machine's agent a certificate, by a one-time token",
		Long: `Makes a key for the agent of this machine, and gets a certificate for it from the server with a token that custody agent invite printed.
The key never leaves this machine. The server is believed only if it has the key that the token names. The token is read from the
terminal, where it is not shown, or from standard input.

If an answer is lost, run it again with the same token. A machine that has a certificate gets a new one.`,
		Example: `  custody agent enroll                    # asks for the token
  custody agent enroll < token.txt`,
		Args:        takes(),
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, _ []string) error {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			token, err := a.token()
			if err != nil {
				return err
			}
			machine, err := wire.EnrollAgent(ctx, a.agentOptions(file), token)
			if err != nil {
				return err
			}
			return a.answer(map[string]string{"machine": machine}, func(p *printer) {
				p.linef("machine %s is enrolled; now start its agent: custody agent run", machine)
			})
		}),
	}
	agentFlag(cmd, &file)
	return cmd
}

// token reads a token from the terminal or from standard input.
func (a *app) token() (string, error) {
	var read []byte
	var err error
	if fd, is := terminal(a.in); is {
		read, err = a.hidden(fd, "token: ", "a token is one line")
	} else {
		read, err = io.ReadAll(io.LimitReader(a.in, longestToken))
	}
	token := strings.TrimSpace(string(read))
	if err == nil && token == "" {
		err = usage("there is no token", "paste the line that custody agent invite printed, or give it on standard input")
	}
	return token, err
}
