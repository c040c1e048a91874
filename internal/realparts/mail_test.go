// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
)

func TestMailServerLivesAndDies(t *testing.T) {
	for name, postfix := range map[string]bool{"dovecot": false, "postfix": true} {
		t.Run(name, func(t *testing.T) {
			if postfix && os.Geteuid() != 0 {
				return // postfix runs as root alone; dovecot's own service is what others test with
			}
			server := realparts.MailServer(t, realparts.MailOptions{
				Postfix: postfix, Passdbs: "passdb {\n  driver = passwd-file\n  args = DIR/users\n}\n",
			})
			if err := os.WriteFile(server.File("users"), []byte("app:{PLAIN}right::::::\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, again := range []bool{false, true} {
				if again {
					for range 2 {
						if err := server.Stop(); err != nil {
							t.Fatal(err)
						}
					}
					if err := signIn(server, "right"); err == nil {
						t.Error("the server still answers")
					}
					if err := server.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := signIn(server, "right"); err != nil {
					t.Errorf("%v: %s", err, server.Log())
				}
				if err := signIn(server, "wrong"); err == nil || !strings.HasPrefix(err.Error(), "535") {
					t.Errorf("a wrong password: got %v, want 535", err)
				}
			}
		})
	}
}

func signIn(server *realparts.Mail, password string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(server.CA))
	client, err := smtp.Dial(fmt.Sprintf("%s:%d", server.Host, server.Port))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.StartTLS(&tls.Config{ServerName: server.Host, RootCAs: roots}); err != nil {
		return err
	}
	return client.Auth(smtp.PlainAuth("", "app", password, server.Host))
}

func TestDovecotNotInstalled(t *testing.T) {
	_, err := realparts.StartMail(t.Context(), t.TempDir(), realparts.MailOptions{Bin: os.DevNull})
	if !errors.Is(err, realparts.ErrNoDovecot) || !strings.Contains(err.Error(), "dovecot-core") {
		t.Errorf("got %v, want what to install", err)
	}
}
