// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/trigger"
)

// Client calls a Handler, over a socket or in this process.
type Client struct {
	http     http.Client
	patience patience
	// Slow, when set, is told once of a call over a socket that has had no answer for so long.
	Slow func(waited time.Duration)
}

// patience is how long a server that takes connections may leave a call without an answer; 0 is for ever. A server whose
// disk hangs answers nothing, and whoever asks must not hang with it.
type patience struct{ notice, question, change time.Duration }

// overSocket has room: a question of ten thousand secrets is answered within two minutes, a change signs in a few times.
// What signs in with every secret has no bound; see unbounded.
var overSocket = patience{notice: 10 * time.Second, question: 10 * time.Minute, change: 30 * time.Minute}

// unbounded are the calls that last as long as there are secrets, or bytes.
var unbounded = []string{"/v1/doctor", "/v1/recovery/accept", "/v1/backups"}

func (p patience) limit(method, path string) time.Duration {
	switch {
	case slices.Contains(unbounded, path):
		return 0
	case method == http.MethodGet:
		return p.question
	}
	return p.change
}

// Dial returns a client of the server that listens on a Unix socket, which must be run by the owner of the folder that the
// socket is in. It connects when first used.
func Dial(socket string) *Client {
	return &Client{patience: overSocket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, socket) },
	}}}
}

// Local returns a client that calls handler in this process, as by, who may do everything.
func Local(handler http.Handler, by string) *Client {
	return &Client{http: http.Client{Transport: local{handler, by}}}
}

type local struct {
	handler http.Handler
	by      string
}

// RoundTrip implements http.RoundTripper.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	l.handler.ServeHTTP(recorder, r.WithContext(WithCaller(r.Context(), l.by, Operator)))
	return recorder.Result(), nil
}

// Status returns the platform's status, with the secrets that the filter takes.
func (c *Client) Status(ctx context.Context, filter Filter) (status Status, err error) {
	return status, c.get(ctx, "/v1/status"+filter.query(), &status)
}

// Inventory returns the secrets that the filter takes.
func (c *Client) Inventory(ctx context.Context, filter Filter) (rows []inventory.Row, err error) {
	return rows, c.get(ctx, "/v1/inventory"+filter.query(), &rows)
}

// Explain returns all about one secret.
func (c *Client) Explain(ctx context.Context, secretName string) (e Explanation, err error) {
	return e, c.get(ctx, "/v1/inventory/"+url.PathEscape(secretName), &e)
}

// Plan returns what would happen next with the secrets that the filter takes.
func (c *Client) Plan(ctx context.Context, filter Filter) (steps []Step, err error) {
	return steps, c.get(ctx, "/v1/plan"+filter.query(), &steps)
}

// Rotate submits a request.
func (c *Client) Rotate(ctx context.Context, ask RotateRequest) (request trigger.Request, err error) {
	return request, c.post(ctx, "/v1/requests", ask, &request)
}

// Runs returns the runs of one secret, or of all with "".
func (c *Client) Runs(ctx context.Context, secretName string) (runs []Run, err error) {
	return runs, c.get(ctx, "/v1/runs?"+url.Values{"secret": {secretName}}.Encode(), &runs)
}

// Run returns one run with its transitions.
func (c *Client) Run(ctx context.Context, id authority.RunID) (run Run, err error) {
	return run, c.get(ctx, "/v1/runs/"+url.PathEscape(string(id)), &run)
}

// Abort asks for a run to be taken back.
func (c *Client) Abort(ctx context.Context, id authority.RunID, reason string) error {
	return c.post(ctx, "/v1/runs/"+url.PathEscape(string(id))+"/abort", reasoned{reason}, &struct{}{})
}

// Force waives what a run is missing now and a person may waive, and says what that is.
func (c *Client) Force(ctx context.Context, id authority.RunID, reason string) (waived []string, err error) {
	err = c.post(ctx, "/v1/runs/"+url.PathEscape(string(id))+"/force", reasoned{reason}, &waived)
	return waived, err
}

// Supply hands in a value of a secret, and returns the run that takes it.
func (c *Client) Supply(ctx context.Context, secretName, reason string, v secret.Value) (run authority.RunID, err error) {
	return run, c.post(ctx, "/v1/secrets/"+url.PathEscape(secretName)+"/supply", supplied{reason, v.Encode()}, &run)
}

// DecideForeign takes over a value that somebody else wrote (adopt), or puts the managed one back (revert), and returns the run.
func (c *Client) DecideForeign(ctx context.Context, secretName, choice, reason string) (run authority.RunID, err error) {
	return run, c.post(ctx, "/v1/secrets/"+url.PathEscape(secretName)+"/"+choice, reasoned{reason}, &run)
}

// Deliver gives consumers of a secret the version of record again: the one that is named, or all with "".
func (c *Client) Deliver(ctx context.Context, secretName, consumer string) (done []orchestrator.Delivery, err error) {
	return done, c.post(ctx, "/v1/secrets/"+url.PathEscape(secretName)+"/deliver", delivery{consumer}, &done)
}

// Retire asks for the end of a secret that the estate no longer declares; with Dry it says what would be done.
func (c *Client) Retire(ctx context.Context, secretName string, ask RetireRequest) (ends Retirement, err error) {
	return ends, c.post(ctx, "/v1/secrets/"+url.PathEscape(secretName)+"/retire", ask, &ends)
}

