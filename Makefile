# `make help` lists what there is. Every target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help
help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv: .venv/complete ## the controller's tools, exactly as locked

.venv/complete: requirements.txt scripts/bootstrap
	@scripts/bootstrap tools

.PHONY: lock
lock: .venv ## recompile both lock files within the ranges of app/requirements.in and pyproject.toml
	cd app && uv pip compile $(LOCK) requirements.in -o requirements.txt
	uv pip compile $(LOCK) --group dev app/requirements.in -c app/requirements.txt -o requirements.txt
	@scripts/bootstrap tools

# No index address is recorded, so that the locks hold wherever the packages come from.
LOCK := --quiet --universal --generate-hashes --python-version 3.11 \
  --custom-compile-command "make lock"
