// SPDX-License-Identifier: Apache-2.0

// Package identity says who an agent is. The platform has a certificate authority of its own for agents, kept in the authority (secrets
// store). An operator invites a machine and gets a token that is good once; with it the agent there gets a certificate for a key that
// never leaves the machine. Certificates end after a week, are renewed long before that, and count only while the machine is not revoked.
//
// Guaranteed: a token is good for one key, for one machine, until its time; the authority keeps its digest alone. Enrolling again with
// the same token and the same key gives the same right, so that a lost answer costs nothing; with another key it is refused. A machine
// that is revoked, or invited again, is refused at its next call, whatever certificate it has. Invitations, enrollments and revocations
// go on record (audit log).
//
// Not guaranteed: that a key was not copied from the machine. Revoke the machine then.
//
// Cost: inviting and revoking write one document and one event, enrolling the same; a renewal writes nothing; admitting reads one document.
package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/next"
)

const (
	schema       = 1
	authorityKey = "agents/authority"
	machinePlace = "agents/machine/"
	// tokenForm begins each token.
	tokenForm = "custody-agent"
	// secretBytes is the length of what makes a token hard to guess.
	secretBytes = 24
)

// Refused: whoever asks may not. It says why, and Next what a person does.
type Refused struct{ Why, Next string }

func (r *Refused) Error() string { return r.Why }

