// SPDX-License-Identifier: Apache-2.0

// Package wire connects the parts for a host. Only this package imports adapters, the clock and randomness, and passes
// them to everything else. The lists of adapters are here, written by hand: unseal sources, upstreams, consumers.
package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root/sops"
	"custody.dev/custody/internal/server"
)

// Options name the host.
type Options struct {
	// HostFile is the host's own configuration.
	HostFile string
	Log      *slog.Logger
	// Version is that of the program.
	Version string
}

// Now is the wall clock.
func Now() time.Time { return time.Now() }

// Random is the system's randomness.
func Random() io.Reader { return rand.Reader }

// Codec seals and opens bootstrap documents.
func Codec() sops.Codec { return sops.Codec{Now: Now, Random: rand.Reader} }

// User is who runs this process, as the operating system knows them.
func User() string { return userName(os.Getuid()) }

func userName(uid int) string {
	known, err := user.LookupId(fmt.Sprint(uid))
	if err != nil {
		return fmt.Sprintf("uid %d", uid)
	}
	return known.Username
}

// NewID makes a unique id that sorts by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

func newRun() authority.RunID { return authority.RunID(NewID()) }

// LoadHost reads the host file, if it can be believed; every fault in it is in the error. See TrustHost.
func LoadHost(file string) (v1alpha1.HostSpec, error) {
	if err := TrustHost(file); err != nil {
		return v1alpha1.HostSpec{}, err
	}
	host, faults, err := intent.LoadHost(file)
	if again := TrustHost(file); again != nil { // what was read is not what was believed, if a checkout began since
		return v1alpha1.HostSpec{}, again
	}
	if errors.Is(err, fs.ErrNotExist) {
		return host.Spec, &server.Problem{
			Class: server.NotFound, Text: "there is no host file " + file,
			Hint: "make a platform with `custody init DIR`, or name its host file with --host or CUSTODY_HOST",
		}
	}
	if err != nil {
		return host.Spec, err
	}
	return host.Spec, faultsError(faults)
}

// faultsError is nil without faults.
func faultsError(faults []intent.Fault) error {
	if len(faults) == 0 {
		return nil
	}
	text := faults[0].String()
	if len(faults) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(faults)-1)
	}
	return &server.Problem{Class: server.Found, Text: text, Hint: faults[0].Fix}
}

// SocketPath is where `custody serve` of this state folder listens.
func SocketPath(state string) string { return filepath.Join(state, intent.SocketName) }

// AuditKeyPath is where the record's public key lies.
func AuditKeyPath(state string) string { return filepath.Join(state, "audit.pub") }

// AuditFolder is where the record lies.
func AuditFolder(state string) string { return filepath.Join(state, "audit") }

// Connection is a way to ask a platform: its running server, or its parts in this process.
type Connection struct {
	*server.Client
	parts *parts
}

// Connect calls the server that runs on this host's state folder. When none does, it opens the platform in this process,
// under the folder's lock.
func Connect(ctx context.Context, o Options) (*Connection, error) {
	host, err := LoadHost(o.HostFile)
	if err != nil {
		return nil, err
	}
	if err := trustState(host.State); err != nil {
		return nil, err
	}
	socket, err := reach(ctx, host)
	if err != nil {
		return nil, err
	}
	if socket != "" {
		return &Connection{Client: server.Dial(socket)}, nil
	}
	opened, err := open(ctx, o, host, false)
	if err != nil {
		return nil, err
	}
	opened.platform.Reload()
	return &Connection{Client: server.Local(server.Handler(opened.platform), "user "+User()), parts: opened}, nil
}

// Serving reports whether a server answers.
func (c *Connection) Serving() bool { return c.parts == nil }

// Settle takes the platform forward in this process until done says so or nothing is left to do now. With a server it
// asks done from time to time, and the server does the work.
func (c *Connection) Settle(ctx context.Context, done func() bool) error {
	if c.parts != nil {
		return c.parts.platform.Settle(ctx, done)
	}
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// Reading tells told how far a question has come that reads every secret in this process. Where a server runs none does.
func (c *Connection) Reading(told func(done, of int)) {
	if c.parts != nil {
		c.parts.platform.Reading = told
	}
}

// Close lets the platform go.
func (c *Connection) Close() error {
	if c.parts == nil {
		return nil
	}
	return c.parts.Close()
}
