# `make test` is what CI runs. `make check` is the loop to run while writing; `make test` begins with it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

GO ?= go
# Two packages at a time, where nothing is measured: a small machine must carry the servers that tests start.
PARALLEL ?= 2
FUZZTIME ?= 10s
# One way to compile for the binary, the tests and the linter, so that each package is compiled once. The race detector
# alone needs the other way.
export CGO_ENABLED = 0
export GOFLAGS += -trimpath
export GO FUZZTIME

# Every folder that holds Go of this module.
SOURCES = $$(ls -d api cmd internal tools 2>/dev/null)
# The linter has vetted what is tested.
TESTSUMMARY = $(GO) run ./tools/testsummary
TEST = -vet=off -timeout 60m
# Where tests compute, garbage is collected less often: a fifth less processor time. The whole product runs as it does for users.
COMPUTING = GOGC=400

.PHONY: help check test test-long lint fmt unit sim raced full kinds acceptance real demo fuzz bench \
	raced-all raced-binary generate verify-generated build parts

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: ## the fast loop: format, lint, unit tests, simulation of half the single faults and of 50 secrets
	@start=$$(date +%s)
	$(MAKE) --no-print-directory lint unit
	echo "check took $$(( $$(date +%s) - start )) s"

# A kind on the whole product: the binary, its server, clients that sign in all the while.
KIND_TESTS = /internal/upstream/[a-z]+/[a-z]+test$$
# The kinds: each folder of internal/upstream that has a type.
empty :=
KINDS = $(subst $(empty) $(empty),|,$(patsubst internal/upstream/%/type.go,%,$(wildcard internal/upstream/*/type.go)))
# The adapters, and what starts their servers.
ADAPTERS = /internal/(realparts(/.*)?|alert|notify/mail|source/git|upstream/($(KINDS)))$$
# The whole product, and the tour.
WHOLE = /(internal/acceptance|tools/demo)$$
# What starts servers. The fast loop leaves it out.
SERVERS = $(ADAPTERS)|$(KIND_TESTS)|$(WHOLE)

# Where `make test` looks for races: what holds goroutines or locks, or is called by many at once. The engines themselves
# (rotation, handover, derivation) start goroutines only for deadlines and deliveries, and are few enough to go along.
# `make test-long` looks everywhere.
RACED = ./internal/agent/... ./internal/audit/... ./internal/authority/... ./internal/derivation ./internal/durable/... ./internal/folderwatch ./internal/handover \
	./internal/journal ./internal/materialize/... ./internal/notify ./internal/notify/webhook ./internal/orchestrator ./internal/outward ./internal/platform ./internal/recipe \
	./internal/recovery ./internal/rotation ./internal/server ./internal/transport ./internal/trigger ./internal/upstream ./internal/upstream/login/... \
	./internal/upstream/memory

# The packages whose tests try more without -short, but for the simulation and what starts servers.
FULL = /internal/(audit|authority/embedded|cli|root(/.*)?|wire)$$
SIM = /internal/sim$$

# Each part appends its time to a file, of which the table at the end is made. What is not a test is timed by this.
define timing
export CUSTODY_TIMES=$$(mktemp)
trap 'rm -f "$$CUSTODY_TIMES"' EXIT
timed() { local part=$$1 began=$$(date +%s); shift; "$$@"; echo "$$part $$(( $$(date +%s) - began )) 0 0" >>"$$CUSTODY_TIMES"; }
submake() { $(MAKE) --no-print-directory "$$@"; }
endef

# A part that fails does not keep the others from being run, so that one run says all that is wrong. Parts run one after
# the other: nothing that measures time has company. What is sampled is sampled by the commit; CUSTODY_SEED=N repeats it.
test: ## what CI runs: check, then each guarantee once on each real part
	@$(timing)
	timed parts tools/install-parts all
	timed lint submake lint
	submake unit FRESH="-count 1" ONCE=1
	timed generated submake verify-generated
	failed=0
	for part in sim raced full kinds acceptance; do submake $$part || failed=1; done
	$(TESTSUMMARY) -sum "$$CUSTODY_TIMES" || failed=1
	exit $$failed

test-long: ## what `make test` samples, in full; races everywhere; hours. Run it before a change is called done
	@$(timing)
	timed parts tools/install-parts all
	failed=0
	for part in sim full kinds acceptance; do CUSTODY_LONG=1 submake $$part || failed=1; done
	for part in raced-all raced-binary; do submake $$part || failed=1; done
	$(TESTSUMMARY) -sum "$$CUSTODY_TIMES" || failed=1
	exit $$failed

lint: ## format, golangci-lint (pinned in tools/lint, built once), which vets too
	@unformatted=$$(gofmt -l $(SOURCES))
	if [ -n "$$unformatted" ]; then echo "error: not formatted:" $$unformatted; echo "hint: make fmt"; exit 1; fi
	linter=$$(tools/linter)
	"$$linter" run --allow-serial-runners ./...

fmt: ## format every Go file
	gofmt -w $(SOURCES)

# ONCE leaves out what other parts run in full, or raced and otherwise alike.
unit: ## unit tests and the short simulation, no real parts
	@all=$$($(GO) list ./... | grep -vE '$(SERVERS)$(if $(ONCE),|$(SIM)|$(FULL))')
	$(if $(ONCE),all=$$(grep -vxFf <($(GO) list $(RACED)) <<<"$$all"))
	$(COMPUTING) $(TESTSUMMARY) -part unit $(TEST) $(FRESH) -short -p $(PARALLEL) $$all

sim: ## the simulation: single faults, sampled pairs and years, every mutant of the engines
	@$(TESTSUMMARY) -part simulation $(TEST) -timeout 6h -count 1 ./internal/sim

raced: ## tests without servers, with the race detector, where something is shared; more trials find no more races
	@CGO_ENABLED=1 $(COMPUTING) $(TESTSUMMARY) -part raced $(TEST) -short -race -count 1 -p $(PARALLEL) $(RACED)

# Nothing here measures. They wait more than they compute, so more of them run at once than there are cores, those that take
# longest first. REAL leaves out what starts no servers.
full: ## what the fast loop leaves out: upstreams on their servers, scripts of the command line, damage to files, stock sops
	@all=$$($(GO) list ./... | grep -E '$(ADAPTERS)$(if $(REAL),,|$(FULL))')
	first=$$(grep -E '/(cli|mail|minio|postgres|rabbitmq|realparts)$$' <<<"$$all")
	$(COMPUTING) $(TESTSUMMARY) -part full $(TEST) -timeout 3h -count 1 -p 4 -parallel 5 $$first $$(grep -vxF "$$first" <<<"$$all")

# What measures how long clients are refused runs alone, and first: it locks a file in the folder that CUSTODY_TURNS names,
# while the rest shares it. So all kinds start at once, measure one after the other, and get their trouble at once.
kinds: build ## each kind on the whole product: rotations under sign-ins, kills, lost replies
	@CUSTODY_TURNS=$$(mktemp -d)
	trap 'rm -rf "$$CUSTODY_TURNS"' EXIT
	export CUSTODY_TURNS
	all=$$($(GO) list ./... | grep -E '$(KIND_TESTS)')
	CUSTODY_ACCEPTANCE_BINARY=$(CURDIR)/bin/custody $(TESTSUMMARY) -part kinds $(TEST) -timeout 6h -count 1 -p $$(wc -l <<<"$$all") -parallel 5 $$all

# None of it measures.
acceptance: build ## the whole product: bad input, bad state, groups, restore, canary, the tutorial, the tour of the demo
	@CUSTODY_ACCEPTANCE_BINARY=$(CURDIR)/bin/custody $(TESTSUMMARY) -part acceptance $(TEST) -timeout 3h -count 1 -p 2 -parallel 6 ./internal/acceptance ./tools/demo

raced-all:
	@CGO_ENABLED=1 $(TESTSUMMARY) -part raced-all $(TEST) -timeout 6h -race -count 1 -p $(PARALLEL) $$($(GO) list ./... | grep -vE '$(KIND_TESTS)|$(WHOLE)|/internal/sim$$')

raced-binary:
	@CGO_ENABLED=1 $(GO) build -race -o bin/raced/custody ./cmd/custody
	CUSTODY_ACCEPTANCE_BINARY=$(CURDIR)/bin/raced/custody $(TESTSUMMARY) -part raced-binary $(TEST) -timeout 3h -count 1 ./internal/acceptance

# What the tests of a kind start stands in its own folder, KINDtest/parts, by the names of tools/install-parts; without that file
# they start nothing of the sort.

real: ## the tests of upstreams on their servers; KIND=redis: of that kind alone, with what it needs
	@if [ -z "$(KIND)" ]; then
	tools/install-parts all
	exec $(MAKE) --no-print-directory full kinds REAL=1
	fi
	[ -d "internal/upstream/$(KIND)" ] || { echo "error: there is no kind '$(KIND)'" >&2; echo "hint: kinds are folders of internal/upstream" >&2; exit 2; }
	parts="internal/upstream/$(KIND)/$(KIND)test/parts"
	[ ! -e "$$parts" ] || tools/install-parts $$(cat "$$parts")
	$(TESTSUMMARY) $(TEST) -count 1 -p 1 ./internal/upstream/$(KIND)/...

parts: ## install and build the real parts that tests start; tools/install-parts --help says more
	tools/install-parts all

demo: build ## a guided tour on this machine, in a folder of its own; it asks before it installs anything
	$(GO) build -o bin/custody-demo ./tools/demo
	bin/custody-demo --install bin/custody

fuzz: ## each fuzz target for FUZZTIME (10s)
	tools/fuzz

# One package at a time: nothing that measures has company. CUSTODY_LONG=1 takes the largest sizes, which need an hour and some
# gigabytes below TMPDIR. The simulation counts the writes of a rotation in a test, under its own clock.
bench: build ## benchmarks, and the table of costs: time, processor, memory, calls, and what each is aimed at
	@packages=$$(grep -rl --include='*_test.go' '^func Benchmark' internal | xargs -n 1 dirname | sort -u | sed 's|^|./|')
	CUSTODY_ACCEPTANCE_BINARY=$(CURDIR)/bin/custody $(GO) test -vet=off -run '^TestCallsOfARotation$$' -bench . -benchmem -p 1 -count 1 \
		-timeout $(if $(CUSTODY_LONG),6h,30m) $$packages ./internal/sim | $(GO) run ./tools/benchtable

generate: ## write generated files
	$(GO) generate ./...

verify-generated: ## generate again; fail when a file changes
	@tools/verify-generated

build: ## bin/custody, reproducible
	@$(GO) build -o bin/custody ./cmd/custody
