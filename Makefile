# Kobel. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

SETUP := scripts/setup.sh
NPM := npm --no-fund --no-audit
PYTHON := $(CURDIR)/.venv/bin/python
WEB := $(shell find web/src web/public web/index.html web/scripts web/*.json web/*.ts web/*.js -type f 2>/dev/null)
ARGS ?=

say = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | column -t -s $$'\t'
	echo
	echo 'Options of the hub go into ARGS: make run ARGS="--listen 0.0.0.0:8000"'

.PHONY: run
run: build ## Build Kobel and watch this machine; prints a link to sign in
	$(call say,Starting Kobel: open the link below)
	exec target/release/kobel serve $(ARGS)

.PHONY: build
build: web/dist/index.html ## Build the page and the binary, target/release/kobel
	$(call say,Building the binary (a few minutes the first time))
	cargo build --release --locked -p kobel

.PHONY: page
page: web/dist/index.html ## Build the page, web/dist

web/dist/index.html: web/node_modules/.package-lock.json $(WEB)
	$(call say,Building the page)
	$(NPM) --prefix web run build

web/node_modules/.package-lock.json: web/package-lock.json
	@$(SETUP) build
	$(call say,Installing what the page is built with)
	$(NPM) --prefix web ci
	touch $@

.PHONY: test
test: setup check unit fuzz e2e ## Everything: install what is missing, check, unit tests, fuzzers for a moment, end-to-end tests
	$(call say,All of it passed)

.PHONY: setup
setup: ## Install what a fresh Debian machine lacks for the tests
	@$(SETUP) build test

.PHONY: check
check: page ## Formatting, lints and types
	$(call say,rustfmt and clippy)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --exclude kobel --no-deps --locked --quiet
	$(call say,prettier and svelte-check)
	$(NPM) --prefix web run lint:format
	$(NPM) --prefix web run check

.PHONY: unit
unit: page ## Unit and integration tests of the crates and of the page
	$(call say,Tests of the crates)
	cargo test --workspace --locked --quiet
	$(call say,Tests of the page)
	$(NPM) --prefix web run test

.PHONY: fuzz
fuzz: ## Each decoder against made-up input, SECONDS long (5)
	$(call say,Fuzzing)
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	SECONDS_EACH=$(or $(SECONDS),5) fuzz/run.sh

.PHONY: e2e
e2e: page tests/e2e/node_modules/.package-lock.json examples/node_modules/.package-lock.json .venv/installed ## Stock clients and a browser against the real binary and a real Docker
	$(call say,Building the binary)
	cargo build --locked -p kobel
	$(call say,End-to-end tests)
	$(NPM) --prefix tests/e2e run format:check
	KOBEL_PYTHON=$(PYTHON) $(NPM) --prefix tests/e2e test

tests/e2e/node_modules/.package-lock.json: tests/e2e/package-lock.json
	$(NPM) --prefix tests/e2e ci
	touch $@

examples/node_modules/.package-lock.json: examples/package-lock.json
	$(NPM) --prefix examples ci
	touch $@

.venv/installed: examples/requirements.txt tests/e2e/requirements.txt
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tests/e2e/requirements.txt
	touch $@

.PHONY: bench
bench: ## Kobel beside its peers under one contract, then what shaping saves; QUICK=1: the first, under three minutes
	bench/run.sh

.PHONY: bench-shaping
bench-shaping: ## Bytes, time and memory of formats, tiers and demand, on a hub with a simulated fleet
	bench/run.sh shaping

.PHONY: screenshot
screenshot: e2e ## Renew the README's pictures from the browser of the end-to-end tests
	mkdir -p docs/images
	cp tests/e2e/out/fleet-1000-light.png docs/images/fleet-light.png
	cp tests/e2e/out/device-dark.png docs/images/

.PHONY: docs
docs: ## Renew docs/configuration.md from the options
	KOBEL_WRITE_DOCS=1 cargo test --locked -p kobel the_reference_page

.PHONY: format
format: ## Format everything
	cargo fmt --all
	$(NPM) --prefix web run format
	$(NPM) --prefix tests/e2e run format

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -rf fuzz/target fuzz/corpus web/dist web/node_modules tests/e2e/node_modules tests/e2e/out examples/node_modules .venv
