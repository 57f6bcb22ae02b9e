# `make help` lists what there is; each target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The scenarios of `make test`; `make scenarios` runs every other one that there is.
TEST_SCENARIOS := default apps
OTHER_SCENARIOS := $(filter-out $(TEST_SCENARIOS),$(patsubst molecule/%/molecule.yml,%,$(sort $(wildcard molecule/*/molecule.yml))))

# What may be changed, as in `make up DEBIAN=13 HTTP_PORT=8081`.
PYTHON ?= python3
DEBIAN ?= 12
HTTP_PORT ?= 8080?
SSH_PORT ?=
TLS ?=
HTTPS_PORT ?= 8443
HOSTS_PREFIX ?=
HOSTS_SUBNET ?=
SCENARIO ?= $(patsubst %,-s %,$(TEST_SCENARIOS))
MATRIX ?=
MEASURE ?=
ORDER ?=
PARTS ?=

export PYTHON MATRIX MEASURE HOSTS_PREFIX HOSTS_SUBNET
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Lint and tests start hundreds of Pythons: without byte code each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# No test depends on another: with ORDER=random, or the number that such a run prints, another order.
ifneq ($(ORDER),)
export PYTEST_ADDOPTS := $(PYTEST_ADDOPTS) -p randomly $(if $(filter-out random,$(ORDER)),--randomly-seed=$(ORDER))
endif
# Molecule's frame around a command's output would wrap and indent its lines.
export MOLECULE_COMMAND_BORDERS := false

.PHONY: help
help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "Variables: DEBIAN=12|13, HTTP_PORT=8080 and SSH_PORT=2222 for up, TLS=local and HTTPS_PORT=8443 for HTTPS;"
	@echo "SCENARIO='-s rollout' for molecule, and MEASURE=yes on a quiet machine; PARTS='playbooks load cost frontdoor game isolation growth' for bench;"
	@echo "PYTHON=python3; MATRIX=all for every case of unit, ORDER=random for tests in another order; HOSTS_PREFIX=atw-xxxxxx and HOSTS_SUBNET=10.77.0.0/24 for hosts."

# --- the tools ------------------------------------------------------------------------------------

.PHONY: .venv
.venv: .venv/complete ## set up the tools, exactly as locked

.venv/complete: requirements.txt scripts/bootstrap
	@scripts/bootstrap tools

.PHONY: hosts-tools
hosts-tools: .venv
	@scripts/bootstrap hosts

# No index address is recorded, so that the locks hold wherever the packages come from.
COMPILE = uv pip compile --quiet --universal --generate-hashes --python-version 3.11

.PHONY: lock
lock: .venv ## compile the lock files anew; UPGRADE=--upgrade for newer versions
	@echo "Locking app/requirements.txt"
	@cd app && $(COMPILE) $(UPGRADE) --no-header requirements.in --output-file requirements.txt
	@echo "Locking requirements.txt"
	@$(COMPILE) $(UPGRADE) --custom-compile-command "make lock" --group dev app/requirements.in \
	  --constraint app/requirements.txt --output-file requirements.txt
	@echo "Locking bench/requirements.txt"
	@cd bench && $(COMPILE) $(UPGRADE) --no-header requirements.in --output-file requirements.txt
	@for app in {molecule/apps/*,molecule/apps/tests/socketio,molecule/pools/{libraries,project},molecule/frontdoor/sslyze,molecule/data/seaweedfs,bench/app,roles/aroundtheworld/files/build}/requirements.in; do \
	  echo "Locking $${app%.in}.txt"; \
	  (cd "$${app%/*}" && $(COMPILE) $(UPGRADE) --no-header requirements.in --output-file requirements.txt); \
	done
	@scripts/bootstrap tools

# --- the local host -------------------------------------------------------------------------------

LOCAL := .cache/local
PLATFORM = [{"name": "local", "debian": $(DEBIAN), \
  "publish": ["80=$(HTTP_PORT)"$(if $(SSH_PORT),$(comma) "22=$(SSH_PORT)")$(if $(TLS),$(comma) $(HTTPS))]}]
# The same port on both sides, because nginx sends visitors of HTTP there.
HTTPS = "$(HTTPS_PORT)=$(HTTPS_PORT)"
SITE = $(if $(TLS),--extra-vars="aroundtheworld_tls=$(TLS) aroundtheworld_https_port=$(HTTPS_PORT)")
comma := ,

.PHONY: up
up: hosts-tools ## deploy to a host that is made for it, and print its address
	@molecule/shared/hosts.py build $(DEBIAN)
	@echo "Starting the host"
	@ansible-playbook molecule/shared/create.yml -e test_hosts_directory=$(CURDIR)/$(LOCAL) \
	  -e '{"test_hosts_platforms": $(PLATFORM)}'
	@echo "Deploying"
	@ansible-playbook site.yml $(SITE)
	@molecule/shared/hosts.py urls --directory $(LOCAL) $(if $(TLS),--https=$(HTTPS_PORT))

.PHONY: down
down: .venv ## remove that host and everything that was made for it
	@ansible-playbook molecule/shared/destroy.yml -e test_hosts_directory=$(CURDIR)/$(LOCAL)

# --- the tests ------------------------------------------------------------------------------------

.PHONY: test
test: lint unit molecule ## all of the following

.PHONY: lint
lint: .venv ## check the style, types and known mistakes of every file
	@scripts/lint

.PHONY: unit
unit: .venv ## run the tests that need no host
	@scripts/bootstrap unit
	@pytest --numprocesses=$$(( $$(nproc) * 3 )) --dist=worksteal  # many of them wait

.PHONY: molecule
molecule: hosts-tools ## prove the role on Debian 12 and 13 hosts
	@scripts/bootstrap browser
	@molecule/shared/hosts.py build 12 13
	@molecule test $(SCENARIO)

.PHONY: scenarios
scenarios: ## prove the rest of the role: every Molecule scenario that `make test` does not run
	@$(MAKE) molecule SCENARIO="$(patsubst %,-s %,$(OTHER_SCENARIOS))"
	@python molecule/rollout/sabotage.py

.PHONY: docs
docs: .venv ## write what is generated anew: the README's tables of variables, Grafana's dashboard
	@scripts/readme_table
	@scripts/dashboard

# --- the package -----------------------------------------------------------------------------------

.PHONY: package
package: ## make the role's tarball in dist, for `ansible-galaxy role install`
	@scripts/package

# --- the measurements ------------------------------------------------------------------------------

.PHONY: bench
bench: hosts-tools ## measure what is promised about speed, and write docs/benchmarks.md
	@molecule/shared/hosts.py build 12
	@python -m bench $(PARTS)

# --- cleaning up ----------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove the hosts, the tools and everything else that is not in git
	@if [ -d .venv ]; then $(MAKE) down; fi
	@rm -rf .venv .cache dist .ansible .mypy_cache .pytest_cache .ruff_cache
