// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"time"

	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/inventory"
	"custody.dev/custody/internal/notify"
	"custody.dev/custody/internal/orchestrator"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/rotation"
	"custody.dev/custody/internal/secret"
)

// maxBody bounds what a request may say: a value of the largest size, and what JSON adds to it.
const maxBody = 4 * secret.MaxBytes

type reasoned struct {
	Reason string `json:"reason"`
}

// acceptance accepts an older state that was restored.
type acceptance struct {
	Reason     string `json:"reason"`
	Dry        bool   `json:"dry,omitempty"`
	KeptEstate bool   `json:"keptEstate,omitempty"`
}

// accepted names a commit of the estate's branch.
type accepted struct {
	Reason string `json:"reason"`
	Commit string `json:"commit"`
}

// delivery names a consumer, "" for all.
type delivery struct {
	Consumer string `json:"consumer,omitempty"`
}

// backupOrder names the folder of a backup, "" for that of the host file.
type backupOrder struct {
	To string `json:"to,omitempty"`
}

// withdrawal names a file that was delivered.
type withdrawal struct {
	Reason string `json:"reason"`
	File   string `json:"file"`
	Dry    bool   `json:"dry,omitempty"`
}

// enrolling asks for a bootstrap identity.
type enrolling struct {
	Reason string        `json:"reason"`
	Lasts  time.Duration `json:"lasts"`
}

// granted is what an operator grants or revokes.
type granted struct {
	Reason string        `json:"reason"`
	Grants []grant.Grant `json:"grants"`
}

// trial names the team that is sent a test message, "" for the default.
type trial struct {
	Owner string `json:"owner,omitempty"`
}

// supplied is a credential handed in, in the form of secret.Value.Encode.
type supplied struct {
	Reason string          `json:"reason"`
	Value  json.RawMessage `json:"value"`
}

// Handler serves the interface to those of whom WithCaller says what they may do.
func Handler(service Service) http.Handler { return guarded(routed(service)) }

