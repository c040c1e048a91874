// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"custody.dev/custody/internal/authority"
)

const (
	// ServerName is what the server's certificate says, whatever address it is reached at: an agent knows its platform by the
	// certificate authority alone.
	ServerName = "custody-server"
	// Lifetime of an agent's certificate. An agent that was away for longer is invited again.
	Lifetime = 7 * 24 * time.Hour
	// authorityLifetime is longer than anybody keeps a platform.
	authorityLifetime = 30 * 365 * 24 * time.Hour
	// early is how long before now a certificate begins, for clocks that differ.
	early = time.Hour
)

// kept is the certificate authority as the authority (secrets store) keeps it.
type kept struct {
	Schema      int    `json:"schema"`
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// issuer signs certificates.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	random      io.Reader
}

// issuer loads the platform's certificate authority, and makes it when there is none.
func (b *Book) issuer(ctx context.Context) (*issuer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.issues != nil {
		return b.issues, nil
	}
	held, err := b.Records.Get(ctx, authorityKey)
	if errors.Is(err, authority.ErrNotFound) {
		var made []byte
		if made, err = newAuthority(b.Random, b.Now()); err != nil {
			return nil, err
		}
		_, err = b.Records.Put(ctx, authorityKey, 0, made)
		held.Data = made
	}
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority of agents: %w", err)
	}
	issues, err := issuerOf(held.Data, b.Random)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority of agents: %w", err)
	}
	b.issues = issues
	return issues, nil
}

func newAuthority(random io.Reader, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := serial(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "agents of custody"}, NotBefore: now.Add(-early), NotAfter: now.Add(authorityLifetime),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	certificate, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(kept{schema, certificate, private})
}

func issuerOf(data []byte, random io.Reader) (*issuer, error) {
	var held kept
	if err := json.Unmarshal(data, &held); err != nil || held.Schema != schema {
		return nil, fmt.Errorf("it is damaged, or was written by a newer custody (schema %d)", held.Schema)
	}
	certificate, err := x509.ParseCertificate(held.Certificate)
	if err != nil {
		return nil, errors.New("its certificate is damaged")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(held.Key)
	key, is := parsed.(*ecdsa.PrivateKey)
	if err != nil || !is {
		return nil, errors.New("its key is damaged")
	}
	return &issuer{certificate, key, random}, nil
}

// serial is a random number of 127 bits.
func serial(random io.Reader) (*big.Int, error) {
	digits := make([]byte, 16)
	if _, err := io.ReadFull(random, digits); err != nil {
		return nil, err
	}
	digits[0] &= 0x7f
	return new(big.Int).SetBytes(digits), nil
}

// machine issues a certificate for the key of a machine's agent, in DER.
func (i *issuer) machine(name string, key any, now time.Time) ([]byte, time.Time, error) {
	number, err := serial(i.random)
	if err != nil {
		return nil, time.Time{}, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-early), NotAfter: now.Add(Lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	made, err := x509.CreateCertificate(i.random, template, i.certificate, key, i.key)
	return made, template.NotAfter, err
}

// server makes a key and a certificate for this process. It is as long valid as the authority is: an agent with a wrong clock must still
// reach the server, and whoever has this key has the authority's too.
func (i *issuer) server() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), i.random)
	if err != nil {
		return tls.Certificate{}, err
	}
	number, err := serial(i.random)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: ServerName}, DNSNames: []string{ServerName},
		NotBefore: i.certificate.NotBefore, NotAfter: i.certificate.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	made, err := x509.CreateCertificate(i.random, template, i.certificate, key.Public(), i.key)
	return tls.Certificate{Certificate: [][]byte{made, i.certificate.Raw}, PrivateKey: key}, err
}

// Fingerprint identifies a certificate authority in a token: the SHA-256 of its certificate, in hexadecimal.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// keyDigest identifies a public key on record.
func keyDigest(key any) (string, error) {
	encoded, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", errors.New("the key of the request is of a kind that is not known")
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}
