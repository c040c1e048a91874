// SPDX-License-Identifier: Apache-2.0

// Package generated generates values by a rule, for secrets that no other system checks: signing keys, session keys,
// passwords that only your own programs share.
//
// Guaranteed: each password and token is drawn without bias from the given reader, and a password has at least one
// character of each requested class; fields of the current value that the rule does not name are kept. Not guaranteed:
// that any system accepts or refuses the value. Nothing outside is changed, so Verify always accepts (Kind.Verifies is
// false) and Revoke has nothing to do. A call does no I/O; generating an RSA key takes up to some seconds of CPU time.
//
// Forms: ed25519 and rsa write the private key as PEM ("PRIVATE KEY", PKCS #8) into the rule's field and the public key
// as PEM ("PUBLIC KEY", PKIX) into FIELD.pub. The OpenSSH form is not available; ssh-keygen -i -m PKCS8 converts the
// public key.
package generated

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// Rule types.
const (
	typePassword = "password"
	typeToken    = "token"
	typeEd25519  = "ed25519"
	typeRSA      = "rsa"
)

const (
	defaultLength = 32
	maxLength     = 4096
	defaultBits   = 3072
	publicSuffix  = ".pub"
)

// Upstream proposes values by one rule.
type Upstream struct {
	rule   v1alpha1.GenerateRule
	random io.Reader
}

var _ upstream.Upstream = (*Upstream)(nil)

// New checks rule and returns an Upstream that draws from random; nil means crypto/rand.Reader. RSA keys always use the
// system's randomness.
func New(rule v1alpha1.GenerateRule, random io.Reader) (*Upstream, error) {
	if random == nil {
		random = rand.Reader
	}
	if err := Check(rule); err != nil {
		return nil, err
	}
	if rule.Field == "" {
		rule.Field = secret.SingleField
	}
	return &Upstream{rule: rule, random: random}, nil
}

// Check reports what is wrong with rule, nil when nothing is.
func Check(rule v1alpha1.GenerateRule) error {
	if rule.Length < 0 || rule.Length > maxLength {
		return fmt.Errorf("checking generate rule: length %d is not between 1 and %d", rule.Length, maxLength)
	}
	switch rule.Type {
	case typePassword:
		_, err := alphabets(rule)
		return err
	case typeToken:
		if rule.Encoding != "" && rule.Encoding != "base64url" && rule.Encoding != "hex" {
			return fmt.Errorf("checking generate rule: encoding %q: want base64url or hex", rule.Encoding)
		}
	case typeEd25519:
	case typeRSA:
		switch rule.Bits {
		case 0, 2048, 3072, 4096:
		default:
			return fmt.Errorf("checking generate rule: %d bits: want 2048, 3072 or 4096", rule.Bits)
		}
	default:
		return fmt.Errorf("checking generate rule: type %q: want password, token, ed25519 or rsa", rule.Type)
	}
	return nil
}

// Kind says that values are made here, cost nothing to discard, and are checked by nobody.
func (u *Upstream) Kind() upstream.Kind {
	return upstream.Kind{
		Name:         "generated",
		Capability:   upstream.Dual,
		Undo:         upstream.Discard,
		LostReply:    upstream.Recover,
		CallDeadline: time.Second, // nothing outside is called
	}
}

// Propose makes a new value by the rule. Fields of current that the rule does not write are kept.
func (u *Upstream) Propose(ctx context.Context, current secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("generating value: %w", err)
	}
	fields, err := u.generate()
	if err != nil {
		return secret.Value{}, err
	}
	v := current
	for name, data := range fields {
		if v, err = v.With(name, data); err != nil {
			return secret.Value{}, fmt.Errorf("generating value: %w", err)
		}
	}
	return v, nil
}

// Apply returns candidate: there is nothing outside to change.
func (u *Upstream) Apply(ctx context.Context, _ authority.RunID, _, candidate secret.Value) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("%w: %w", upstream.ErrNotApplied, err)
	}
	return candidate, nil
}

// Verify accepts everything, since nothing checks the value.
func (u *Upstream) Verify(context.Context, secret.Value) (upstream.Verdict, error) {
	return upstream.Accepted, nil
}

// Revoke does nothing, since nothing honours the value.
func (u *Upstream) Revoke(context.Context, authority.RunID, secret.Value, secret.Value) error {
	return nil
}

func (u *Upstream) generate() (map[string][]byte, error) {
	field := u.rule.Field
	switch u.rule.Type {
	case typePassword:
		password, err := Password(u.random, u.rule)
		return map[string][]byte{field: []byte(password)}, err
	case typeToken:
		token, err := token(u.random, u.rule)
		return map[string][]byte{field: []byte(token)}, err
	case typeEd25519:
		seed := make([]byte, ed25519.SeedSize)
		if _, err := io.ReadFull(u.random, seed); err != nil {
			return nil, fmt.Errorf("reading randomness: %w", err)
		}
		key := ed25519.NewKeyFromSeed(seed)
		return pair(field, key, key.Public())
	case typeRSA:
		bits := u.rule.Bits
		if bits == 0 {
			bits = defaultBits
		}
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, errors.New("generating RSA key failed")
		}
		return pair(field, key, key.Public())
	}
	return nil, fmt.Errorf("generating value: type %q is unknown", u.rule.Type)
}

func pair(field string, private, public any) (map[string][]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("encoding private key failed")
	}
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	return map[string][]byte{
		field:                pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		field + publicSuffix: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
	}, nil
}

func token(random io.Reader, rule v1alpha1.GenerateRule) (string, error) {
	raw := make([]byte, lengthOf(rule))
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	if rule.Encoding == "hex" {
		return hex.EncodeToString(raw), nil
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

func lengthOf(rule v1alpha1.GenerateRule) int {
	if rule.Length == 0 {
		return defaultLength
	}
	return rule.Length
}
