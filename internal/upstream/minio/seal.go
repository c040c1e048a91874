// SPDX-License-Identifier: Apache-2.0

package minio

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/secure-io/sio-go"
	"golang.org/x/crypto/argon2"
)

// A sealed message of the admin interface is 32 bytes of salt, one that names the cipher, 8 of nonce, and a stream of
// chunks of 16 KiB. The key is derived from the salt and the secret key of whoever signed the request.
const (
	saltBytes  = 32
	nonceBytes = 8

	cipherAES    = 0x00 // AES-256-GCM
	cipherChaCha = 0x01 // ChaCha20-Poly1305

	argonPasses  = 1
	argonKiB     = 64 << 10
	argonThreads = 4
	keyBytes     = 32
)

func derive(secretKey string, salt []byte) []byte {
	return argon2.IDKey([]byte(secretKey), salt, argonPasses, argonKiB, argonThreads, keyBytes)
}

// seal encrypts a message for the server.
func seal(random io.Reader, secretKey string, message []byte) ([]byte, error) {
	header := make([]byte, saltBytes+1+nonceBytes)
	if _, err := io.ReadFull(random, header); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	header[saltBytes] = cipherAES
	stream, err := sio.AES_256_GCM.Stream(derive(secretKey, header[:saltBytes]))
	if err != nil {
		return nil, errors.New("preparing encryption failed")
	}
	sealed := bytes.NewBuffer(header)
	writer := stream.EncryptWriter(sealed, header[saltBytes+1:], nil)
	if _, err := writer.Write(message); err != nil {
		return nil, errors.New("encrypting failed")
	}
	if err := writer.Close(); err != nil {
		return nil, errors.New("encrypting failed")
	}
	return sealed.Bytes(), nil
}

var errSealed = errors.New("the server's answer is not sealed in a form that is known, or not for this credential")

// open decrypts what the server sealed.
func open(secretKey string, sealed []byte) ([]byte, error) {
	if len(sealed) < saltBytes+1+nonceBytes {
		return nil, errSealed
	}
	algorithm := sio.AES_256_GCM
	switch sealed[saltBytes] {
	case cipherAES:
	case cipherChaCha:
		algorithm = sio.ChaCha20Poly1305
	default:
		return nil, errSealed
	}
	stream, err := algorithm.Stream(derive(secretKey, sealed[:saltBytes]))
	if err != nil {
		return nil, errSealed
	}
	body := sealed[saltBytes+1:]
	message, err := io.ReadAll(stream.DecryptReader(bytes.NewReader(body[nonceBytes:]), body[:nonceBytes], nil))
	if err != nil {
		return nil, errSealed
	}
	return message, nil
}
