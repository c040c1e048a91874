// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/api/v1alpha1"
)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestCertificates(t *testing.T) {
	good := certificate(t)
	garbled := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	other := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("no certificate")})
	for _, c := range []struct {
		name string
		text []byte
		want bool
	}{
		{"one", good, true},
		{"two", append(bytes.Clone(good), good...), true},
		{"none", []byte(" "), false},
		{"text", []byte("certificate"), false},
		{"garbled", garbled, false},
		{"another type", append(bytes.Clone(good), other...), false},
		{"text behind", append(bytes.Clone(good), "more"...), false},
	} {
		if got := certificates(string(c.text)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestLimitOfFileSize holds the loader to exactly 1 MiB.
func TestLimitOfFileSize(t *testing.T) {
	for size, want := range map[int]bool{maxFile: false, maxFile + 1: true} {
		filler := "#" + strings.Repeat("x", size-1)
		_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(filler)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := faults[0].Rule == "file-too-large"; got != want {
			t.Errorf("%d bytes: too large %v, want %v (%v)", size, got, want, faults)
		}
	}
}

// TestFaultsOfEveryEnvironment finds a fault that only the merged whole of one environment has, and says which.
func TestFaultsOfEveryEnvironment(t *testing.T) {
	dir := newStage(t).set(t, "testdata/broken/override-merged-chosen")
	for environment, want := range map[string][]string{
		"":     {"expires-form (in environment dev)", "policy-dangling (in environment prod)"},
		"dev":  {"expires-form"},
		"prod": {"policy-dangling"},
	} {
		_, faults, err := Load(dir+"/estate", Options{Environment: environment})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range faults {
			_, suffix, found := strings.Cut(f.Reason, " (in")
			if found {
				f.Rule += " (in" + suffix
			}
			got = append(got, f.Rule)
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("environment %q: got %q, want %q", environment, got, want)
		}
	}
}

func TestAccessorsWithoutAnswer(t *testing.T) {
	e := good(t, newStage(t).set(t, "testdata/good"), Options{})
	signing := e.Secrets["app-signing"]
	if _, ok := e.UpstreamOf(signing); ok {
		t.Error("an upstream for a secret without one")
	}
	if _, ok := e.BootstrapOf(signing); ok {
		t.Error("a bootstrap document for a generated secret")
	}
	if _, ok := e.AdminOf(v1alpha1.Upstream{}); ok {
		t.Error("an admin for an upstream without a type")
	}
	if _, ok := e.ByName("nobody"); ok {
		t.Error("a secret for an unknown name")
	}
	if _, ok := FindRule("nothing"); ok {
		t.Error("a rule for an unknown id")
	}
	if got := e.PolicyOf(e.Secrets["db-admin"]); got.Name != "on-event" || got.RevokeOld || got.FailureStrategy != Hold {
		t.Errorf("policy %+v", got)
	}
}