// Withdraw removes a file that was delivered and that nobody is to read any more; with dry it says what it would remove.
func (c *Client) Withdraw(ctx context.Context, file, reason string, dry bool) (left Leftover, err error) {
	return left, c.post(ctx, "/v1/withdrawals", withdrawal{reason, file, dry}, &left)
}

// AcceptCommit has a commit believed that was refused because of its history, and says where the source stands then.
func (c *Client) AcceptCommit(ctx context.Context, reason, commit string) (source Source, err error) {
	return source, c.post(ctx, "/v1/estate/accept", accepted{reason, commit}, &source)
}

// EstateFiles implements Service's question.
func (c *Client) EstateFiles(ctx context.Context) (files map[string][]byte, err error) {
	return files, c.get(ctx, "/v1/estate", &files)
}

// EnrollBootstrap gives the server's machine a bootstrap identity for a while; see Service.
func (c *Client) EnrollBootstrap(ctx context.Context, reason string, lasts time.Duration) (made Enrollment, err error) {
	return made, c.post(ctx, "/v1/bootstrap/enroll", enrolling{reason, lasts}, &made)
}

// ConfirmClock says that the time shown now is right.
func (c *Client) ConfirmClock(ctx context.Context) error {
	return c.post(ctx, "/v1/clock/confirm", struct{}{}, &struct{}{})
}

// AcceptRecovery goes on with an older state that was restored, and says what becomes of each secret.
func (c *Client) AcceptRecovery(ctx context.Context, reason string, how recovery.How) (report recovery.Report, err error) {
	return report, c.post(ctx, "/v1/recovery/accept", acceptance{reason, how.Dry, how.KeptEstate}, &report)
}

// Backup makes a backup in a folder of the server's machine, that of the host file with "".
func (c *Client) Backup(ctx context.Context, to string) (made Backup, err error) {
	return made, c.post(ctx, "/v1/backups", backupOrder{to}, &made)
}

// Granted returns what the operator granted, and what the estate asks for besides.
func (c *Client) Granted(ctx context.Context) (grants Grants, err error) {
	return grants, c.get(ctx, "/v1/grants", &grants)
}

// Grant grants, and returns what was not granted before.
func (c *Client) Grant(ctx context.Context, reason string, grants []grant.Grant) (added []grant.Entry, err error) {
	return added, c.post(ctx, "/v1/grants", granted{reason, grants}, &added)
}

// Revoke takes grants back, and returns those that were granted.
func (c *Client) Revoke(ctx context.Context, reason string, grants []grant.Grant) (gone []grant.Entry, err error) {
	return gone, c.post(ctx, "/v1/grants/revoke", granted{reason, grants}, &gone)
}

// Notifications says who is told of what.
func (c *Client) Notifications(ctx context.Context) (listing notify.Listing, err error) {
	return listing, c.get(ctx, "/v1/notifications", &listing)
}

// TestNotification sends a test message to where a team is told, or the default with "", and says what came of it.
func (c *Client) TestNotification(ctx context.Context, team string) (tried []notify.Tried, err error) {
	return tried, c.post(ctx, "/v1/notifications/test", trial{team}, &tried)
}

// Doctor checks the live estate.
func (c *Client) Doctor(ctx context.Context) (d Diagnosis, err error) {
	return d, c.get(ctx, "/v1/doctor", &d)
}

// Audit returns events on record, oldest first.
func (c *Client) Audit(ctx context.Context, secretName string, run authority.RunID) (events []audit.Event, err error) {
	return events, c.get(ctx, "/v1/audit?"+url.Values{"secret": {secretName}, "run": {string(run)}}.Encode(), &events)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(encoded), into)
}

// errNoAnswer ends a call that the server left without an answer.
var errNoAnswer = errors.New("the server takes connections and does not answer")

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, into any) error {
	if c.Slow != nil && c.patience.notice > 0 {
		waiting, cancel := context.WithTimeout(ctx, c.patience.notice)
		defer cancel()
		defer context.AfterFunc(waiting, func() {
			if ctx.Err() == nil {
				c.Slow(c.patience.notice)
			}
		})()
	}
	limit := c.patience.limit(method, path)
	if limit == 0 {
		return c.call(ctx, method, path, body, into)
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	err := c.call(limited, method, path, body, into)
	if err == nil || !errors.Is(context.Cause(limited), errNoAnswer) {
		return err
	}
	silent := &Problem{
		Class: Unavailable, Text: fmt.Sprintf("%s: nothing was received for %s", errNoAnswer, limit), cause: errNoAnswer,
		Hint: "check its log, /readyz, and the disk of its state folder; it continues where it was after a restart",
	}
	if method != http.MethodGet {
		silent.Text += "; what was asked for may still be done"
	}
	return silent
}

func (c *Client) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://custody"+path, body)
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	response, err := c.http.Do(request)
	if problem, is := errors.AsType[*Problem](err); is {
		return problem
	}
	if err != nil {
		return &Problem{Class: Unavailable, Text: "calling the server: " + err.Error(), Hint: "is `custody serve` running?", cause: err}
	}
	defer func() { _ = response.Body.Close() }()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode != http.StatusOK {
		problem := &Problem{Class: Failure, Text: "the server answered " + response.Status}
		if err := decoder.Decode(problem); err != nil {
			return &Problem{Class: Failure, Text: "the server answered " + response.Status + ", which this command does not understand", Hint: otherVersion, cause: err}
		}
		return problem
	}
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	return nil
}
