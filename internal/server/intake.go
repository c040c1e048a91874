// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"net/url"

	"custody.dev/custody/internal/authority"
)

// IntakeKey is the public key that new values for a platform are sealed to.
type IntakeKey struct {
	Key string `json:"key"`
	// Made: this call made it.
	Made bool `json:"made,omitempty"`
}

// sealedValue is a file of package intake.
type sealedValue struct {
	Reason string `json:"reason"`
	File   []byte `json:"file"`
}

func (m *routes) intake(service Service) {
	m.HandleFunc("POST /v1/intake", func(w http.ResponseWriter, r *http.Request) {
		key, err := service.IntakeKey(r.Context(), caller(r))
		answer(w, key, err)
	})
	m.HandleFunc("POST /v1/secrets/{secret}/supply-sealed", func(w http.ResponseWriter, r *http.Request) {
		var ask sealedValue
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var run authority.RunID
		if err == nil {
			run, err = service.SupplySealed(r.Context(), caller(r), r.PathValue("secret"), ask.Reason, ask.File)
		}
		answer(w, run, err)
	})
}

// IntakeKey returns the public intake key, which the first call makes.
func (c *Client) IntakeKey(ctx context.Context) (key IntakeKey, err error) {
	return key, c.post(ctx, "/v1/intake", struct{}{}, &key)
}

// SupplySealed hands in a sealed value of a secret, and returns the run that takes it.
func (c *Client) SupplySealed(ctx context.Context, secretName, reason string, file []byte) (run authority.RunID, err error) {
	return run, c.post(ctx, "/v1/secrets/"+url.PathEscape(secretName)+"/supply-sealed", sealedValue{reason, file}, &run)
}
