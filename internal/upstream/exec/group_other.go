// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package exec

import "syscall"

// group puts a program in a process group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
