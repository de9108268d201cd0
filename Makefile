# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
#
# For a machine without a ROS installation: everything lives in .venv, made on first use.
# In a ROS workspace use `colcon build` and `ros2 launch` instead (README.md).

PYTHON ?= python3
OUT ?= out/demo
BIN := .venv/bin

# A ROS installation that the shell has sourced must not mix with the one in .venv.
unexport AMENT_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH RMW_IMPLEMENTATION

.DEFAULT_GOAL := help
.PHONY: help env demo test lint

help:  ## say what can be made
	@sed -nE 's/^([a-z]+):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 14

env: .venv/ready  ## make .venv (again when what it is made from changes)

demo: env  ## play a drive through the node; BAG=path TOPIC=/points plays yours, OUT=dir
	@$(BIN)/minkowski-perception demo --out "$(OUT)" $(if $(BAG),--bag "$(BAG)") \
		$(if $(TOPIC),--topic "$(TOPIC)")

# ROS messages check what is assigned to them; nodes meet only those of this machine, in a domain
# of this run, so that neither a robot nearby nor a second run disturbs.
test: env  ## run the tests; TESTS="test/test_labels.py -k name" runs some
	@echo "Running the tests (pytest $(TESTS)) ..."
	@ROS_PYTHON_CHECK_FIELDS=1 ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST \
		ROS_DOMAIN_ID=$$(($$$$ % 100 + 1)) $(BIN)/python -m pytest $(TESTS)

lint: env  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# The package is installed editable: changes in minkowski_perception/ take effect at once. What ROS
# looks for under share/ is copied beside it, so .venv is an ament prefix too, and a changed launch
# file or configuration installs again.
.venv/ready: setup.py constraints.txt package.xml $(wildcard config/* launch/*)
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON): sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) tools/check_machine.py
	@echo "Installing PyTorch, ROS 2 messages and the tools into .venv (2 GB, a few minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt \
		--editable ".[bags,datasets,kiss-icp,numba,pictures,simulation,tensorboard,ros,test,dev]"
	@$(BIN)/python -W ignore setup.py --quiet install_data --install-dir .venv
	@touch $@
