// SPDX-License-Identifier: Apache-2.0

// Package oidc rotates clients of an OpenID provider by dynamic client registration (RFC 7591 and RFC 7592).
//
// # Modes
//
// There is one mode, dual. Apply registers a new client with the metadata in the estate, and returns its id and secret
// together. Revoke deletes the old client with its own registration access token. The standard does not promise that a
// secret can be rotated in place, so that is not tried.
//
// # Guaranteed
//
// Credentials are sent only to the issuer's host and to configured hosts; redirects are not followed. If the provider
// registers a client otherwise than requested (fewer grants or redirect URIs, another authentication method), the
// client is deleted again and the run gets an error. A client is deleted only with the registration access token that
// came with it or, through the provider's own list, if it has this secret's claim and the run's id. An answer 401 or
// 404 to a deletion is believed only if the token endpoint refuses the client too, and only after the settle time since
// a registration. If a client was registered and could not be deleted again, it is returned with the error.
//
// # Not guaranteed
//
// The standard has no list of clients. If the reply to a registration is lost, the client cannot be found, unless the
// provider has a list of its own (Collect). With Accept it stays registered and its name is reported; with Hold a
// person has to look for it. Nobody knows the secret of such a client. There is no place for a claim, and late calls
// are not refused: anybody with the initial access token can register clients, and a late call of a superseded run
// registers one too. The provider enforces no deadline; this client only stops waiting.
//
// # What the admin needs
//
// An initial access token, if registration is not open (field initialAccessToken); for Collect a bearer token that is
// allowed to list and delete clients (field clientsToken).
//
// # Cost
//
// Apply and Verify: two requests each, the first for the discovery document. Revoke: one, and two more if the provider
// does not confirm. Collect: one for each page of the list and each client removed. No connection is kept open between
// calls.
package oidc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/transport"
	"custody.dev/custody/internal/upstream"
)

// Orphans says what a lost reply to a registration means.
type Orphans string

const (
	// Hold: the run waits for a person.
	Hold Orphans = "hold"
	// Accept: another client is registered; the lost one stays, and its name is told.
	Accept Orphans = "accept"
	// Collect: the lost one is found in the provider's own list, and deleted.
	Collect Orphans = "collect"
)

// Marker says which of a client's metadata carries the run.
type Marker string

const (
	// ClientName: the name, which people may see.
	ClientName Marker = "clientName"
	// SoftwareVersion: software_version, which the provider must keep.
	SoftwareVersion Marker = "softwareVersion"
)

// Ways to authenticate at the token endpoint.
const (
	Basic = "client_secret_basic"
	Post  = "client_secret_post"
)

// Fields of the values.
const (
	FieldID          = "client_id"
	FieldSecret      = "client_secret"
	FieldManageToken = "registration_access_token"
	FieldManageURI   = "registration_client_uri"
	FieldAuthMethod  = "token_endpoint_auth_method"
	FieldGrantTypes  = "grant_types"
	// FieldExpires is when the provider lets the secret expire, RFC 3339; absent when it does not.
	FieldExpires = "expiresAt"
)

var ownFields = []string{FieldID, FieldSecret, FieldManageToken, FieldManageURI, FieldAuthMethod, FieldGrantTypes, FieldExpires}

// Fields of the admin credential.
const (
	AdminInitial = "initialAccessToken"
	AdminClients = "clientsToken"
)

