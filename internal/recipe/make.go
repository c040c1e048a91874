// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/secret"

	"golang.org/x/crypto/ssh"
)

// Candidate makes what follows current, for kinds that do not issue. password draws one from random by the secret's own
// rule; v holds params.NAME, claim and now.
func (c *Compiled) Candidate(v Values, current secret.Value, random io.Reader, password func(io.Reader) (string, error)) (secret.Value, error) {
	made := current
	set := func(name, text string) (err error) {
		made, err = made.With(name, []byte(text))
		return err
	}
	for i, m := range c.Source.Make {
		switch {
		case m.Password != "":
			if password == nil {
				return secret.Value{}, errors.New("a password rule is needed")
			}
			drawn, err := password(random)
			if err != nil {
				return secret.Value{}, err
			}
			if err := set(m.Password, drawn); err != nil {
				return secret.Value{}, err
			}
		case m.SSH != nil:
			private, public, err := sshKey(random)
			if err != nil {
				return secret.Value{}, err
			}
			if err := errors.Join(set(m.SSH.Private, private), set(m.SSH.Public, public)); err != nil {
				return secret.Value{}, err
			}
		default:
			text, err := c.texts[i].fill(v.With(c.Fields("current", current)), nil)
			if err != nil {
				return secret.Value{}, err
			}
			if err := set(m.Text.Field, text); err != nil {
				return secret.Value{}, err
			}
		}
	}
	return made, nil
}

// sshKey makes an Ed25519 pair in OpenSSH's forms.
func sshKey(random io.Reader) (private, public string, err error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return "", "", fmt.Errorf("drawing a key: %w", err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", errors.New("writing the key in OpenSSH's form")
	}
	shared, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", "", errors.New("writing the public key in OpenSSH's form")
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(shared)), "\n"), nil
}

// Decoy makes a credential like v that was never given out.
func (c *Compiled) Decoy(v secret.Value, random io.Reader) (secret.Value, error) {
	for _, name := range slices.Sorted(maps.Keys(c.Source.Decoy)) {
		text := v.ExposeText(name)
		if text == "" {
			continue
		}
		other, err := "", error(nil)
		if rule := c.Source.Decoy[name]; rule.Key {
			other, err = otherKey(text)
		} else {
			other, err = another(random, text, rule.Keep)
		}
		if err != nil {
			return secret.Value{}, fmt.Errorf("field %s: %w", name, err)
		}
		if v, err = v.With(name, []byte(other)); err != nil {
			return secret.Value{}, err
		}
	}
	return v, nil
}

var (
	lowerHex = lazyregexp.New(`^[0-9a-f-]+$`)
	upperHex = lazyregexp.New(`^[0-9A-F-]+$`)
)

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	// minDrawn is how many characters a decoy must have that were drawn: fewer could be met by chance.
	minDrawn = 8
)

// another replaces letters and digits of text, from keep on, by others of their sort.
func another(random io.Reader, text string, keep int) (string, error) {
	keep = min(keep, len(text))
	head, tail := text[:keep], text[keep:]
	hex := ""
	if lowerHex.MatchString(tail) {
		hex = digits + "abcdef"
	} else if upperHex.MatchString(tail) {
		hex = digits + "ABCDEF"
	}
	var b strings.Builder
	drawn := 0
	for i := range len(tail) {
		from := ""
		switch c := tail[i]; {
		case c == '-':
		case hex != "":
			from = hex
		case strings.IndexByte(digits, c) >= 0:
			from = digits
		case strings.IndexByte(lower, c) >= 0:
			from = lower
		case strings.IndexByte(upper, c) >= 0:
			from = upper
		}
		if from == "" {
			b.WriteByte(tail[i])
			continue
		}
		n, err := rand.Int(random, big.NewInt(int64(len(from))))
		if err != nil {
			return "", fmt.Errorf("drawing a decoy: %w", err)
		}
		b.WriteByte(from[n.Int64()])
		drawn++
	}
	if other := b.String(); drawn >= minDrawn && other != tail {
		return head + other, nil
	}
	return "", fmt.Errorf("it has fewer than %d letters and digits that could be others", minDrawn)
}

// otherKey makes a private key of the sort that text has, PEM, PKCS #8.
func otherKey(text string) (string, error) {
	old, err := parseKey(text)
	if err != nil {
		return "", err
	}
	var fresh any
	switch old := old.(type) {
	case *rsa.PrivateKey:
		fresh, err = rsa.GenerateKey(rand.Reader, max(2048, min(old.N.BitLen(), 4096)))
	case *ecdsa.PrivateKey:
		fresh, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ed25519.PrivateKey:
		_, fresh, err = ed25519.GenerateKey(rand.Reader)
	default:
		return "", errors.New("unknown sort of key")
	}
	if err != nil {
		return "", errors.New("making a key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh)
	if err != nil {
		return "", errors.New("writing a key")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
