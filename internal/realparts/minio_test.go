// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"

	"custody.dev/custody/internal/realparts"
)

func TestMinIOLivesAndDies(t *testing.T) {
	server := realparts.MinIO(t, realparts.MinIOOptions{})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(server.CACertificate)) {
		t.Fatal("the server's authority is not PEM")
	}
	client := func(roots *x509.CertPool) *http.Client {
		return &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}}
	}
	ask := func(c *http.Client) error {
		response, err := c.Get(server.URL() + "/minio/health/live")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
	trusting := client(roots)
	if err := ask(trusting); err != nil {
		t.Errorf("asking over TLS: %v", err)
	}
	if err := ask(client(nil)); err == nil {
		t.Error("the server's certificate is the system's: TLS was not its own")
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(trusting); err == nil {
		t.Error("the server still answers")
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ask(trusting); err != nil {
		t.Errorf("asking after a restart: %v", err)
	}
}

func TestMinIONotInstalled(t *testing.T) {
	_, err := realparts.StartMinIO(t.Context(), t.TempDir(), realparts.MinIOOptions{Program: t.TempDir() + "/none"})
	if !errors.Is(err, realparts.ErrNoMinIO) || !strings.Contains(err.Error(), "tools/install-parts minio") {
		t.Errorf("got %v, want what to build", err)
	}
}
