// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/accesskey"
	"custody.dev/custody/internal/upstream/upstreamtest"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-io/sio-go"
)

func valid() Config {
	return Config{
		Server: Server{Endpoint: "https://minio.example.com:9000"}, User: "orders", Claim: "shop/test/orders-bucket", Clock: time.Now,
		Admin:       upstreamtest.Admins(),
		NewPassword: func(io.Reader) (string, error) { return "made-by-rule", nil },
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		ok     bool
	}{
		{"as it should be", func(*Config) {}, true},
		{"loopback without TLS", func(c *Config) { c.Server.Endpoint = "http://[::1]:9000/" }, true},
		{"policy", func(c *Config) { c.Policy = `{"Statement": [{}]}` }, true},
		{"elsewhere without TLS", func(c *Config) { c.Server.Endpoint = "http://minio.example.com" }, false},
		{"endpoint with a path", func(c *Config) { c.Server.Endpoint = "https://minio.example.com/bucket" }, false},
		{"endpoint with a user", func(c *Config) { c.Server.Endpoint = "https://a:b@minio.example.com" }, false},
		{"endpoint that is none", func(c *Config) { c.Server.Endpoint = "minio.example.com:9000" }, false},
		{"CA that is none", func(c *Config) { c.Server.CACertificate = "none" }, false},
		{"no admin", func(c *Config) { c.Admin = nil }, false},
		{"no clock", func(c *Config) { c.Clock = nil }, false},
		{"no rule", func(c *Config) { c.NewPassword = nil }, false},
		{"no user", func(c *Config) { c.User = "" }, false},
		{"no claim", func(c *Config) { c.Claim = "" }, false},
		{"claim of two words", func(c *Config) { c.Claim = "shop test" }, false},
		{"claim without end", func(c *Config) { c.Claim = strings.Repeat("c", 161) }, false},
		{"policy that is none", func(c *Config) { c.Policy = `{}` }, false},
		{"policy with more behind it", func(c *Config) { c.Policy = `{"Statement": [{}]} {}` }, false},
		{"policy without end", func(c *Config) { c.Policy = `{"Statement": [{"Sid": "` + strings.Repeat("s", maxPolicy) + `"}]}` }, false},
		{"deadline longer than requests are valid", func(c *Config) { c.CallDeadline = 15 * time.Minute }, false},
		{"negative time", func(c *Config) { c.Settle = -1 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := valid()
			test.change(&config)
			if _, err := New(config); (err == nil) != test.ok {
				t.Errorf("got %v, want accepted: %v", err, test.ok)
			}
		})
	}
}

func TestSealedMessagesOpen(t *testing.T) {
	for _, size := range []int{0, 1, 16<<10 - 1, 16 << 10, 40_000} {
		message := bytes.Repeat([]byte("m"), size)
		sealed, err := seal(rand.Reader, "the-secret", message)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := open("the-secret", sealed)
		if err != nil || !bytes.Equal(opened, message) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if bytes.Contains(sealed, []byte("mmmmmmmm")) {
			t.Errorf("%d bytes: the message shows", size)
		}
	}
	sealed, err := seal(rand.Reader, "the-secret", []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, saltBytes, saltBytes + 1, len(sealed) - 1} {
		changed := bytes.Clone(sealed)
		changed[at] ^= 2
		if _, err := open("the-secret", changed); !errors.Is(err, errSealed) {
			t.Errorf("byte %d changed: got %v, want errSealed", at, err)
		}
	}
	for _, short := range [][]byte{nil, sealed[:saltBytes], sealed[:saltBytes+1+nonceBytes], sealed[:len(sealed)-1]} {
		if _, err := open("the-secret", short); !errors.Is(err, errSealed) {
			t.Errorf("%d bytes of it: got %v, want errSealed", len(short), err)
		}
	}
	if _, err := open("another-secret", sealed); !errors.Is(err, errSealed) {
		t.Errorf("by another secret: got %v, want errSealed", err)
	}
	if _, err := seal(bytes.NewReader(nil), "the-secret", nil); err == nil {
		t.Error("without randomness: got no error")
	}
}

// Servers on processors without AES seal with ChaCha20-Poly1305.
func TestOtherCipherOpens(t *testing.T) {
	header := make([]byte, saltBytes+1+nonceBytes)
	header[saltBytes] = cipherChaCha
	stream, err := sio.ChaCha20Poly1305.Stream(derive("the-secret", header[:saltBytes]))
	if err != nil {
		t.Fatal(err)
	}
	sealed := bytes.NewBuffer(header)
	writer := stream.EncryptWriter(sealed, header[saltBytes+1:], nil)
	if _, err := writer.Write([]byte("message")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := open("the-secret", sealed.Bytes()); err != nil || string(got) != "message" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMarkerRemembersSupersededRuns(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	const runs = 12
	run := func(i int) authority.RunID { return authority.RunID(fmt.Sprintf("0190a1b2-c3d4-7e5f-8a9b-%012d", i)) }
	c := &call{u: u, doing: "testing", accounts: []account{{Description: "a person's words"}, {Description: "custody/1 other/claim/x run-9 99"}}}
	for i := range runs {
		for range 2 { // the second time, it is the current run already
			m, err := c.supersede(run(i))
			if err != nil {
				t.Fatal(err)
			}
			text := m.encode()
			if len(text) > maxDescription {
				t.Fatalf("the description has %d characters", len(text))
			}
			read, own := parseMarker(text)
			if !own || read.Claim != u.Claim || read.Run != run(i) || read.Sequence != uint64(i+1) {
				t.Fatalf("read back: got %+v", read)
			}
			c.accounts = append(c.accounts, account{Description: text})
		}
	}
	for i := runs - 6; i < runs-1; i++ {
		if _, err := c.supersede(run(i)); !errors.Is(err, upstream.ErrSuperseded) {
			t.Errorf("run %d, superseded: got %v", i, err)
		}
	}
}

func TestForeignDescriptions(t *testing.T) {
	for description, claims := range map[string]bool{
		"": false, "a person's words": false, "custody": false, "custody/1": true, "custody/1 claim run": true, "custody/1 claim run x": true,
		"custody/2 claim run 1": true, "custody/1  run 1": true, "custody/1 claim run 1 a,b more": true,
	} {
		if _, own := parseMarker(description); own {
			t.Errorf("%q is taken for Custody's own", description)
		}
		if got := claimed(description); got != claims {
			t.Errorf("%q claimed: got %v, want %v", description, got, claims)
		}
	}
}

func TestProposeKeepsOtherFields(t *testing.T) {
	u, err := New(valid())
	if err != nil {
		t.Fatal(err)
	}
	v, err := u.Propose(t.Context(), upstreamtest.Value(t, map[string]string{"endpoint": "https://minio.example.com", accesskey.ID: "OLD"}))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{v.ExposeText("endpoint"), v.ExposeText(accesskey.Secret), fmt.Sprint(len(v.ExposeText(accesskey.ID)))}
	if diff := cmp.Diff([]string{"https://minio.example.com", "made-by-rule", "20"}, got); diff != "" {
		t.Errorf("proposal (-want +got):\n%s", diff)
	}
}

func TestPageShowsTheRightsThatAreTested(t *testing.T) {
	squeeze := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	if !strings.Contains(squeeze(describe()[0].Page), squeeze(leastRights)) {
		t.Error("the page does not show the policy that the tests use")
	}
}
