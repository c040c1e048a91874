// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/event"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/trigger"
)

const (
	// hookField is the field of a webhook's key in its value.
	hookField = "value"
	// unsignedShare is how many deliveries are read for each that may be taken: whoever sends unsigned ones does not use up what those
	// who sign may send.
	unsignedShare = 10
	// recordUnsigned is how often deliveries that nobody signed are put on record.
	recordUnsigned = time.Minute
)

// How deliveries are counted.
const (
	hookAccepted  = "accepted"
	hookUnsigned  = "unsigned"
	hookLimited   = "limited"
	hookRefused   = "refused"
	hookMalformed = "malformed"
	hookFailed    = "failed"
)

// eventHook takes what one other system reports. A delivery is answered once what it asks for is durable.
type eventHook struct {
	spec   v1alpha1.EventWebhook
	parts  *parts
	key    func(context.Context) (secret.Value, error)
	public map[string]*ecdsa.PublicKey
	now    func() time.Time

	mu         sync.Mutex
	counts     map[string]int
	read, took pace
	unsigned   int       // since that was put on record last
	told       time.Time // when it was
}

// pace counts what came within a minute.
type pace struct {
	since time.Time
	count int
}

// room counts one more, and is how long it is to wait where there are most already.
func (p *pace) room(now time.Time, most int) time.Duration {
	if now.Sub(p.since) >= time.Minute || now.Before(p.since) {
		p.since, p.count = now, 0
	}
	if p.count >= most {
		return p.since.Add(time.Minute).Sub(now)
	}
	p.count++
	return 0
}

// eventHooks are the webhooks of the host file, which was checked.
func (p *parts) eventHooks() []*eventHook {
	hooks := make([]*eventHook, 0, len(p.host.Webhooks))
	for _, spec := range p.host.Webhooks {
		hook := &eventHook{spec: spec, parts: p, now: Now, counts: map[string]int{}, public: map[string]*ecdsa.PublicKey{}}
		hook.key = p.credential(hookField, spec.SecretFile, spec.SecretRef)
		for id, text := range spec.PublicKeys {
			if key, err := event.PublicKey(text); err == nil {
				hook.public[id] = key
			}
		}
		hooks = append(hooks, hook)
	}
	return hooks
}

// by is who asks, for the record.
func (h *eventHook) by() string { return "webhook " + h.spec.Name }

func (h *eventHook) counted() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.counts)
}

func (h *eventHook) count(result string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[result]++
}

