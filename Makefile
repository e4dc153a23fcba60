# zonegate's commands. `make help` lists them; README.md says which two to try first.
# Longer steps live in scripts/, so that each can be read and run by itself.

.DEFAULT_GOAL := help
.NOTPARALLEL:

# Every Go command below runs with the same flags, so they share one build cache:
# -trimpath keeps machine paths out, nomsgpack keeps 7 MB of a codec out of gin,
# nethttpomithttp2 keeps 0.3 MB out of net/http that a captive portal never serves,
# and the version is stamped below instead of read from git by the Go command.
export GOFLAGS := -trimpath -tags=nomsgpack,nethttpomithttp2 -buildvcs=false
export CGO_ENABLED := 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export LDFLAGS := -s -w -X main.version=$(VERSION)

# For routers everything is built without inlining, and only what is called for each byte, each
# allocation or each lock keeps it (hot), or is smaller with it (tiny): customers' packets never
# pass through the program. Of the compiler's own switches: variablemakethreshold=0 puts no second,
# stack-allocated copy beside a make of unknown size, wrapglobalmapctl=2 lets the linker drop every
# map that nobody reads, maxshapelen=64 shortens the names of generic functions, noopendefer=1
# writes deferred calls once instead of at every return. Figures: docs/architecture.md.
ROUTER_SMALL := -d=maxshapelen=64,noopendefer=1,variablemakethreshold=0,wrapglobalmapctl=2
FIPS := crypto/internal/fips140
ROUTER_HOT := runtime/... sync/... bytes unicode/... math math/bits math/rand/... hash/... \
	$(addprefix internal/,runtime/... abi byteorder bytealg chacha8rand race strconv stringslite sync) \
	$(addprefix crypto/,cipher des md5 rc4 sha1 subtle internal/constanttime) $(FIPS)deps/... \
	$(addprefix $(FIPS)/,aes/... alias bigmod edwards25519/... mlkem nistec/fiat sha256 sha3 sha512 subtle) \
	$(addprefix vendor/golang.org/x/crypto/,chacha20 internal/...)
ROUTER_TINY := go.etcd.io/bbolt/errors golang.org/x/net/http2 \
	golang.org/x/net/dns/dnsmessage vendor/golang.org/x/net/dns/dnsmessage

# Parts of the standard library are replaced for routers, as the modules in go.mod are:
# third_party/stubs/README.md says why.
ROUTER_OVERLAY := build/router-overlay.json

# The linker would round each of the three segments to 64 KB, for kernels with such pages. Those
# of 32-bit MIPS routers have 4 KB, few others 16.
export MIPS_LDFLAGS := -R 16384

# Written as GOFLAGS wants it, since the first value has a space in it.
export ROUTER_GCFLAGS := -overlay=$(ROUTER_OVERLAY) '-gcflags=all=-l $(ROUTER_SMALL)' \
	$(foreach p,$(ROUTER_HOT) $(ROUTER_TINY),-gcflags=$(p)=$(ROUTER_SMALL))

# Tests and the lab need root for network namespaces; a developer is asked once.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
TEMPL       := github.com/a-h/templ/cmd/templ@v0.3.977

# Packages whose tests make network namespaces or mounts: run once, one at a time, as root.
ROOTED := ^zonegate/(cmd|firmware|internal/lab|shaper/kernel)(/|$$)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

deps: ## install the Debian packages that the lab needs, if missing
	@scripts/deps.sh

testdeps: ## the same for the tests: browser, emulators, compiler
	@scripts/deps.sh test

