# `make test` is what CI runs. `make check` is the loop to run while writing; `make test` begins with it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

GO ?= go
# Two packages at a time: real parts are started by tests, and a small machine must carry them.
PARALLEL ?= 2
FUZZTIME ?= 10s
export GO FUZZTIME

# Every folder that holds Go of this module.
SOURCES = $$(ls -d api cmd internal tools 2>/dev/null)
TESTSUMMARY = $(GO) run ./tools/testsummary

.PHONY: help check test test-long-apart lint fmt unit raced real scripts sim demo parts-built fuzz bench generate verify-generated build parts

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: ## the fast loop: format, lint, vet, unit tests, simulation of single faults and 50 secrets
	@start=$$(date +%s)
	$(MAKE) --no-print-directory lint unit
	echo "check took $$(( $$(date +%s) - start )) s"

# The tests of upstreams and of what starts their servers.
REAL = /internal/(realparts(/.*)?|upstream/(aws|exec|github|http|ldap|mail|minio|mysql|oidc|postgres|rabbitmq|redis))$$

# Where `make test` looks for races: what holds goroutines or locks, or is called by many at once. The engines themselves
# (rotation, handover, derivation) start goroutines only for deadlines and deliveries, and are few enough to go along.
# `make test-long` looks everywhere.
RACED = ./internal/audit/... ./internal/authority/... ./internal/derivation ./internal/durable/... ./internal/handover \
	./internal/journal ./internal/materialize/... ./internal/orchestrator ./internal/platform ./internal/recipe \
	./internal/rotation ./internal/transport ./internal/trigger ./internal/upstream ./internal/upstream/login/... \
	./internal/upstream/memory
# The server has no tests of its own: these scripts start one.
SERVING = 'TestScripts/^(serve|complete|canary)$$'

# What starts servers, beside these: the fast loop leaves all of them out.
WHOLE = /(internal/acceptance|tools/demo)$$

# The seed is the commit's: CUSTODY_SEED=N repeats a sample. Each part appends its time to a file, of which the table at
# the end is made. A part that fails does not keep the others from being run.
test: ## what CI runs: check, then each guarantee once on each real part
	@export CUSTODY_TIMES=$$(mktemp)
	trap 'rm -f "$$CUSTODY_TIMES"' EXIT
	start=$$(date +%s)
	$(MAKE) --no-print-directory lint
	echo "lint $$(( $$(date +%s) - start )) 0 0" >> "$$CUSTODY_TIMES"
	failed=0
	for part in unit sim raced scripts; do $(MAKE) --no-print-directory $$part || failed=1; done
	$(TESTSUMMARY) -sum "$$CUSTODY_TIMES" || failed=1
	exit $$failed

sim: ## the simulation: single faults, sampled pairs and years, every mutant of the engines
	$(TESTSUMMARY) -part simulation -timeout 30m -count 1 ./internal/sim

scripts: ## what the fast loop left out without servers: each script of the command line, stock age and sops
	$(TESTSUMMARY) -part scripts -p $(PARALLEL) -timeout 30m -count 1 ./internal/cli ./internal/root/... ./internal/wire

raced: ## tests without servers, with the race detector, where something is shared
	$(TESTSUMMARY) -part raced -race -p $(PARALLEL) -timeout 30m -count 1 $(RACED)
	$(TESTSUMMARY) -part raced-server -race -timeout 30m -count 1 -run $(SERVING) ./internal/cli

# Parts of the long run that start no server: everything raced, all pairs, forty years of estates, the soak.
test-long-apart: ## all of what starts no server, in full: hours
	CUSTODY_LONG=1 $(TESTSUMMARY) -part long-simulation -timeout 6h -count 1 ./internal/sim
	CUSTODY_LONG=1 $(TESTSUMMARY) -part long-raced -race -p 1 -timeout 3h -count 1 $$($(GO) list ./... | grep -vE '$(REAL)|$(WHOLE)|/internal/sim$$')

lint: ## format, golangci-lint (pinned in tools/lint, built once), go vet
	@unformatted=$$(gofmt -l $(SOURCES))
	if [ -n "$$unformatted" ]; then echo "error: not formatted:" $$unformatted; echo "hint: make fmt"; exit 1; fi
	linter=$$(tools/linter)
	"$$linter" run ./...
	$(GO) vet ./...

fmt: ## format every Go file
	gofmt -w $(SOURCES)

unit: ## unit tests and the short simulation, no real parts
	$(TESTSUMMARY) -part unit -short -p $(PARALLEL) -timeout 30m $$($(GO) list ./... | grep -vE '$(REAL)|$(WHOLE)')

real: parts ## the tests of upstreams and of what starts their servers
	$(TESTSUMMARY) -p $(PARALLEL) -timeout 30m -count 1 $$($(GO) list ./... | grep -E '$(REAL)')

parts: ## install the real parts that tests start, where this account may
	tools/install-parts

demo: build ## a guided tour on this machine, in a folder of its own
	$(GO) build -o bin/custody-demo ./tools/demo
	tools/install-parts || echo "going on with the parts that are here" >&2
	bin/custody-demo bin/custody

parts-built: ## build the servers that come as Go modules (Gitea, MinIO), once, in minutes; tests do it when they need them
	$(GO) run ./tools/demo --build-parts

fuzz: ## each fuzz target for FUZZTIME (10s)
	tools/fuzz

bench: ## benchmarks, each printed with what it is a ratio to
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 30m ./...

generate: ## write generated files
	$(GO) generate ./...

verify-generated: ## generate again; fail when a file changes
	tools/verify-generated

build: ## bin/custody, reproducible
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/custody ./cmd/custody
