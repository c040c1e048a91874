// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"os"
	"syscall"
)

// WriteProgram writes a program that is to be run. A process that is started meanwhile would inherit the open file for a
// moment, and the kernel runs no program that somebody may write ("text file busy"): none is started until it is closed.
func WriteProgram(path string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, 0o700)
}