// Records keeps Custody's own documents under compare-and-set; see authority.Documents.
type Records interface {
	Get(ctx context.Context, key string) (authority.Document, error)
	Put(ctx context.Context, key string, base authority.Revision, data []byte) (authority.Revision, error)
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Change is what goes on record of a machine.
type Change struct{ Step, Machine, By, Reason, Detail string }

// Book is the platform's record of its agents.
type Book struct {
	Records Records
	Now     func() time.Time
	Random  io.Reader
	// Recorded puts a change on record before it does it, and that it failed, if it does.
	Recorded func(ctx context.Context, change Change, do func() error) error

	mu     sync.Mutex
	issues *issuer
}

// Machine is one machine's agent on record.
type Machine struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	// Token is the digest of the token that the machine was invited with at Invited, good Until then, and By whom it was asked for.
	Token   string    `json:"token,omitempty"`
	Invited time.Time `json:"invited,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	By      string    `json:"by"`
	// UsedBy is the digest of the key that the token was used for, "" while it was not.
	UsedBy string `json:"usedBy,omitempty"`
	// Key is the digest of the key that is enrolled, "" for none, since Enrolled.
	Key      string    `json:"key,omitempty"`
	Enrolled time.Time `json:"enrolled,omitzero"`
	// Revoked is when it was, zero when it is not.
	Revoked time.Time `json:"revoked,omitzero"`
}

// Invite makes a token for a machine, good once and for lasts. A machine that is enrolled already keeps its right until the token is used.
func (b *Book) Invite(ctx context.Context, by, machine, reason string, lasts time.Duration) (token string, until time.Time, err error) {
	if err := agent.CheckName(machine); err != nil {
		return "", until, err
	}
	issues, err := b.issuer(ctx)
	if err != nil {
		return "", until, err
	}
	drawn := make([]byte, secretBytes)
	if _, err := io.ReadFull(b.Random, drawn); err != nil {
		return "", until, err
	}
	secret := hex.EncodeToString(drawn)
	until = b.Now().Add(lasts)
	err = b.Recorded(ctx, Change{"agent-invited", machine, by, reason, "until " + until.UTC().Format(time.RFC3339)}, func() error {
		return b.change(ctx, machine, func(m *Machine) error {
			m.Token, m.Invited, m.Until, m.By, m.UsedBy = digestOf(secret), b.Now(), until, by, ""
			return nil
		})
	})
	return strings.Join([]string{tokenForm, machine, Fingerprint(issues.certificate), secret}, "."), until, err
}

// Enroll issues a certificate for the key of a request (PKCS #10, in DER) by a token. It is in DER, the certificate authority's behind it.
func (b *Book) Enroll(ctx context.Context, token string, request []byte) (chain [][]byte, err error) {
	machine, _, secret, err := Parse(token)
	if err != nil {
		return nil, &Refused{err.Error(), "copy it whole"}
	}
	asked, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = asked.CheckSignature()
	}
	if err != nil {
		return nil, &Refused{"the request for a certificate is not one", "install the same version on both machines"}
	}
	key, err := keyDigest(asked.PublicKey)
	if err != nil {
		return nil, &Refused{err.Error(), "install the same version on both machines"}
	}
	issues, err := b.issuer(ctx)
	if err != nil {
		return nil, err
	}
	now := b.Now()
	held, _, err := b.machine(ctx, machine)
	if err != nil && !errors.Is(err, authority.ErrNotFound) {
		return nil, err
	}
	if err := held.takes(secret, key, now); err != nil {
		return nil, err
	}
	if held.UsedBy != key {
		err = b.Recorded(ctx, Change{"agent-enrolled", machine, "agent " + machine, "", "key " + key[:16]}, func() error {
			return b.change(ctx, machine, func(m *Machine) error {
				if err := m.takes(secret, key, now); err != nil {
					return err
				}
				m.Key, m.UsedBy, m.Enrolled, m.Revoked = key, key, now, time.Time{}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	made, _, err := issues.machine(machine, asked.PublicKey, now)
	return [][]byte{made, issues.certificate.Raw}, err
}

// takes refuses a token that is not good for a key.
func (m Machine) takes(secret, key string, now time.Time) error {
	again := "ask an operator for another: " + next.InviteAgent(m.named())
	switch {
	case m.Token == "" || subtle.ConstantTimeCompare([]byte(m.Token), []byte(digestOf(secret))) != 1:
		return &Refused{"the token is not good: it was replaced by another, or is of another platform", again}
	case !now.Before(m.Until):
		return &Refused{"the token is not good any more: it was until " + m.Until.UTC().Format(time.RFC3339), again}
	case m.UsedBy != "" && m.UsedBy != key:
		return &Refused{"the token was used already, for another key", again + "; if nobody of yours used it, revoke the machine: " + next.RevokeAgent(m.named())}
	}
	return nil
}

// named is the machine's name in a command.
func (m Machine) named() string { return cmp.Or(m.Name, "MACHINE") }

// Renew issues another certificate for the key of an agent's certificate.
func (b *Book) Renew(ctx context.Context, certificate *x509.Certificate) (chain [][]byte, err error) {
	machine, err := b.Admit(ctx, certificate)
	if err != nil {
		return nil, err
	}
	issues, err := b.issuer(ctx)
	if err != nil {
		return nil, err
	}
	made, _, err := issues.machine(machine, certificate.PublicKey, b.Now())
	return [][]byte{made, issues.certificate.Raw}, err
}

// Due reports whether a certificate is to be renewed: a third of its time is over.
func (b *Book) Due(certificate *x509.Certificate) bool {
	return b.Now().Sub(certificate.NotBefore) > certificate.NotAfter.Sub(certificate.NotBefore)/3
}

// Admit is the machine that a certificate is of, whose chain was verified; refused where it does not count any more.
func (b *Book) Admit(ctx context.Context, certificate *x509.Certificate) (machine string, err error) {
	machine = certificate.Subject.CommonName
	if err := agent.CheckName(machine); err != nil {
		return "", &Refused{"the certificate is not one of an agent", ""}
	}
	key, err := keyDigest(certificate.PublicKey)
	if err != nil {
		return "", &Refused{err.Error(), ""}
	}
	held, _, err := b.machine(ctx, machine)
	switch {
	case errors.Is(err, authority.ErrNotFound), err == nil && held.Key != key:
		return "", &Refused{"another key is enrolled for machine " + machine + " now", "enroll it again: " + next.InviteAgent(machine)}
	case err != nil:
		return "", err
	case !held.Revoked.IsZero():
		return "", &Refused{"machine " + machine + " was revoked " + held.Revoked.UTC().Format(time.RFC3339), "enroll it again: " + next.InviteAgent(machine)}
	}
	return machine, nil
}

// Revoke takes a machine's right away, and its token. False: it had none.
func (b *Book) Revoke(ctx context.Context, by, machine, reason string) (bool, error) {
	held, _, err := b.machine(ctx, machine)
	switch {
	case errors.Is(err, authority.ErrNotFound), err == nil && !held.Revoked.IsZero() && held.Token == "":
		return false, nil
	case err != nil:
		return false, err
	}
	return true, b.Recorded(ctx, Change{"agent-revoked", machine, by, reason, ""}, func() error {
		return b.change(ctx, machine, func(m *Machine) error {
			m.Token, m.UsedBy, m.Until, m.Revoked = "", "", time.Time{}, b.Now()
			return nil
		})
	})
}

// List are the machines on record, by name.
func (b *Book) List(ctx context.Context) ([]Machine, error) {
	var list []Machine
	for key, err := range b.Records.Keys(ctx, machinePlace) {
		if err != nil {
			return nil, fmt.Errorf("listing agents: %w", err)
		}
		one, _, err := b.machine(ctx, strings.TrimPrefix(key, machinePlace))
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// ServerTLS is how the server listens for agents: whoever shows a certificate shows one that the platform issued.
func (b *Book) ServerTLS(ctx context.Context) (*tls.Config, error) {
	issues, err := b.issuer(ctx)
	if err != nil {
		return nil, err
	}
	own, err := issues.server()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(issues.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13, Time: b.Now,
		SessionTicketsDisabled: true, // so that each connection shows its certificate anew
	}, nil
}

func (b *Book) machine(ctx context.Context, name string) (Machine, authority.Revision, error) {
	held, err := b.Records.Get(ctx, machinePlace+name)
	if err != nil {
		return Machine{}, 0, fmt.Errorf("reading agent %s: %w", name, err)
	}
	var m Machine
	if err := json.Unmarshal(held.Data, &m); err != nil || m.Schema != schema {
		return Machine{}, 0, fmt.Errorf("reading agent %s: its document is damaged, or was written by a newer custody (schema %d)", name, m.Schema)
	}
	return m, held.Revision, nil
}

// change changes a machine's document under compare-and-set.
func (b *Book) change(ctx context.Context, name string, how func(*Machine) error) error {
	m, base, err := b.machine(ctx, name)
	if errors.Is(err, authority.ErrNotFound) {
		m, base, err = Machine{Schema: schema, Name: name}, 0, nil
	}
	if err == nil {
		err = how(&m)
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = b.Records.Put(ctx, machinePlace+name, base, data)
	return err
}

// Parse takes a token apart.
func Parse(token string) (machine, fingerprint, secret string, err error) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 4 || parts[0] != tokenForm || len(parts[2]) != 2*sha256.Size || len(parts[3]) != 2*secretBytes || agent.CheckName(parts[1]) != nil {
		return "", "", "", errors.New("that is not a token of custody agent invite")
	}
	return parts[1], parts[2], parts[3], nil
}

// TokenDigest tells tokens apart without showing one.
func TokenDigest(token string) string { return digestOf(strings.TrimSpace(token)) }

// digestOf keeps a token's secret from being read where its digest is; the secret is random, so a plain digest cannot be guessed.
func digestOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
