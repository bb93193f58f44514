# Everything a developer does here. "make" alone lists it.

GO   ?= go
ARGS ?=

# Tools are pinned in a module of their own, so that they are not Cairn's
# dependencies.
TOOL = $(GO) tool -modfile=.ci/tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help build run demo test race lint deps bench scale bench-mission sim seeds jepsen jepsen-short fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build ./cairn
	$(GO) build -trimpath -o cairn .

run: build ## run a node on ./data (ARGS="--http :8081")
	./cairn serve --data ./data $(ARGS)

demo: build ## three nodes, forty teams, one minute (ARGS="--for 15s --kill")
	./cairn demo $(ARGS)

test: ## vet, and all tests
	$(GO) vet ./...
	$(GO) test ./...

race: ## all tests with the race detector
	$(GO) test -race -timeout 40m ./...

lint: ## format, vet, staticcheck and the rules of the tree
	@out="$$($(TOOL) gofumpt -l -extra $$(git ls-files -- '*.go'))"; \
	  if [ -n "$$out" ]; then echo "gofumpt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test -count 1 -run "Tidy|TopLevel" ./fsm

deps: ## what some tests need of the system (as root)
	.ci/deps.sh

bench: build ## measure a cluster of three nodes on this machine (ARGS="--for 10s")
	./cairn bench cluster $(ARGS)

scale: build ## clusters of 3 to 31 nodes under one load, with a plot (ARGS="--nodes 3,9")
	./cairn bench scale --baseline --plot scale.svg $(ARGS)

bench-mission: build ## Cairn against every event on every node, and in trouble, with a plot (ARGS="--soak 0")
	./cairn bench mission --plot mission.svg $(ARGS)

sim: ## the long tests: faults, crashes, the real hunt at its pace (CAIRN_LONG=1)
	CAIRN_LONG=1 $(GO) test -count 1 -timeout 60m ./...

seeds: ## faults in virtual time, a table at the end (TIME=10m NEMESIS=power,clock QUIET=1)
	TIME=$(or $(TIME),10m) $(GO) test ./cluster -count 1 -run TestFaultSeeds -v -timeout 0

jepsen: ## hurt clusters in every way, TIME=5m each, and judge them; or NEMESIS=halves SEED=7 (as root)
	NEMESIS="$(or $(NEMESIS),every)" SEED="$(SEED)" TIME="$(or $(TIME),5m)" \
	  $(GO) test -count 1 -v -timeout 0 -run 'TestFaults$$' ./httpapi/faulttest

jepsen-short: ## one short run of a mix of faults; it is in "make test" too
	NEMESIS= SEED="$(SEED)" TIME= $(GO) test -count 1 -v -run 'TestFaults$$' ./httpapi/faulttest

fuzz: ## fuzz every decoder (FUZZTIME=10s each)
	.ci/fuzz.sh $(FUZZTIME)

clean: ## remove what the targets above made
	rm -rf cairn bin data scale.svg load.svg mission.svg
	$(GO) clean -testcache
