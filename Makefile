# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
#
# For a machine without a ROS installation: everything lives in a virtual environment, made on first
# use. In a ROS workspace use `colcon build` and `ros2 launch` instead (docs/robot.md).

PYTHON ?= python3
OUT ?= out/demo
# Release of ROS 2 whose wheels are installed: kilted or jazzy.
ROS ?= kilted
VENV := $(if $(filter kilted,$(ROS)),.venv,.venv-$(ROS))
BIN := $(VENV)/bin
EXTRAS := bags,datasets,kiss-icp,numba,pictures,simulation,ros,test
# The environment of a second release is for the tests of the node.
ifeq ($(ROS),kilted)
EXTRAS := $(EXTRAS),ray,rerun,tensorboard,triton,dev
endif

# A ROS installation that the shell has sourced must not mix with the one in the environment.
unexport AMENT_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH RMW_IMPLEMENTATION

.DEFAULT_GOAL := help
.PHONY: help env demo test test-fast fuzz soak lint gpu-check

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*##/  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

env: $(VENV)/ready  ## make the environment .venv; ROS=jazzy makes .venv-jazzy

demo: env  ## play a drive through the node; BAG=path TOPIC=/points plays yours, OUT=dir
	@$(BIN)/minkowski-perception demo --out "$(OUT)" $(if $(BAG),--bag "$(BAG)") \
		$(if $(TOPIC),--topic "$(TOPIC)")

# ROS messages check assigned values. Nodes meet only those of this machine, in a domain of this
# run, so that neither a robot nearby nor a second run disturbs.
ISOLATED = ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST ROS_DOMAIN_ID=$$(($$$$ % 100 + 1))
PYTEST = ROS_PYTHON_CHECK_FIELDS=1 $(ISOLATED) $(BIN)/python -m pytest

# More processes than cores: tests of the node mostly wait for it.
test: env  ## run all tests, in parallel; TESTS="test/test_labels.py -k name" runs some
	@echo "Running the tests (pytest $(TESTS)) ..."
	@$(PYTEST) --numprocesses $$(($$(nproc) + 2)) --dist loadgroup $(TESTS)

test-fast: env  ## run the tests that take no simulation, training or processes
	@$(PYTEST) --numprocesses auto --dist loadgroup -m "not slow and not system" $(TESTS)

gpu-check: env  ## check and measure the CUDA path on a GPU, in ten minutes
	@$(BIN)/python tools/gpu_check.py --out out/gpu_check.json

fuzz: env  ## random clouds, requests and transitions; CASE="clouds 3+cut:17" repeats one
	@$(ISOLATED) PYTHONPATH=.:test:test/fuzz $(BIN)/python test/fuzz/fuzz.py $(CASE)

soak: env  ## the node for an hour with random faults; MINUTES=60, report in out/soak
	@$(ISOLATED) PYTHONPATH=.:test:test/node:test/fuzz $(BIN)/python test/soak/soak.py \
		--minutes $(or $(MINUTES),60)

lint: env  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# The package is installed editable: changes in minkowski_perception/ take effect at once. What ROS
# looks for under share/ is copied beside it, so the environment is an ament prefix too, and a
# changed launch file or configuration installs again.
$(VENV)/ready: setup.py constraints.txt constraints-$(ROS).txt package.xml $(wildcard config/* launch/*)
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON): sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) tools/prepare_machine.py
	@echo "Installing PyTorch, ROS 2 ($(ROS)) and the tools into $(VENV) (2 GB, a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--constraint constraints.txt --constraint constraints-$(ROS).txt --editable ".[$(EXTRAS)]"
	@$(BIN)/python -W ignore setup.py --quiet install_data --install-dir $(VENV)
	@touch $@
