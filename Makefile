# `make test` is what CI runs. `make check` is the loop to run while writing; `make test` begins with it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

GO ?= go
# Two packages at a time: real parts are started by tests, and a small machine must carry them.
PARALLEL ?= 2
FUZZTIME ?= 10s
SOAK ?= 30m
export GO FUZZTIME

# Every folder that holds Go of this module.
SOURCES = $$(ls -d api cmd internal tools 2>/dev/null)
TESTSUMMARY = $(GO) run ./tools/testsummary

.PHONY: help check test lint fmt unit real sim demo fuzz bench soak generate verify-generated build parts

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: ## the fast loop: format, lint, vet, unit tests, simulation of single faults and 50 secrets
	@start=$$(date +%s)
	$(MAKE) --no-print-directory lint unit
	echo "check took $$(( $$(date +%s) - start )) s"

# The simulation is one goroutine by design, and the demo measures processes: neither gains by -race.
UNRACED = ./internal/sim ./tools/demo

# The tests of upstreams and of what starts their servers.
REAL = /internal/(realparts(/.*)?|upstream/(aws|exec|github|http|ldap|mail|minio|mysql|oidc|postgres|rabbitmq|redis)(/.*)?)$$
# Their time goes into hashes that are slow on purpose, which the race detector makes slower still.
SLOW = ./internal/upstream/mail ./internal/upstream/minio

# What starts servers, beside these: the fast loop leaves all of them out.
WHOLE = /(internal/acceptance|tools/demo)$$

test: check parts verify-generated ## everything, with the race detector and all real parts; what CI runs
	$(TESTSUMMARY) -timeout 60m -count 1 ./internal/acceptance # alone: it measures how long clients are refused
	$(TESTSUMMARY) -p 1 -timeout 60m -count 1 $(UNRACED) $(SLOW) & unraced=$$!
	raced=0
	$(TESTSUMMARY) -race -p 1 -timeout 30m -count 1 $$($(GO) list ./... | grep -vE '/(internal/(sim|acceptance|upstream/(mail|minio))|tools/demo)$$') || raced=$$?
	wait $$unraced
	exit $$raced

lint: ## format, golangci-lint (pinned in tools/lint, built once), go vet
	@unformatted=$$(gofmt -l $(SOURCES))
	if [ -n "$$unformatted" ]; then echo "error: not formatted:" $$unformatted; echo "hint: make fmt"; exit 1; fi
	linter=$$(tools/linter)
	"$$linter" run ./...
	$(GO) vet ./...

fmt: ## format every Go file
	gofmt -w $(SOURCES)

unit: ## unit tests and the short simulation, no real parts
	$(TESTSUMMARY) -short -p $(PARALLEL) -timeout 15m $$($(GO) list ./... | grep -vE '$(REAL)|$(WHOLE)')

# What the tests of each kind start, by the names of tools/install-parts; those of other kinds start nothing of the sort.
PARTS_exec = python
PARTS_http = gitea
PARTS_ldap = openldap
PARTS_mail = mail mariadb openldap postgresql
PARTS_minio = minio
PARTS_mysql = mariadb
PARTS_oidc = oidc-provider
PARTS_postgres = postgresql pgbouncer
PARTS_rabbitmq = rabbitmq
PARTS_redis = redis

real: ## the tests of upstreams on their servers; KIND=redis: of that kind alone, with what it needs
	@if [ -n "$(KIND)" ]; then
	[ -d "internal/upstream/$(KIND)" ] || { echo "error: there is no kind '$(KIND)'" >&2; echo "hint: kinds are folders of internal/upstream" >&2; exit 2; }
	parts="$(PARTS_$(KIND))"
	[ -z "$$parts" ] || tools/install-parts $$parts
	$(TESTSUMMARY) -p $(PARALLEL) -timeout 30m -count 1 ./internal/upstream/$(KIND)/...
	else
	tools/install-parts all
	$(TESTSUMMARY) -p $(PARALLEL) -timeout 30m -count 1 $$($(GO) list ./... | grep -E '$(REAL)')
	fi

parts: ## install and build the real parts that tests start; tools/install-parts --help says more
	tools/install-parts all

sim: ## the whole simulation: every crash point, pairs of faults, thousands of secrets
	$(GO) test -timeout 60m -count 1 -v ./internal/sim 2>&1 | grep -E '^(sim:|FAIL|panic:)|--- FAIL|_test\.go:'

demo: build ## a guided tour on this machine, in a folder of its own; it asks before it installs anything
	$(GO) build -o bin/custody-demo ./tools/demo
	bin/custody-demo --install bin/custody

fuzz: ## each fuzz target for FUZZTIME (10s)
	tools/fuzz

bench: ## benchmarks, each printed with what it is a ratio to
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 30m ./...

soak: ## the long runs, for SOAK (30m); tests read CUSTODY_SOAK
	CUSTODY_SOAK=$(SOAK) $(TESTSUMMARY) -timeout 24h -count 1 -run Soak ./internal/...

generate: ## write generated files
	$(GO) generate ./...

verify-generated: ## generate again; fail when a file changes
	tools/verify-generated

build: ## bin/custody, reproducible
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/custody ./cmd/custody
