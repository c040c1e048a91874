// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells the service manager how this process is, by sd_notify(3). Where nobody asked to be told, it does nothing.
type notifier struct {
	// socket is where it is told, "" for nowhere. every is how long the manager waits for a sign of life, 0 for ever.
	socket string
	every  time.Duration
	log    *slog.Logger
	alive  atomic.Int64 // when the loop last turned, in nanoseconds
}

// newNotifier reads what the manager asks for. A watchdog that is another process's is none of this one's.
func newNotifier(getenv func(string) string, pid int, log *slog.Logger) *notifier {
	n := &notifier{socket: getenv("NOTIFY_SOCKET"), log: log}
	if of := getenv("WATCHDOG_PID"); of == "" || of == strconv.Itoa(pid) {
		if micros, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 {
			n.every = time.Duration(micros) * time.Microsecond
		}
	}
	return n
}

// say sends one message. What goes wrong is logged: the service goes on, and the manager sees that nothing came.
func (n *notifier) say(message string) {
	if n.socket == "" {
		return
	}
	err := func() error {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetWriteDeadline(Now().Add(time.Second)); err != nil {
			return err
		}
		_, err = conn.Write([]byte(message))
		return err
	}()
	if err != nil {
		n.log.Warn("telling the service manager", "message", message, "error", fmt.Sprint(err))
	}
}

// reloading says that a reload begins; the caller calls done when it has ended, whatever came of it: the service goes on with
// what it had. A manager with Type=notify-reload waits for both and needs to know when the first was sent.
func (n *notifier) reloading() (done func()) {
	if n.socket == "" {
		return func() {}
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Warn("telling the service manager", "message", "RELOADING=1", "error", err)
		return func() {}
	}
	n.say(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
	return func() { n.say("READY=1") }
}

// turned notes that the loop has turned.
func (n *notifier) turned() { n.alive.Store(Now().UnixNano()) }

// watchdog says twice within each of the manager's intervals that this process is alive, as long as the loop turned within the
// last of them, until stop comes. A loop that turns no more is so killed and started again.
func (n *notifier) watchdog(stop context.Context) {
	if n.socket == "" || n.every == 0 {
		return
	}
	ticker := time.NewTicker(n.every / 2)
	defer ticker.Stop()
	for {
		if Now().UnixNano()-n.alive.Load() < int64(n.every) {
			n.say("WATCHDOG=1")
		}
		select {
		case <-stop.Done():
			return
		case <-ticker.C:
		}
	}
}