// ServeHTTP implements http.Handler.
func (h *eventHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	wait := h.read.room(h.now(), unsignedShare*h.spec.PerMinute)
	h.mu.Unlock()
	if wait > 0 {
		h.limited(w, wait)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(h.now().Add(hookLimit)) // a recorder of tests has none
	body, err := io.ReadAll(io.LimitReader(r.Body, event.MaxBody+1))
	switch {
	case err != nil:
		h.answer(w, hookMalformed, http.StatusBadRequest, "the request was not sent whole")
		return
	case len(body) > event.MaxBody:
		h.answer(w, hookMalformed, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", event.MaxBody))
		return
	}
	sender := event.Sender{Kind: h.spec.Kind, KeyField: hookField, PublicKeys: h.public}
	if h.spec.Kind != event.GitHub {
		if sender.Key, err = h.key(r.Context()); err != nil {
			h.parts.log.Error("reading the key of a webhook", "webhook", h.spec.Name, "error", err)
			h.answer(w, hookFailed, http.StatusServiceUnavailable, "the key of the webhook cannot be read")
			return
		}
	}
	delivery, err := sender.Read(r.Header, body, h.now())
	if errors.Is(err, event.ErrUnsigned) || errors.Is(err, event.ErrStale) {
		h.refuseUnsigned(r.Context(), err)
		h.answer(w, hookUnsigned, http.StatusUnauthorized, err.Error())
		return
	}
	h.mu.Lock()
	wait = h.took.room(h.now(), h.spec.PerMinute)
	h.mu.Unlock()
	switch {
	case wait > 0:
		h.limited(w, wait)
	case err != nil:
		h.answer(w, hookMalformed, http.StatusBadRequest, err.Error())
	default:
		h.take(w, r, delivery)
	}
}

func (h *eventHook) answer(w http.ResponseWriter, result string, status int, text string) {
	h.count(result)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func (h *eventHook) limited(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	h.answer(w, hookLimited, http.StatusTooManyRequests, "too many deliveries within a minute")
}

// refuseUnsigned puts on record, now and then, that deliveries came that nobody signed.
func (h *eventHook) refuseUnsigned(ctx context.Context, why error) {
	h.mu.Lock()
	h.unsigned++
	count, now := h.unsigned, h.now()
	if !h.told.IsZero() && now.Sub(h.told) < recordUnsigned && !now.Before(h.told) {
		h.mu.Unlock()
		return
	}
	h.told, h.unsigned = now, 0
	h.mu.Unlock()
	err := boundedRecord{h.parts.record, h.parts.calls}.Append(ctx, audit.Event{
		Run: newRun(), Step: "webhook-refused", Workflow: audit.Operation, By: h.by(), Reason: "a delivery has to be signed", Result: audit.Failed,
		Detail: fmt.Sprintf("%d deliveries were refused, the last because %s", count, why), At: now,
	})
	if err != nil {
		h.parts.log.Error("recording that a webhook was refused", "webhook", h.spec.Name, "error", err)
	}
}

// accepted is the answer to a delivery, the same each time it is sent.
type accepted struct {
	Requests []acceptedRequest `json:"requests"`
}

type acceptedRequest struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// take stores what a delivery asks for. All of it is looked at before any of it is stored.
func (h *eventHook) take(w http.ResponseWriter, r *http.Request, delivery event.Delivery) {
	estate := h.parts.platform.Estate()
	if estate == nil {
		h.answer(w, hookFailed, http.StatusServiceUnavailable, "no estate is in force")
		return
	}
	var asked []trigger.Request
	for _, report := range delivery.Reports {
		names := []string{report.Secret}
		if report.Secret == "" {
			var err error
			if names, err = h.owners(r.Context(), estate, report.Token); err != nil {
				h.parts.log.Error("comparing a token that was reported", "webhook", h.spec.Name, "error", err)
				h.answer(w, hookFailed, http.StatusServiceUnavailable, "what was reported cannot be compared now")
				return
			}
		}
		for _, name := range names {
			if declared, ok := estate.ByName(name); !ok || !h.may(declared) || !slices.Contains(h.spec.May.Ask, report.Ask) {
				h.answer(w, hookRefused, http.StatusForbidden, "this webhook may not ask for that, or there is no such secret")
				return
			}
			kind := trigger.Event
			if report.Ask == event.Compromise {
				kind = trigger.Compromise
			}
			asked = append(asked, trigger.Request{Secret: name, Kind: kind, By: h.by(), Reason: report.Reason})
		}
	}
	done := accepted{Requests: []acceptedRequest{}}
	for _, ask := range asked {
		var stored trigger.Request
		key, err := h.parts.values.DigestKey(r.Context(), estate.Secrets[ask.Secret].Path)
		if err == nil {
			ask.ID = h.idOf(delivery, ask, key)
			stored, err = h.parts.platform.Request(r.Context(), ask)
		}
		if err != nil {
			problem := server.Problems(err)
			result := hookRefused
			if problem.Status() >= http.StatusInternalServerError {
				result = hookFailed
			}
			h.answer(w, result, problem.Status(), problem.Text)
			return
		}
		done.Requests = append(done.Requests, acceptedRequest{stored.ID, stored.Secret})
	}
	h.count(hookAccepted)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(done)
}

// idOf is the id of what a delivery asks for of one secret, the same each time the delivery is sent. It is keyed: what a delivery says may
// have a credential in it.
func (h *eventHook) idOf(delivery event.Delivery, ask trigger.Request, key []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "webhook\x00%s\x00%s\x00%s\x00%s", h.spec.Name, delivery.ID, ask.Secret, ask.Kind)
	return "hook-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// may reports whether the webhook may ask for anything of the secret.
func (h *eventHook) may(declared *intent.Secret) bool {
	if slices.Contains(h.spec.May.Secrets, declared.Name) {
		return true
	}
	for name, value := range h.spec.May.Labels {
		if has, there := declared.Labels[name]; !there || has != value {
			return false
		}
	}
	return len(h.spec.May.Labels) > 0
}

// owners are the secrets of the webhook that have the token, or that a run has not revoked it of.
func (h *eventHook) owners(ctx context.Context, estate *intent.Estate, token secret.Value) ([]string, error) {
	var names []string
	for _, name := range estate.Order() {
		declared := estate.Secrets[name]
		if !h.may(declared) {
			continue
		}
		has, err := h.has(ctx, declared.Path, token)
		if err != nil {
			return nil, err
		}
		if has {
			names = append(names, name)
		}
	}
	return names, nil
}

// has compares the token with the secret's value of record, and with those that a live run has not revoked.
func (h *eventHook) has(ctx context.Context, path authority.Path, token secret.Value) (bool, error) {
	held, err := h.parts.values.Read(ctx, path)
	if errors.Is(err, authority.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	key, err := h.parts.values.DigestKey(ctx, path)
	if err != nil {
		return false, err
	}
	if held.Value.Carries(key, token, event.TokenField) {
		return true, nil
	}
	entry, err := h.parts.entries().Load(ctx, path)
	if err != nil || entry.Live == nil {
		return false, err
	}
	for _, number := range append(slices.Clone(entry.Live.Older), entry.Live.Base) {
		if number == 0 {
			continue
		}
		older, err := h.parts.values.ReadVersion(ctx, path, number)
		if err != nil && !errors.Is(err, authority.ErrNotFound) {
			return false, err
		}
		if err == nil && older.Value.Carries(key, token, event.TokenField) {
			return true, nil
		}
	}
	return false, nil
}
