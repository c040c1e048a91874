// SPDX-License-Identifier: Apache-2.0

// Package event reads signed webhooks of other systems: requests to rotate a secret, and reports that it is compromised or expires
// soon.
//
// Guaranteed: nothing in a delivery is used before its signature is verified, and no text in an event contains control characters of
// a terminal. A token in a report is a secret.Value as soon as it is decoded. Not guaranteed: that a delivery is new. A repeated
// delivery has the same ID, and the caller has to ignore it.
//
// Cost: one HMAC or one ECDSA verification, and decoding a body of MaxBody at most.
package event

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/secret"
)

// MaxBody bounds a delivery, in bytes: partners of GitHub get several tokens in one.
const MaxBody = 256 << 10

// The kinds of webhook.
const (
	// Generic is a JSON object of Custody's own.
	Generic = "generic"
	// CloudEvents is an event in the structured mode of the HTTP binding, with the object of Generic as its data.
	CloudEvents = "cloudevents"
	// GitHub is the format in which GitHub tells partners of tokens that secret scanning found.
	GitHub = "github-secret-scanning"
)

// Kinds are all of them.
func Kinds() []string { return []string{Generic, CloudEvents, GitHub} }

// What can be asked for.
const (
	// Rotate: a new version, as a person asks for one.
	Rotate = "rotate"
	// Compromise: somebody else may have the credential.
	Compromise = "compromise"
	// Expiry: the credential ends soon, by what its issuer says.
	Expiry = "expiry"
)

// Asks are all of them.
func Asks() []string { return []string{Rotate, Compromise, Expiry} }

const (
	// maxReports bounds how much one delivery asks for.
	maxReports = 100
	maxText    = 500
	// TokenField is the field of Report.Token.
	TokenField = "token"
)

// ErrMalformed: it is signed, and says nothing that can be done.
var ErrMalformed = errors.New("malformed delivery")

// Report is one thing that a delivery asks for.
type Report struct {
	Ask string
	// Secret is the name of the secret, "" where Token tells.
	Secret string
	// Token is the credential that was found, empty where the report names the secret.
	Token  secret.Value
	Reason string
}

// Delivery is what was sent.
type Delivery struct {
	// ID is the sender's name for it, the same each time it is sent, in a form that a request's id can have.
	ID      string
	Reports []Report
}

// Sender is how the deliveries of one webhook are proved and read.
type Sender struct {
	Kind string
	// Key is what a sender of Generic and CloudEvents signs with.
	Key secret.Value
	// KeyField is the field of Key.
	KeyField string
	// PublicKeys are those of a sender of GitHub, by their identifiers.
	PublicKeys map[string]*ecdsa.PublicKey
}

// Read proves a delivery and reads it. Errors: ErrUnsigned, ErrStale and ErrMalformed.
func (s Sender) Read(header http.Header, body []byte, now time.Time) (Delivery, error) {
	if s.Kind == GitHub {
		if err := published(header, body, s.PublicKeys); err != nil {
			return Delivery{}, err
		}
		sum := sha256.Sum256(body)
		reports, err := tokens(body)
		return Delivery{hex.EncodeToString(sum[:]), reports}, err
	}
	key := bytes.TrimSpace([]byte(s.Key.ExposeText(s.KeyField)))
	id, err := shared(header, body, key, now)
	if err != nil {
		return Delivery{}, err
	}
	if s.Kind == CloudEvents {
		return cloud(header, body)
	}
	reports, err := object(body, "")
	return Delivery{digest("id", id), reports}, err
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// told is the object of Generic.
type told struct {
	Ask       string    `json:"ask"`
	Secret    string    `json:"secret"`
	Secrets   []string  `json:"secrets"`
	Reason    string    `json:"reason"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// object reads the object of Generic. ask is what is asked for where something else says it.
func object(body []byte, ask string) ([]Report, error) {
	var said told
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&said); err != nil {
		return nil, fmt.Errorf(`%w: it is not an object such as {"ask":"rotate","secret":"NAME","reason":"TEXT"}`, ErrMalformed) // what cannot be decoded is not repeated
	}
	if ask == "" {
		ask = said.Ask
	}
	names := said.Secrets
	if said.Secret != "" {
		names = append([]string{said.Secret}, names...)
	}
	reason := Text(said.Reason)
	switch {
	case ask != Rotate && ask != Compromise && ask != Expiry:
		return nil, fmt.Errorf("%w: ask is none of %s", ErrMalformed, strings.Join(Asks(), ", "))
	case len(names) == 0:
		return nil, fmt.Errorf("%w: it names no secret", ErrMalformed)
	case len(names) > maxReports:
		return nil, fmt.Errorf("%w: it names more than %d secrets", ErrMalformed, maxReports)
	case ask == Expiry && said.ExpiresAt.IsZero():
		return nil, fmt.Errorf("%w: a notice of expiry needs expiresAt", ErrMalformed)
	case ask == Expiry:
		reason = strings.TrimSuffix("it ends "+said.ExpiresAt.UTC().Format(time.RFC3339)+": "+reason, ": ")
	case reason == "":
		return nil, fmt.Errorf("%w: the reason is missing", ErrMalformed)
	}
	var reports []Report
	for _, name := range names {
		reports = append(reports, Report{Ask: ask, Secret: name, Reason: reason})
	}
	return reports, nil
}

// typePrefix begins the types of events that are understood.
const typePrefix = "dev.custody."

// cloud reads an event in structured mode. Its id and source together name it, as its specification says.
func cloud(header http.Header, body []byte) (Delivery, error) {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || media != "application/cloudevents+json" {
		return Delivery{}, fmt.Errorf("%w: its content type is not application/cloudevents+json", ErrMalformed)
	}
	var event struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Data        json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil || event.SpecVersion != "1.0" || event.ID == "" || event.Source == "" {
		return Delivery{}, fmt.Errorf("%w: it is not a CloudEvent 1.0 with an id and a source", ErrMalformed)
	}
	ask, is := strings.CutPrefix(event.Type, typePrefix)
	if !is || ask == "" {
		return Delivery{}, fmt.Errorf("%w: its type is not %s and one of %s", ErrMalformed, typePrefix, strings.Join(Asks(), ", "))
	}
	reports, err := object(event.Data, ask)
	return Delivery{digest("event", event.Source, event.ID), reports}, err
}

// tokens reads GitHub's list.
func tokens(body []byte) ([]Report, error) {
	var found []struct {
		Token  string `json:"token"`
		Type   string `json:"type"`
		URL    string `json:"url"`
		Source string `json:"source"`
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return nil, fmt.Errorf("%w: it is not a list of tokens", ErrMalformed)
	}
	if len(found) > maxReports {
		return nil, fmt.Errorf("%w: it has more than %d tokens", ErrMalformed, maxReports)
	}
	var reports []Report
	for _, one := range found {
		if one.Token == "" {
			continue
		}
		token, err := secret.Text(map[string]string{TokenField: one.Token})
		if err != nil {
			return nil, fmt.Errorf("%w: a token is none", ErrMalformed)
		}
		reason := "found by GitHub secret scanning"
		if where := Text(one.URL); where != "" && !strings.Contains(one.URL, one.Token) {
			reason += " at " + where
		}
		reports = append(reports, Report{Ask: Compromise, Token: token, Reason: reason})
	}
	return reports, nil
}

// Text is what somebody else wrote, cut to a line of a length that people read, without what a terminal would act on.
func Text(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	if text = strings.TrimSpace(text); len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
