// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/realparts/signin"
	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"
)

// Kind is one type of upstream in one mode, as its page says that people set it up. Those of one type stand in
// internal/upstream/TYPE/TYPEtest; postgrestest is the example.
type Kind struct {
	// Name begins with the type.
	Name       string
	Capability upstream.Capability
	// Issues: the upstream makes the credential.
	Issues bool
	// OneWay: clients cannot go around the proxy that loses replies, and lose some themselves.
	OneWay bool
	// Calm: what a lost reply leaves waits for a person, so this one is run where nothing is broken alone.
	Calm bool
	// Crowd is how many accounts the long run drives at once where processes are killed: kinds that do not fence wait for a
	// call's deadline after each, and more accounts wait at the same time. Default 2.
	Crowd int
	// Abreast is how many accounts share the rotations where nothing is broken: kinds of which each rotation waits for
	// seconds do not make the others wait. Default 1.
	Abreast int
	// Model: of the kinds of its capability, the long run kills this one a hundred times.
	Model bool
	// Pace is how often each worker signs in. Default 200ms in the long run, else 400ms.
	Pace time.Duration
	// Start prepares what an administrator prepares by hand, as the page says, for each of the accounts, and has the stage
	// declare the upstream. Kinds on one server share it by Once.
	Start func(s *Stage, accounts []string) Part
	// SignIn signs in where Part.At says, with a client of its own, and uses a right of the account. It runs in the client
	// process. Accepted and Refused come without an error; Unknown says why.
	SignIn func(ctx context.Context, at string, fields map[string]string) (upstream.Verdict, error)
}

// Part is a kind that was started.
type Part struct {
	// At tells SignIn where the server is; no proxy lies between.
	At string
	// Upstream is the name of the Upstream document.
	Upstream string
	// Account returns the parameters of one account, as a line of YAML beneath rotation.
	Account func(name string) string
	// Origin is a line of YAML; by default a password of 24 characters, for kinds that issue {issued: {}}.
	Origin string
	// Held names, by the server's own root, every credential of the account that would be accepted, or that exists. Nil
	// where nobody can tell; that what was delivered before is refused is checked of every kind.
	Held func(ctx context.Context, name string) ([]string, error)
	// Rights describes, by the server's own root, what the credential in force may do. The text must not change, whichever
	// credential that is. Nil where rights are not the server's to keep.
	Rights func(ctx context.Context, name string, fields map[string]string) (string, error)
	// Log is the server's, shown when a test fails. Optional.
	Log func() string
}

// complete checks the kinds of one test and fills in what they leave out.
func complete(t *testing.T, kinds []Kind) (all []Kind) {
	t.Helper()
	seen := map[string]bool{}
	for _, k := range kinds {
		if seen[k.Name] || !lazyregexp.New(`^[a-z][a-z-]*[a-z]$`).MatchString(k.Name) {
			t.Fatalf("name %q is taken or malformed", k.Name)
		}
		if seen[k.Name] = true; k.Start == nil || k.SignIn == nil || k.Capability == "" {
			t.Fatalf("%s is not complete", k.Name)
		}
		k.Pace = cmp.Or(k.Pace, thorough.Of(0, 400*time.Millisecond, 200*time.Millisecond))
		k.Crowd, k.Abreast = cmp.Or(k.Crowd, 2), cmp.Or(k.Abreast, 1)
		all = append(all, k)
	}
	if len(all) == 0 {
		t.Fatal("no kind was given")
	}
	return all
}

// class is the capability, kinds that issue apart.
func (k Kind) class() string {
	if k.Issues {
		return "issued"
	}
	return string(k.Capability)
}

// Once starts a server for all kinds that share it.
func Once[T any](s *Stage, server string, start func() T) T {
	s.t.Helper()
	s.server = server
	if made, ok := s.started[server]; ok {
		return made.(T)
	}
	made := start()
	s.started[server] = made
	return made
}

// VerdictOf reads what signing in by package signin has come to.
func VerdictOf(err error) (upstream.Verdict, error) {
	switch {
	case err == nil:
		return upstream.Accepted, nil
	case errors.Is(err, signin.ErrRefused):
		return upstream.Refused, nil
	}
	return upstream.Unknown, err
}

// AddressOf takes host and port apart.
func AddressOf(text string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(text)
	if err == nil {
		port, err = strconv.Atoi(number)
	}
	return host, port, err
}

// Authorities is a block of YAML, beneath a mapping indented by two, that names a server's certificate authority.
func Authorities(pem string) string {
	return "  caCertificate: |\n    " + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n    ") + "\n"
}

// number is a version's own, 0 when there is none.
func number(version string) int {
	n := 0
	_, _ = fmt.Sscanf(version, "%d.", &n)
	return n
}
