# Few verbs, each one line of meaning. CI calls the same.
.DEFAULT_GOAL := help
GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X main.buildVersion=$(VERSION)
# How long each fuzz target runs.
T       ?= 30s
# Where Cyrus is unpacked.
CYRUS   ?= /var/tmp/mailflume-cyrus-$(shell id -u)
# How many changes churn makes.
N       ?= 200000
# Where the vulnerability database is, when the network is not: file:///path.
VULNDB  ?=

##@ Every day

.PHONY: help
help: ## say what there is
	@awk -F':.*## ' '/^##@ / {print "\n" substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-9s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## mail from simulated Gmail and Outlook mailboxes on a stream: no account, no network
	$(GO) run ./cmd/mailflume demo

.PHONY: build
build: ## the binary, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/mailflume ./cmd/mailflume

.PHONY: image
image: ## the container image, with docker, podman or buildah
	scripts/image.sh

.PHONY: test
test: ## all tests, race detector on, with a real Dovecot
	scripts/test-deps.sh
	$(GO) test -race -shuffle=on -timeout 8m ./...

.PHONY: check
check: ## format, vet, staticcheck, tidy modules, known vulnerabilities
	@unformatted=$$($(TOOL) gofumpt -l cmd configs event fetcher internal mailbox parser publish scripts state token web); \
		test -z "$$unformatted" || { echo "gofumpt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) mod tidy -diff
	scripts/govulncheck.sh '$(VULNDB)'

.PHONY: ci
ci: ## what CI runs beside test and check: the proofs below in their short form
	scripts/test-deps.sh
	$(MAKE) chaos SHORT=1
	$(MAKE) soak SHORT=1
	$(MAKE) toxic SHORT=1
	$(MAKE) clock
	$(MAKE) cyrus
	$(MAKE) storm
	$(MAKE) oidc
	$(MAKE) browser
	$(MAKE) container
	$(MAKE) twice
	$(MAKE) fuzz T=10s

.PHONY: bench
bench: ## the benchmarks, compared by benchstat
	scripts/bench.sh

##@ Proofs that CI runs in their short form

.PHONY: chaos
chaos: ## kill -9 everywhere, two replicas, a broker outside: nothing lost, nothing twice
	MAILFLUME_CHAOS=$(if $(SHORT),short,long) $(GO) test -count=1 -timeout $(if $(SHORT),5m,3h) $(if $(SHORT),-parallel 6) -v ./internal/chaos
	MAILFLUME_CHAOS=$(if $(SHORT),short,long) $(GO) test -count=1 -timeout 20m -v ./internal/crashtest

.PHONY: soak
soak: ## 200 mailboxes under faults for T (2h): memory, goroutines and descriptors stay
	SOAK=$(if $(SHORT),2m,$(if $(filter command line,$(origin T)),$(T),2h)) $(GO) test -count=1 -timeout 24h -v -run 'TestSoak|TestTrend' ./internal/chaos

.PHONY: toxic
toxic: ## eight ways of a network to go bad, before IMAP, the stream and the token endpoint
	MAILFLUME_TOXIC=1 $(if $(SHORT),,MAILFLUME_TIMED=1) $(GO) test -count=1 -timeout 8m -v ./internal/toxic

.PHONY: clock
clock: ## the clock on the wall jumps: no mail late, no token renewed for nothing
	scripts/wallclock.sh -count=1 -timeout 5m -run TestWallClock -v ./mailbox

.PHONY: cyrus
cyrus: ## a second real server: Cyrus, unpacked from Debian's packages and not installed
	scripts/cyrus.sh $(CYRUS)
	MAILFLUME_CYRUS=$(CYRUS) $(GO) test -race -count=1 -timeout 3m -v ./internal/cyrus

.PHONY: storm
storm: ## 10,000 token rotations while replicas are killed; 10,000 grants sealed anew
	STORM=1 $(GO) test -count=1 -timeout 5m -v -run 'Storm|Rotate' ./token ./cmd/mailflume

.PHONY: oidc
oidc: ## the code flow against npm's certified oidc-provider; needs node
	cd internal/oidc && npm ci --ignore-scripts --no-audit --no-fund
	OIDC=1 $(GO) test -race -count=1 -timeout 2m -v ./internal/oidc

.PHONY: browser
browser: ## a mailbox is connected in a real browser; installs Chromium where it is missing
	scripts/test-deps.sh chromium
	BROWSER=1 $(GO) test -count=1 -timeout 2m -v -run TestBrowser ./cmd/mailflume

.PHONY: container
container: ## build the image with buildah and run its root read-only against Dovecot
	scripts/container-test.sh

.PHONY: twice
twice: ## two builds of the same source are the same bytes
	scripts/twice.sh

.PHONY: fuzz
fuzz: ## every fuzz target for T (30s)
	scripts/fuzz.sh $(T)

##@ Proofs to run by hand; each prints its figures

.PHONY: days
days: ## 30 days of 50 mailboxes with all their troubles, in seconds
	$(GO) test -count=1 -timeout 5m -v -run TestThirtyDays ./mailbox

.PHONY: simulate
simulate: ## 20,000 histories drawn at random: replicas, a broker and a mail server in all moods
	SIMULATION=20000 $(GO) test -count=1 -timeout 20m -v -run 'TestSimulation|TestSameHistory|TestTheJudgeOfHistories' ./mailbox

.PHONY: churn
churn: ## N (200000) changes by eight writers to a mailbox that is being read: each message once
	MAILFLUME_CHURN=$(N) $(GO) test -count=1 -timeout 40m -v -run TestChurn ./mailbox

.PHONY: poison
poison: ## 10,000 hostile messages with 1,000 good ones between; some that end the process
	POISON=long $(GO) test -count=1 -timeout 10m -v -run 'Poison|HostileMail' ./mailbox

.PHONY: hostile
hostile: ## what 60 hostile servers cost the mailbox beside theirs; needs a quiet machine
	MAILFLUME_TIMED=1 $(GO) test -count=1 -timeout 5m -v -run 'TestHostile' ./fetcher

.PHONY: rivals
rivals: ## mbsync, fetchmail, getmail and offlineimap under the same kill -9, in a table
	scripts/test-deps.sh
	scripts/apt-install.sh isync fetchmail getmail6 offlineimap3
	RIVALS=40 $(GO) test -count=1 -timeout 45m -v ./internal/rivals
