// SPDX-License-Identifier: Apache-2.0

// Package accesskey has the shared code of upstreams whose credential is an access key that signs requests as AWS
// publishes it (Signature Version 4): the values, the server's clock, what may be shown of a refusal, and which run
// came last. It opens no connection.
package accesskey

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Fields of the values, the admin's included.
const (
	ID     = "accessKeyId"
	Secret = "secretAccessKey"
)

const (
	// SigningIn names in errors what Verify does.
	SigningIn = "signing in"
	// Lacking is said of a value that no request can be signed with.
	Lacking = "a credential needs the fields accessKeyId and secretAccessKey"
)

// AdminFields are those that an admin credential needs.
func AdminFields() []upstream.OneOf { return []upstream.OneOf{{ID}, {Secret}} }

// NextAdmin is the operator's move when no admin credential is honoured.
var NextAdmin = "create another access key for the admin and supply it for the secret that adminRef names: " + upstream.SupplyAdmin

// Whole reports whether v has both fields.
func Whole(v secret.Value) bool { return v.ExposeText(ID) != "" && v.ExposeText(Secret) != "" }

// Letters are what ids are made of.
const Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// Draw makes a text of letters, whose number must divide 256.
func Draw(random io.Reader, letters string, length int) (string, error) {
	drawn := make([]byte, length)
	if _, err := io.ReadFull(random, drawn); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	for i, b := range drawn {
		drawn[i] = letters[int(b)%len(letters)]
	}
	return string(drawn), nil
}

// With is v with another key; its other fields are kept.
func With(v secret.Value, id, text string) (secret.Value, error) {
	v, err := v.With(ID, []byte(id))
	if err != nil {
		return secret.Value{}, err
	}
	return v.With(Secret, []byte(text))
}

// Credentials are v for the SDK.
func Credentials(v secret.Value) aws.Credentials {
	return aws.Credentials{AccessKeyID: v.ExposeText(ID), SecretAccessKey: v.ExposeText(Secret)}
}

// Request is one to an interface beside S3's, signed with v as of a time. Its errors quote nothing.
func Request(ctx context.Context, v secret.Value, method, address, region string, body []byte, at time.Time) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("preparing the request failed")
	}
	digest := sha256.Sum256(body)
	sum := hex.EncodeToString(digest[:])
	request.Header.Set("X-Amz-Content-Sha256", sum)
	err = v4.NewSigner().SignHTTP(ctx, Credentials(v), request, sum, "s3", region, at, func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = true
	})
	if err != nil {
		return nil, errors.New("signing the request failed")
	}
	return request, nil
}

// Code is the name that a server gives an error; "" for what cannot be one, so that an answer puts no other words into a
// message.
func Code(text string) string {
	if len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.'
	}) {
		return ""
	}
	return text
}

// Admin finds the first of the admin's credentials that the server does not refuse. try asks with one: it returns what the
// server said of one that it refuses, and an error when it cannot tell, which ends it. Nothing has been changed when it
// fails.
func Admin(ctx context.Context, doing, everyRefused string, read func(context.Context) ([]secret.Value, error),
	try func(secret.Value) (refused string, err error),
) error {
	all, err := upstream.Admins(ctx, doing, read)
	if err != nil {
		return err
	}
	failure := &upstream.Error{Doing: doing, Class: upstream.ErrNotApplied, Detail: everyRefused, Next: NextAdmin}
	for _, v := range all {
		refused, err := try(v)
		if err != nil {
			return upstream.Unapplied(err)
		}
		if refused == "" {
			return nil
		}
		failure.Said = refused
	}
	return failure
}

// Clock is the server's, as far as it is known. It is safe for concurrent use, and not to be copied.
type Clock struct {
	// Own is the clock of this machine.
	Own   func() time.Time
	ahead atomic.Int64
}

// Now is the time by the server's clock.
func (c *Clock) Now() time.Time { return c.Own().Add(c.Ahead()) }

// Ahead is how far the server's clock was found to be ahead.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.ahead.Load()) }

// Set notes that it is date at the server.
func (c *Clock) Set(date time.Time) { c.ahead.Store(int64(date.Sub(c.Own()))) }
