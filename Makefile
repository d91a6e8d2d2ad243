# SPDX-License-Identifier: Apache-2.0
# make demo and make test do all their own set-up; without a target, make lists what there is.

# The Python that .venv was made from, if it says so; else the usual one.
PYTHON ?= $(or $(shell sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null),python3)
SET_UP = @command -v $(PYTHON) >/dev/null \
	|| { echo "muon-ad: $(PYTHON) not found: sudo apt-get install -y python3, or make PYTHON=..." >&2; exit 1; }; \
	$(PYTHON) scripts/set_up.py
IN_ENVIRONMENT = . ./env.sh &&
SHELL = /bin/bash

.DEFAULT_GOAL := help
.PHONY: help demo test setup build lint doctor clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: setup  ## set up what is missing, run the joint task on moving pictures, show the report in out/demo
	@.venv/bin/muon-ad demo

# The library's tests run side by side, those of nodes one by one afterwards: nodes are processes, and have deadlines.
test:  ## set up what is missing, check the code, run every test (also over real DDS), list the skipped ones
	$(SET_UP) --with-tests
	@$(IN_ENVIRONMENT) ruff check . && mypy
	@$(IN_ENVIRONMENT) failed=0 || exit 1; \
	python -m pytest -rsxfE --ignore=test/ros -n auto --maxprocesses=4 --dist=loadfile || failed=1; \
	python -m pytest -rsxfE test/ros || failed=1; \
	exit $$failed

setup:  ## .venv, ROS (a sourced one, or else wheels), the message packages; quick when nothing changed
	$(SET_UP)

build: setup  ## the same as setup: builds what changed

lint:  ## ruff and mypy alone
	$(SET_UP) --with-tests
	@$(IN_ENVIRONMENT) ruff check . && mypy

doctor:  ## check this machine with the Python at hand
	@$(PYTHON) -m muon_ad_core.doctor

clean:  ## remove what set-up and tests made; out/ stays
	rm -rf .venv build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
