// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/server"
)

var _ platform.Seeds = (*seeds)(nil)

// temporary says for how long a bootstrap identity was enrolled. It stands in the identity file, as a comment, so that both are there or
// neither is.
type temporary struct{ since, until time.Time }

const temporaryLine = "# custody bootstrap enroll: "

// zero for an identity that is not temporary.
func (t temporary) zero() bool { return t.until.IsZero() }

// line is the comment.
func (t temporary) line() string {
	return fmt.Sprintf("%s%s to %s\n", temporaryLine, t.since.UTC().Format(time.RFC3339Nano), t.until.UTC().Format(time.RFC3339))
}

// temporaryOf reads the comment of an identity file. One that somebody changed counts for none.
func temporaryOf(file []byte) temporary {
	for line := range bytes.Lines(file) {
		said, is := strings.CutPrefix(strings.TrimSpace(string(line)), strings.TrimSpace(temporaryLine))
		if !is {
			continue
		}
		from, to, _ := strings.Cut(strings.TrimSpace(said), " to ")
		since, err := time.Parse(time.RFC3339Nano, from)
		until, wrong := time.Parse(time.RFC3339, to)
		if err == nil && wrong == nil {
			return temporary{since, until}
		}
	}
	return temporary{}
}

// temporary is that of the identity file; see temporaryOf.
func (s *seeds) temporary() (temporary, error) {
	file, err := os.ReadFile(s.parts.host.BootstrapIdentity)
	return temporaryOf(file), err
}

// Enrolled implements platform.Seeds.
func (s *seeds) Enrolled() (has server.Enrollment, is bool, err error) {
	file := s.parts.host.BootstrapIdentity
	if file == "" {
		return has, false, &server.Problem{
			Class: server.Refused, Text: "the host file names no file for a bootstrap identity (bootstrapIdentity); none was made",
			Hint: "add to its spec: bootstrapIdentity: FILE, start the server again, and run this once more",
		}
	}
	identities, err := s.identities()
	if err != nil || len(identities) == 0 {
		return has, false, err
	}
	how, err := s.temporary()
	return server.Enrollment{Recipient: identities[0].Public(), File: file, Until: how.until, Already: true}, true, err
}

// Prepare implements platform.Seeds.
func (s *seeds) Prepare(lasts time.Duration) (server.Enrollment, func() error, error) {
	file, now := s.parts.host.BootstrapIdentity, Now()
	identity, err := root.NewIdentity()
	if err != nil {
		return server.Enrollment{}, nil, err
	}
	how := temporary{now, now.Add(lasts).Truncate(time.Second)}
	return server.Enrollment{Recipient: identity.Public(), File: file, Until: how.until}, func() error {
		folder, err := durable.Open(filepath.Dir(file))
		if err != nil {
			return fmt.Errorf("opening the folder of the bootstrap identity: %w", err)
		}
		defer func() { _ = folder.Close() }()
		return folder.Create(filepath.Base(file), append([]byte(how.line()), identity.ExposeFile(now)...))
	}, nil
}
