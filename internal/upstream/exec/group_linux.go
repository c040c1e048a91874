// SPDX-License-Identifier: Apache-2.0

package exec

import "syscall"

// group puts a program in a process group of its own, which dies with the thread that started it.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