build: ## build every program for this machine into build/
	@for d in cmd/*/; do p=$$(basename $$d); echo "building build/$$p"; \
		go build -ldflags '$(LDFLAGS)' -o build/$$p ./cmd/$$p || exit 1; done

lab: deps build ## run a whole zone on this machine: phones, gateway, internet (Ctrl-C ends it)
	@$(SUDO) build/zonelab up

bench: deps build ## measure the data path, the store and the portal in the lab
	@$(SUDO) build/zonelab bench

bench-radius: build ## measure the RADIUS server against FreeRADIUS, on this machine (15 minutes)
	@scripts/deps.sh radius
	@$(SUDO) build/zonelab bench --only radius

bench-mikrotik: build ## measure the commands that a MikroTik is given, on a simulated one (2 minutes)
	@$(SUDO) build/zonelab bench --only mikrotik

bench-hub: build ## measure the hub with 10,000 gateways, and what a gateway sends it (15 minutes)
	@scripts/deps.sh hub
	@$(SUDO) build/zonelab bench --only hub

bench-money: build ## measure payments: at the portal, on the customer's page and through the hub (3 minutes)
	@scripts/deps.sh hub
	@$(SUDO) build/zonelab bench --only money

test: ## everything that must pass: lint, unit, kernel, cross, size (installs what it needs)
	@rm -f build/test-totals
	@$(MAKE) --no-print-directory testdeps lint unit torture-money kernel cross size
	@scripts/totals.sh

# SQLite's own code is C that was translated: the race detector finds nothing in it, and makes it
# several times as slow.
RACE := -race '-gcflags=modernc.org/sqlite/lib=-race=false'

unit: build/runtests ## tests that need no root, shuffled, with the race detector
	@CGO_ENABLED=1 build/runtests -name unit -- $(RACE) -shuffle=on -count=1 \
		$$(go list ./... | grep -vE '$(ROOTED)|/internal/torture$$')

torture-money: build/runtests ## all that can go wrong with money, N seeds (500) and rules switched off; SEED replays one
ifdef SEED
	@go test -count=1 -v -run '^TestTorture$$' ./internal/torture -seed $(SEED)
else ifdef N
	@build/runtests -name torture -- -count=1 -timeout 6h -run '^TestTorture$$' ./internal/torture -seeds $(N)
else
	@build/runtests -name torture -- -count=1 -timeout 20m ./internal/torture
endif

kernel: build/runtests ## tests against the running kernel, in network namespaces, as root
	@CGO_ENABLED=1 build/runtests -name kernel -- $(RACE) -count=1 -p 1 $(if $(SUDO),-exec '$(SUDO)') \
		$$(go list ./... | grep -E '$(ROOTED)')

cross: build/runtests $(ROUTER_OVERLAY) ## build for every router, compile the tests for it, run some as mips and arm
	@scripts/cross.sh

ROUTEROS := build/routeros
export VERSION
routeros-image: $(ROUTER_OVERLAY) ## build the container images for RouterOS (arm, arm64, amd64) into build/routeros/
	@scripts/routeros-image.sh $(ROUTEROS)

size: $(ROUTER_OVERLAY) ## size of the router's binary by package; fails above the ceiling
	@scripts/size.sh

lint: ## gofmt, go vet, generated pages up to date, staticcheck
	@scripts/lint.sh "$(STATICCHECK)" "$(TEMPL)"

generate: ## regenerate the pages of web/ and hub/console/ from their .templ files
	@for d in web hub/console; do (cd $$d && go run $(TEMPL) generate) || exit 1; done

fuzz: ## run every fuzz test for FUZZTIME (60s) each
	@scripts/fuzz.sh $(or $(FUZZTIME),60s)

vuln: ## look our dependencies up in the Go vulnerability database (needs the internet)
	@go run $(GOVULNCHECK) ./... || { echo >&2 "vuln: failed. If the database could not be reached, nothing was checked: run it where it can be."; exit 1; }

clean: ## remove build/
	rm -rf build

# Built for this machine even while a script builds for others.
build/runtests: scripts/runtests/main.go
	@go build -o $@ ./scripts/runtests

# Written each time, since it names where the Go release of the moment is.
.PHONY: $(ROUTER_OVERLAY)
$(ROUTER_OVERLAY):
	@scripts/overlay.sh $@

.PHONY: help deps testdeps build lab bench bench-radius bench-mikrotik bench-hub bench-money test unit torture-money kernel cross routeros-image size lint generate fuzz vuln clean