// routed are all that can be asked of a service, by whomever.
func routed(service Service) *routes {
	mux := &routes{}
	get := func(pattern string, fn func(*http.Request) (any, error)) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			result, err := fn(r)
			answer(w, result, err)
		})
	}
	get("/v1/status", func(r *http.Request) (any, error) {
		filter, err := filterOf(r)
		if err != nil {
			return nil, err
		}
		return service.Status(r.Context(), filter)
	})
	mux.HandleFunc("GET /v1/inventory", func(w http.ResponseWriter, r *http.Request) {
		filter, err := filterOf(r)
		var rows iter.Seq[inventory.Row]
		if err == nil {
			rows, err = service.Inventory(r.Context(), filter)
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
		stream(w, rows)
	})
	get("/v1/inventory/{secret}", func(r *http.Request) (any, error) {
		return service.Explain(r.Context(), r.PathValue("secret"))
	})
	get("/v1/plan", func(r *http.Request) (any, error) {
		filter, err := filterOf(r)
		if err != nil {
			return nil, err
		}
		return service.Plan(r.Context(), filter)
	})
	get("/v1/runs", func(r *http.Request) (any, error) { return service.Runs(r.Context(), r.FormValue("secret")) })
	get("/v1/runs/{run}", func(r *http.Request) (any, error) {
		return service.Run(r.Context(), authority.RunID(r.PathValue("run")))
	})
	get("/v1/doctor", func(r *http.Request) (any, error) { return service.Doctor(r.Context()) })
	get("/v1/audit", func(r *http.Request) (any, error) {
		return service.Audit(r.Context(), audit.Filter{Secret: r.FormValue("secret"), Run: authority.RunID(r.FormValue("run"))})
	})
	mux.HandleFunc("POST /v1/requests", func(w http.ResponseWriter, r *http.Request) {
		var ask RotateRequest
		if err := decode(r, &ask); err != nil {
			answer(w, nil, err)
			return
		}
		request, err := service.Rotate(r.Context(), caller(r), ask)
		answer(w, request, err)
	})
	act := func(verb string, do func(ctx context.Context, by string, id authority.RunID, reason string) (any, error)) {
		mux.HandleFunc("POST /v1/runs/{run}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			var why reasoned
			err := decode(r, &why)
			if err == nil && why.Reason == "" {
				err = errReason
			}
			var said any
			if err == nil {
				said, err = do(r.Context(), caller(r), authority.RunID(r.PathValue("run")), why.Reason)
			}
			answer(w, said, err)
		})
	}
	act("abort", func(ctx context.Context, by string, id authority.RunID, reason string) (any, error) {
		return struct{}{}, service.Abort(ctx, by, id, reason)
	})
	act("force", func(ctx context.Context, by string, id authority.RunID, reason string) (any, error) {
		return service.Force(ctx, by, id, reason)
	})
	mux.HandleFunc("POST /v1/secrets/{secret}/supply", func(w http.ResponseWriter, r *http.Request) {
		var ask supplied
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var run authority.RunID
		if err == nil {
			var v secret.Value
			if v, err = secret.Decode(ask.Value); err == nil {
				run, err = service.Supply(r.Context(), caller(r), r.PathValue("secret"), ask.Reason, v)
			} else {
				err = &Problem{Class: Usage, Text: "the value is not a JSON object of fields that are text", Hint: `write it so: {"username": "app", "password": "..."}`}
			}
		}
		answer(w, run, err)
	})
	for _, choice := range []string{rotation.Adopted, rotation.Reverted} {
		mux.HandleFunc("POST /v1/secrets/{secret}/"+choice, func(w http.ResponseWriter, r *http.Request) {
			var why reasoned
			err := decode(r, &why)
			if err == nil && why.Reason == "" {
				err = errReason
			}
			var run authority.RunID
			if err == nil {
				run, err = service.DecideForeign(r.Context(), caller(r), r.PathValue("secret"), choice, why.Reason)
			}
			answer(w, run, err)
		})
	}
	mux.HandleFunc("POST /v1/secrets/{secret}/deliver", func(w http.ResponseWriter, r *http.Request) {
		var to delivery
		err := decode(r, &to)
		var done []orchestrator.Delivery
		if err == nil {
			done, err = service.Deliver(r.Context(), caller(r), r.PathValue("secret"), to.Consumer)
		}
		answer(w, done, err)
	})
	mux.HandleFunc("POST /v1/secrets/{secret}/retire", func(w http.ResponseWriter, r *http.Request) {
		var ask RetireRequest
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var ends Retirement
		if err == nil {
			ends, err = service.Retire(r.Context(), caller(r), r.PathValue("secret"), ask)
		}
		answer(w, ends, err)
	})
	mux.HandleFunc("POST /v1/withdrawals", func(w http.ResponseWriter, r *http.Request) {
		var ask withdrawal
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var left Leftover
		if err == nil {
			left, err = service.Withdraw(r.Context(), caller(r), ask.File, ask.Reason, ask.Dry)
		}
		answer(w, left, err)
	})
	get("/v1/grants", func(r *http.Request) (any, error) { return service.Granted(r.Context()) })
	regrant := func(pattern string, do func(ctx context.Context, by, reason string, grants []grant.Grant) ([]grant.Entry, error)) {
		mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
			var ask granted
			err := decode(r, &ask)
			if err == nil && ask.Reason == "" {
				err = errReason
			}
			var changed []grant.Entry
			if err == nil {
				changed, err = do(r.Context(), caller(r), ask.Reason, ask.Grants)
			}
			answer(w, changed, err)
		})
	}
	regrant("/v1/grants", service.Grant)
	regrant("/v1/grants/revoke", service.Revoke)
	mux.HandleFunc("POST /v1/backups", func(w http.ResponseWriter, r *http.Request) {
		var ask backupOrder
		err := decode(r, &ask)
		var made Backup
		if err == nil {
			made, err = service.Backup(r.Context(), caller(r), ask.To)
		}
		answer(w, made, err)
	})
	get("/v1/notifications", func(r *http.Request) (any, error) { return service.Notifications(r.Context()) })
	mux.HandleFunc("POST /v1/notifications/test", func(w http.ResponseWriter, r *http.Request) {
		var ask trial
		err := decode(r, &ask)
		var tried []notify.Tried
		if err == nil {
			tried, err = service.TestNotification(r.Context(), caller(r), ask.Owner)
		}
		answer(w, tried, err)
	})
	mux.HandleFunc("POST /v1/bootstrap/enroll", func(w http.ResponseWriter, r *http.Request) {
		var ask enrolling
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var made Enrollment
		if err == nil {
			made, err = service.EnrollBootstrap(r.Context(), caller(r), ask.Reason, ask.Lasts)
		}
		answer(w, made, err)
	})
	mux.HandleFunc("POST /v1/clock/confirm", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, service.ConfirmClock(r.Context(), caller(r)))
	})
	mux.agents(service)
	mux.intake(service)
	get("/v1/estate", func(r *http.Request) (any, error) { return service.EstateFiles(r.Context()) })
	mux.HandleFunc("POST /v1/estate/accept", func(w http.ResponseWriter, r *http.Request) {
		var ask accepted
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var source Source
		if err == nil {
			source, err = service.AcceptCommit(r.Context(), caller(r), ask.Reason, ask.Commit)
		}
		answer(w, source, err)
	})
	mux.HandleFunc("POST /v1/recovery/accept", func(w http.ResponseWriter, r *http.Request) {
		var ask acceptance
		err := decode(r, &ask)
		if err == nil && ask.Reason == "" {
			err = errReason
		}
		var report recovery.Report
		if err == nil {
			report, err = service.AcceptRecovery(r.Context(), caller(r), ask.Reason, recovery.How{Dry: ask.Dry, KeptEstate: ask.KeptEstate})
		}
		answer(w, report, err)
	})
	return mux
}

var errReason = &Problem{Class: Usage, Text: "a reason is required: it is written to the record (audit log)", Hint: "add --reason TEXT"}

// Health serves /healthz, which answers while the process lives, /readyz, which says why it is not ready, and /metrics.
func Health(service Service, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if why := service.Ready(r.Context()); why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not ready: "+why+"\n")
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// otherVersion is the hint where the two ends of a socket do not understand each other.
const otherVersion = "the command and the server may be of different versions: after an upgrade, restart the server"

func decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return &Problem{Class: Usage, Text: "the server cannot read the request; nothing was done", Hint: otherVersion}
	}
	return nil
}

func answer(w http.ResponseWriter, result any, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return
		}
		problem := Problems(err)
		w.WriteHeader(problem.Status())
		result = problem
	}
	_ = json.NewEncoder(w).Encode(result) // the caller is gone if this fails
}
