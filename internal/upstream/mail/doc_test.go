// SPDX-License-Identifier: Apache-2.0

// Package mail_test tries the kind on Dovecot, Postfix and the databases behind them, started by the tests.
//
// What bounds them: a server that starts or stops is waited for as long as it lives, and a wait for something that the server
// does ends when it is seen; only -timeout ends what hangs. A short deadline is given where a call's deadline is what is
// tried, and is doubled on a machine too busy for it (upstreamtest.Deadlines).
package mail_test
