# Two commands do it all on a fresh machine: `make demo` and `make test`.
# Everything runs out of .venv; `make setup` makes it and every other target depends on it.
SHELL := /bin/bash
PYTHON ?= python3
ARGS ?=
SERVICES := invoicing matching scoring dunning reporting partners
PACKAGES := contracts shared sandbox onemachine $(SERVICES)
MEMBERS := contracts libs/shared libs/sandbox deploy/local $(addprefix services/,$(SERVICES))
RUN := .venv/bin/python
export UV_PYTHON_DOWNLOADS := never
.DEFAULT_GOAL := help

.PHONY: help setup demo up down status test faults e2e bench lint format contracts revision lock

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*?## /\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.stamp  ## make .venv from the hashed requirements and install the members editable

.venv/.stamp: requirements.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.txt
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

# private servers for the length of one command: addresses in the environment, everything gone afterwards
define with-servers
	@home=$$(mktemp -d) && trap '$(RUN) -m onemachine --root '"$$home"' infra down; rm -rf '"$$home" EXIT && \
	servers=$$($(RUN) -m onemachine --root "$$home" infra up) && eval "$$servers" && $(1)
endef

demo: setup  ## three months of a company's receivables before your eyes (ARGS=--json, --seed N, --days N, --customers N)
	@$(RUN) -m onemachine --root .encours/demo demo $(ARGS)

up: setup  ## start everything, return when it is ready, print the first steps
	@$(RUN) -m onemachine up --sandbox

down: setup  ## stop everything and keep the data
	@$(RUN) -m onemachine down

status: setup  ## each process: port, readiness, what it has yet to do, its log
	@$(RUN) -m onemachine status

test: setup  ## every test but the long fault runs, on private servers
	$(call with-servers,$(RUN) -m pytest -n 2 --dist loadfile -m 'not fault' contracts libs services deploy/local $(ARGS))

faults: setup  ## the fault suite: kills, outages, poison, rebalances (docs/faults.md)
	$(RUN) -m pytest -m fault libs services $(ARGS)

e2e: setup  ## black box: the whole stack started from nothing, HTTP and files in, HTTP and events out
	$(RUN) -m pytest e2e-tests $(ARGS)

bench: setup  ## measure, and print one JSON object
	@cd e2e-tests && ../$(RUN) -m bench $(ARGS)

lint: setup  ## ruff, mypy, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	MYPYPATH=e2e-tests .venv/bin/mypy $(addprefix -p ,$(PACKAGES) bench)
	.venv/bin/lint-imports --no-cache

format: setup  ## let ruff lay the code out
	.venv/bin/ruff check --fix --exit-zero --quiet .
	.venv/bin/ruff format --quiet .

contracts: setup  ## regenerate schemas, AsyncAPI and OpenAPI; name what breaks since the last commit on main
	$(RUN) -m contracts.generate
	$(RUN) -m shared.openapi $(SERVICES)
	$(RUN) -m contracts.compatibility --base $$(git rev-parse --verify --quiet main || git rev-parse --verify --quiet origin/main || git rev-parse HEAD)

revision: setup  ## write a migration from the difference between tables and schema: S=matching M="what changed"
	$(call with-servers,$(RUN) -m shared.testing.revision $(S) "$(M)")

lock: setup  ## resolve the dependencies anew into requirements.txt (hashed, without any registry's address)
	.venv/bin/uv lock --quiet --upgrade
	.venv/bin/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-header --no-annotate --output-file requirements.txt
	@! grep -nE 'https?://|index-url' requirements.txt
