# farwide: `make demo` and `make test` need nothing but Python >= 3.11 and a network to install from.
#
#   make TARGET [PYTHON=python3.13] [VENV=.venv] [PRESET=demo]

.DEFAULT_GOAL := help
.NOTPARALLEL:
VENV ?= .venv
PRESET ?= demo
PY := $(VENV)/bin/python
# pytest-xdist runs one process a core. More than eight gain nothing and cost memory.
PYTEST := "$(PY)" -m pytest -n auto --maxprocesses 8
TREE := src kernels_pallas theory experiments benchmarks tools tests notebooks
export PYTHON

.PHONY: help demo test test-slow check format lower notebooks bench golden wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## train small models on real data, predict a larger one, write a report (PRESET=smoke is quicker)
	@tools/set_up.sh "$(VENV)" core
	"$(PY)" -m experiments.scaling_sweep --preset $(PRESET)

test: ## the quick tests, on all cores
	@tools/set_up.sh "$(VENV)" dev
	$(PYTEST) -m "not slow"

test-slow: ## the long sweeps and kill tests
	@tools/set_up.sh "$(VENV)" dev
	$(PYTEST) -m slow

check: ## lint, formatting, types, and the arrows between the packages
	@tools/set_up.sh "$(VENV)" dev
	"$(PY)" -m ruff check
	"$(PY)" -m ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 "$(PY)" -m pyright --pythonpath "$(PY)"
	PYTHONPATH=src:. "$(VENV)/bin/lint-imports"

format: ## rewrite the sources in the house format
	@tools/set_up.sh "$(VENV)" dev
	"$(PY)" -m ruff check --fix
	"$(PY)" -m ruff format

lower: ## lower the operators for CUDA and TPU, with no such device
	@tools/set_up.sh "$(VENV)" dev
	$(PYTEST) -m lower

notebooks: ## run every notebook at toy size
	@tools/set_up.sh "$(VENV)" dev
	FARWIDE_TOY=1 "$(PY)" tools/notebooks.py run

bench: ## the benchmarks at their quick CPU sizes, into runs/benchmarks
	@tools/set_up.sh "$(VENV)" dev
	"$(PY)" -m benchmarks.long_conv --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.neighborhood_attention --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.infinite_width --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.empirical_ntk --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.pooled_myrtle --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.long_conv_kernel --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.dkm_step --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.generation --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.scaling_recovery --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.scaling_fit --quick --out runs/benchmarks
	"$(PY)" -m benchmarks.scaling_real_logs --quick --out runs/benchmarks

golden: ## make the golden values again, by neural_tangents in an environment of its own (Python 3.11)
	"$${PYTHON:-python3.11}" -m venv .venv-golden
	.venv-golden/bin/python -m pip install --quiet --requirement tests/golden/requirements.txt
	cd tests && ../.venv-golden/bin/python -m golden.make_golden

wheel: ## build the wheel into dist/
	@tools/set_up.sh "$(VENV)" dev
	"$(PY)" -m build --wheel --no-isolation

clean: ## remove caches and builds; environments (.venv*) and runs/ stay
	rm -rf dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(TREE) -name __pycache__ -type d -prune -exec rm -rf {} +
