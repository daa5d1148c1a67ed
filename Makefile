# Two commands do it all on a fresh machine: `make demo` and `make test`.
# Everything runs out of .venv; `make setup` makes it and every other target depends on it.
SHELL := /bin/bash
PYTHON ?= python3
ARGS ?=
MEMBERS := contracts libs/shared libs/sandbox deploy/local services/invoicing services/matching services/scoring services/dunning services/reporting services/partners
RUN := .venv/bin/python
export UV_PYTHON_DOWNLOADS := never
# the sources are ours: no test may write byte code beside a half-edited file
.DEFAULT_GOAL := help

.PHONY: help setup demo up down status test lint contracts bench e2e lock

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/:.*?## /\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.stamp  ## make .venv from the hashed requirements and install the members editable

.venv/.stamp: requirements.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.txt
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

lock: setup  ## resolve the dependencies anew into requirements.txt (hashed, without any registry's address)
	.venv/bin/uv lock --quiet --upgrade
	.venv/bin/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-header --no-annotate --output-file requirements.txt
	@! grep -nE 'https?://|index-url' requirements.txt