// Grants by which Verify can tell a client that the provider honours.
const (
	grantClient  = "client_credentials"
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

const defaultCallDeadline = 20 * time.Second

// Client is what is registered.
type Client struct {
	Name                   string
	GrantTypes             []string
	ResponseTypes          []string
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	Scopes                 []string
	AuthMethod             string
	Contacts               []string
	URI                    string
}

// Config describes one secret's clients at one provider.
type Config struct {
	// Issuer is compared, letter by letter, with what the discovery document says.
	Issuer string
	// EndpointHosts may be sent credentials besides the issuer's host. With their port, where it is not the scheme's.
	EndpointHosts []string
	// CACertificate is PEM; default the system's.
	CACertificate string
	// Admin returns admin credentials in order of preference. Nil where registration is open.
	Admin   func(ctx context.Context) ([]secret.Value, error)
	Orphans Orphans
	// Clients is the address of the provider's own list, for Collect.
	Clients string
	Marker  Marker
	Client  Client
	// Settle is how long a change takes to show in every part of the provider.
	Settle time.Duration
	// Claim is whose clients these are: PLATFORM/ENVIRONMENT/SECRET.
	Claim string
	// Tell is called under Accept with what a client is marked with that may have been left registered. May be nil.
	Tell  func(ctx context.Context, marker string)
	Clock func() time.Time
	// CallDeadline bounds each call. Default 20 s.
	CallDeadline time.Duration
	// Random is drawn from for decoys and deliberately wrong grants. Default crypto/rand.Reader.
	Random io.Reader
}

// Upstream is one secret's clients. It is safe for concurrent use.
type Upstream struct {
	Config
	issuer *url.URL
	client *http.Client

	issued *upstream.Issued
}

var (
	_ upstream.Upstream = (*Upstream)(nil)
	_ upstream.Decoyer  = (*Upstream)(nil)
)

// New checks config. It does not connect. For Accept and Collect, Collecting gives the upstream its power to collect.
func New(config Config) (*Upstream, error) {
	u := &Upstream{Config: config}
	if err := u.prepare(); err != nil {
		return nil, fmt.Errorf("configuring oidc upstream: %w", err)
	}
	u.issued = upstream.NewIssued(u.Clock, u.Settle)
	return u, nil
}

func (u *Upstream) prepare() (err error) {
	if u.CallDeadline == 0 {
		u.CallDeadline = defaultCallDeadline
	}
	if u.Random == nil {
		u.Random = rand.Reader
	}
	if u.Marker == "" {
		u.Marker = ClientName
	}
	if u.Client.AuthMethod == "" {
		u.Client.AuthMethod = Basic
	}
	if len(u.Client.ResponseTypes) == 0 && slices.Contains(u.Client.GrantTypes, grantCode) {
		u.Client.ResponseTypes = []string{"code"}
	}
	if u.issuer, err = parseIssuer(u.Issuer); err != nil {
		return err
	}
	if u.client, err = transport.Client(u.CACertificate); err != nil {
		return err
	}
	return u.check()
}

func (u *Upstream) check() error {
	switch {
	case u.Clock == nil:
		return errors.New("a clock is needed")
	case u.CallDeadline < 0 || u.Settle < 0:
		return errors.New("the call deadline or the settle time is negative")
	case u.Claim == "":
		return errors.New("the claim must be PLATFORM/ENVIRONMENT/SECRET")
	case u.Orphans != Hold && u.Orphans != Accept && u.Orphans != Collect:
		return fmt.Errorf("orphans %q: want hold, accept or collect", u.Orphans)
	case u.Marker != ClientName && u.Marker != SoftwareVersion:
		return fmt.Errorf("marker %q: want clientName or softwareVersion", u.Marker)
	case (u.Clients != "") != (u.Orphans == Collect):
		return errors.New("the provider's list of clients belongs to orphans: collect")
	case u.Orphans == Collect && u.Admin == nil:
		return errors.New("the provider's list of clients wants an admin credential with the field clientsToken")
	case u.Client.AuthMethod != Basic && u.Client.AuthMethod != Post:
		return fmt.Errorf("authentication by %q: want client_secret_basic or client_secret_post", u.Client.AuthMethod)
	case u.Client.Name == "":
		return errors.New("a client name is needed")
	case probe(u.Client.GrantTypes) == "":
		return errors.New("one of the grants client_credentials, authorization_code, refresh_token and device_code is needed, otherwise Custody cannot test whether a client works")
	}
	if u.Clients != "" {
		if _, err := u.allowed(u.Clients); err != nil {
			return fmt.Errorf("the provider's list of clients: %w", err)
		}
	}
	return nil
}

// triable are the grants by which a client can be tried.
var triable = []string{grantClient, grantCode, grantRefresh, grantDevice}

// probe is the grant by which a client is tried: the first can succeed, the others are asked for with a grant that the
// provider never gave.
func probe(granted []string) string {
	for _, grant := range triable {
		if slices.Contains(granted, grant) {
			return grant
		}
	}
	return ""
}

// Kind describes the configured way.
func (u *Upstream) Kind() upstream.Kind {
	kind := upstream.Kind{
		Name: "oidc", Capability: upstream.Dual, Undo: upstream.Discard, LostReply: upstream.Reissue,
		Issues: true, Verifies: true, CallDeadline: u.CallDeadline, Settle: u.Settle,
	}
	if u.Orphans == Hold {
		kind.LostReply = upstream.Person
	}
	return kind
}

// Propose errors: the provider issues the credential.
func (u *Upstream) Propose(context.Context, secret.Value) (secret.Value, error) {
	return secret.Value{}, errors.New("proposing credential: the provider issues its clients")
}

// marker is what a client of run is marked with.
func (u *Upstream) marker(run authority.RunID) string {
	return "custody " + u.Claim + " " + string(run)
}

// Decoy returns v with another secret. The client stays the same, so that refusing it shows that the secret is looked at.
func (u *Upstream) Decoy(v secret.Value) (secret.Value, error) {
	for _, name := range []string{FieldSecret, FieldManageToken} {
		if !v.Has(name) {
			continue
		}
		text, err := u.random()
		if err == nil {
			v, err = v.With(name, []byte(text))
		}
		if err != nil {
			return secret.Value{}, fmt.Errorf("making decoy: %w", err)
		}
	}
	return v, nil
}

func (u *Upstream) random() (string, error) {
	raw := make([]byte, 32)
	if _, err := io.ReadFull(u.Random, raw); err != nil {
		return "", fmt.Errorf("reading randomness: %w", err)
	}
	return hex.EncodeToString(raw), nil
}

// Revoke deletes old's client. One that is gone already is no error, if the provider refuses its credential.
func (u *Upstream) Revoke(ctx context.Context, _ authority.RunID, old, successor secret.Value) error {
	const doing = "revoking credential"
	id := old.ExposeText(FieldID)
	switch {
	case id == "":
		return upstream.NotApplied(doing, "the old credential has no client_id")
	case id == successor.ExposeText(FieldID):
		return upstream.NotApplied(doing, "the old credential and its successor are one client")
	}
	ctx, cancel := context.WithTimeout(ctx, u.CallDeadline)
	defer cancel()
	return u.remove(ctx, doing, old)
}

func without(fields []string, v secret.Value) map[string][]byte {
	kept := map[string][]byte{}
	for _, name := range v.Names() {
		if !slices.Contains(fields, name) {
			kept[name] = v.Expose(name)
		}
	}
	return kept
}
