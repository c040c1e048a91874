// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"net"
	"strconv"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/login"

	"github.com/jackc/pgx/v5/pgconn"
)

// Endpoint is a further place that takes the credentials, such as PgBouncer. Nothing is changed there.
//
// A credential is accepted when the server and every such place accept it, and refused when all refuse it; anything
// between is unknown. So a candidate is promoted only once consumers can sign in wherever they do, an old credential
// counts as revoked only once nobody takes it any more, and a place that asks for no password is found when a random
// one is tried. A run waits while they disagree.
type Endpoint struct {
	Server
	// OwnPasswords: the place keeps passwords of its own, which are brought to it like to a consumer, after promotion. It
	// is not asked about what the server accepts, only about what the server refuses.
	OwnPasswords bool
}

// place is an endpoint that can be connected to.
type place struct {
	base *pgconn.Config
	own  bool
	name string
}

func (e Endpoint) place() (place, error) {
	base, err := e.connection()
	if err != nil {
		return place{}, err
	}
	// Poolers refuse to begin with settings that they do not track. What is called there is named in full.
	delete(base.RuntimeParams, "search_path")
	delete(base.RuntimeParams, "standard_conforming_strings")
	return place{base: base, own: e.OwnPasswords, name: net.JoinHostPort(base.Host, strconv.Itoa(int(base.Port)))}, nil
}

// verifyElsewhere asks the further places, the server having said verdict.
func (u *Upstream) verifyElsewhere(ctx context.Context, v secret.Value, verdict upstream.Verdict) (upstream.Verdict, error) {
	for _, further := range u.also {
		if further.own && verdict == upstream.Accepted {
			continue
		}
		got, err := u.verifyAt(ctx, further, v)
		if got == verdict {
			continue
		}
		e := &upstream.Error{Doing: login.SigningIn, At: further.name, Cause: err, Detail: "the answer does not say whether the credential is valid"}
		switch got {
		case upstream.Accepted:
			e.Detail = "the server refuses what is still accepted here"
			e.Next = "bring it the new passwords, then give the pooler RELOAD and RECONNECT; see that it asks for a password"
		case upstream.Refused:
			e.Detail = "the server accepts what is refused here"
			e.Next = "see that the pooler looks passwords up (auth_query), or declare ownPasswords: true"
		}
		return upstream.Unknown, e
	}
	return verdict, nil
}

// stateProtocol is the one state that PgBouncer gives for all that it refuses: wrong passwords, and faults of its own.
const stateProtocol = "08P01"

// verifyAt signs in at one further place. An answer that may mean either is taken for a refusal only when the admin gets
// through at that moment: then it was about v.
func (u *Upstream) verifyAt(ctx context.Context, further place, v secret.Value) (upstream.Verdict, error) {
	err := further.probe(ctx, v)
	if err == nil {
		return upstream.Accepted, nil
	}
	failure, answered := errors.AsType[*pgconn.PgError](err)
	switch {
	case !answered:
		return upstream.Unknown, unanswered(err)
	case refusesCredential(failure):
		return upstream.Refused, nil
	case failure.Code != stateProtocol:
		return upstream.Unknown, undecided(failure)
	}
	admins, err := u.Admin(ctx)
	if err != nil {
		return upstream.Unknown, &upstream.Error{Doing: "reading the admin credential", Cause: err}
	}
	for _, admin := range admins {
		if further.probe(ctx, admin) == nil {
			return upstream.Refused, nil
		}
	}
	return upstream.Unknown, &upstream.Error{
		Doing: login.SigningIn, Detail: "the server refuses the credential, and also the admin's", Said: said(failure),
		Next: "let the admin sign in through this pooler (auth_query, or its auth_file), so that an error of the pooler is not taken for a refused password",
	}
}

// probe signs in and asks something, since a pooler looks for a server only then. The pooler's connection to the server
// is ended: left open, it would look like somebody's use of the credential.
func (p place) probe(ctx context.Context, v secret.Value) error {
	conn, err := connect(ctx, p.base, v)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	if _, err := conn.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return err
	}
	// A user of a pair has become the owner, who may not end the session. What this answers is an error: the goodbye.
	_, _ = conn.Exec(ctx, "BEGIN; SET LOCAL ROLE NONE; SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()); COMMIT").ReadAll()
	return nil
}
