# The book and its tests. `make help` lists what there is.
PYTHON ?= python3
PROFILE ?= full
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

book: $(VENV)/book.installed ## run the notebooks, render the book into _build/html (PROFILE=quick|full, TRACE=mine.csv)
	@$(BIN)/hi book --profile $(PROFILE) $(if $(TRACE),--trace "$$TRACE")

test: $(VENV)/test.installed book ## all tests: lint, types, units, theory, notebooks, the book in a browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal

test-slow: $(VENV)/test.installed $(VENV)/pdf.installed book ## every printed command, killed builds, the oldest NumPy
	$(BIN)/pytest -n auto --dist worksteal tests/slow --override-ini addopts="-ra"

test-models: $(VENV)/models.installed $(VENV)/test-models.installed ## what makes traces, for real (torch: 5 GB); HI_DATA adds real images
	$(BIN)/pytest -o addopts="" -o filterwarnings="" -ra tests/with_models

pdf: $(VENV)/book.installed $(VENV)/pdf.installed ## print the whole book to _build/batch-hi.pdf; needs Chromium
	@$(BIN)/python .ci/pdf.py $(PROFILE)

archive: book ## pack the source and the rendered book into one zip, for a deposit; with the PDF if make pdf made one
	@$(BIN)/python .ci/archive.py

serve: book ## serve the book on 127.0.0.1 (PORT=8000)
	@$(BIN)/hi serve --port $(PORT)

lab: $(VENV)/lab.installed ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

bench: $(VENV)/book.installed ## measure speed and memory here; writes data/benchmarks, which the book shows
	@$(BIN)/python .ci/bench.py

lock: $(VENV)/book.installed ## resolve all dependencies afresh and write requirements.lock
	$(BIN)/python .ci/lock.py

clean: ## remove what was built; the environment in .venv stays
	rm -rf _build results .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One environment; each extra is installed when first needed, and again when the pins change.
$(VENV)/%.installed: pyproject.toml requirements.lock
	@$(PYTHON) .ci/install.py $*

.PHONY: help book pdf archive test test-slow test-models serve lab bench lock clean
SHELL := bash
