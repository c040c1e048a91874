// SPDX-License-Identifier: Apache-2.0

package event

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// Window is how far the time of a delivery may be from this machine's: longer ago, it may be one that was recorded and is sent
	// again by somebody else. Senders sign each attempt anew.
	Window = 5 * time.Minute

	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"

	headerGitHubKey       = "Github-Public-Key-Identifier"
	headerGitHubSignature = "Github-Public-Key-Signature"
)

var (
	// ErrUnsigned: nobody who knows the key sent it.
	ErrUnsigned = errors.New("its signature is of an unknown kind, or invalid")
	// ErrStale: it is signed, and its time is not within Window.
	ErrStale = fmt.Errorf("its timestamp is more than %s from the time of this machine", Window)
)

// Standard computes the signature of Standard Webhooks: HMAC-SHA256 of the delivery's id, its timestamp and its body.
type Standard struct {
	hash.Hash

	header http.Header
}

// NewStandard returns the computation for a delivery with that header; its body is to be written to it. A key of the form whsec_… is
// decoded.
func NewStandard(header http.Header, key []byte) Standard {
	if encoded, is := strings.CutPrefix(string(key), "whsec_"); is {
		if decoded, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			key = decoded
		}
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.", header.Get(headerID), header.Get(headerTimestamp))
	return Standard{mac, header}
}

// Holds reports whether one of the delivery's signatures is right, once its body was written. The time is not looked at.
func (s Standard) Holds() bool {
	sum := s.Sum(nil)
	for given := range strings.FieldsSeq(s.header.Get(headerSignature)) {
		encoded, is := strings.CutPrefix(given, "v1,")
		if decoded, err := base64.StdEncoding.DecodeString(encoded); is && err == nil && hmac.Equal(decoded, sum) {
			return true
		}
	}
	return false
}

// shared checks a delivery of a sender that knows the key, and returns its id.
func shared(header http.Header, body, key []byte, now time.Time) (id string, err error) {
	signed := NewStandard(header, key)
	_, _ = signed.Write(body)
	id = header.Get(headerID)
	if len(key) == 0 || id == "" || !signed.Holds() {
		return "", ErrUnsigned
	}
	seconds, err := strconv.ParseInt(header.Get(headerTimestamp), 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > Window {
		return "", ErrStale
	}
	return id, nil
}

// PublicKey reads the public key of a sender: ECDSA on P-256, in PEM.
func PublicKey(text string) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a public key in PKIX form")
	}
	key, is := parsed.(*ecdsa.PublicKey)
	if !is || key.Curve != elliptic.P256() {
		return nil, errors.New("it is not an ECDSA key on P-256")
	}
	return key, nil
}

// published checks a delivery of a sender that signs with one of its published keys.
func published(header http.Header, body []byte, keys map[string]*ecdsa.PublicKey) error {
	key := keys[header.Get(headerGitHubKey)]
	signature, err := base64.StdEncoding.DecodeString(header.Get(headerGitHubSignature))
	sum := sha256.Sum256(body)
	if key == nil || err != nil || !ecdsa.VerifyASN1(key, sum[:], signature) {
		return ErrUnsigned
	}
	return nil
}
