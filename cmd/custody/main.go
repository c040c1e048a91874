// SPDX-License-Identifier: Apache-2.0

// Command custody manages the secrets that machines use. All of its code is in internal/cli.
package main

import (
	"os"

	"custody.dev/custody/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
