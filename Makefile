# The book and its tests. `make help` lists what there is.
PYTHON ?= python3
PROFILE ?= full
PORT ?= 8000
SEED ?= $(shell date +%j)
N ?= 20
VENV := .venv
BIN := $(VENV)/bin
# A Python that was asked for makes the environment anew if that is of another one.
INSTALL := $(PYTHON) tools/install.py $(if $(filter-out file,$(origin PYTHON)),--this-python)
# What a user has set for Python is for other work: it would change results, hide packages, or keep nothing compiled. Only
# where compiled files go is kept, and a path to this very folder.
OWN_PYTHON := PYTHON PYTHONPYCACHEPREFIX $(if $(findstring x$(CURDIR)x,x$(PYTHONPATH)x),PYTHONPATH)
unexport PYTHONDONTWRITEBYTECODE $(filter-out $(OWN_PYTHON),$(filter PYTHON%,$(.VARIABLES)))
# Some programs want a home, which a user without an entry in the system's list has not.
export HOME ?= $(CURDIR)/_build/home

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12
	@echo "for a release, or what only some need:"
	@grep -E '^[a-z-]+:.*##: ' Makefile | sed -E 's/:.*##: /\t/' | expand -t 14

book: for-book ## run the notebooks, render the book into _build/html (PROFILE=quick|full, TRACE=mine.csv, READ="--label COL …")
	@$(BIN)/hi book --profile $(PROFILE) $(if $(TRACE),--trace "$$TRACE" $(READ))

check: for-test ## format, lint, types, imports and the fast tests of the library's core, in twenty seconds
	$(LINT)
	$(BIN)/pytest -n auto -q $(addprefix tests/test_,$(addsuffix .py,cycles learners regret run_times timing traces))
define LINT
$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
endef

# Compiled functions are run by their Python source once more, so that their lines count, too.
COUNTED = $$(grep -rlw --include="*.py" python_source tests)
test: for-test book ## all tests: lint, types, units, theory, notebooks, the book in a browser; and which lines they leave out
	$(LINT)
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -n auto -W ignore::RuntimeWarning --cov --cov-append --cov-report= -m python_source $(COUNTED)
	$(BIN)/coverage report --include='hi_book/*/*.py,hi_live/*.py,hi_lib/logs/*.py' --skip-covered --fail-under=90
	$(BIN)/coverage report --include=$(CORE) --skip-covered --show-missing --fail-under=100
# What must be covered whole: all that learns, and all that counts times.
CORE := 'hi_lib/*.py,hi_lib/device/*.py,hi_lib/events/*.py,hi_lib/studies/*.py,hi_lib/advise/*.py'

test-random: for-test book ##: all tests in random order, on all cores and then one after the other (SEED=1)
	$(BIN)/pytest -n auto --random-order --random-order-seed=$(SEED)
	$(BIN)/pytest --random-order --random-order-seed=$(SEED)

test-slow: for-test for-pdf for-lab for-archive book ## every printed command, killed builds, the oldest NumPy
	$(BIN)/pytest -n auto --dist worksteal -m slow
	$(BIN)/pytest -n auto --dist worksteal tests/slow --override-ini addopts="-ra"

test-models: for-models for-test-models for-live ##: what makes traces, for real (torch: 5 GB); HI_DATA adds real images
	$(BIN)/pytest -o addopts="" -o filterwarnings="" -ra tests/book/makers/with_models

test-device: for-test ##: the C header for microcontrollers, on emulated ones (apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm)
	$(BIN)/pytest -n auto -m "slow or not slow" tests/device/test_c.py tests/device/test_arm.py

mutants: SEED = 1
mutants: for-test book ##: change one operator at a time, and see whether the fast tests notice (N=20, SEED=1)
	@$(BIN)/python tools/mutants.py --number $(N) --seed $(SEED)

test-badges: for-test for-badges ##: croissant.json, licences, Dockerfile and archive, by the tools of those who define them
	$(BIN)/pytest -ra -m "slow or not slow" tests/test_badges.py

pdf: for-book for-pdf ##: print the whole book to _build/batch-hi.pdf; needs Chromium
	@$(BIN)/python tools/pdf.py $(PROFILE)

archive: note-doi for-archive book ##: pack source, rendered book and PDF, if there is one, into a zip for a deposit (DOI=10.5281/zenodo.…)
	@$(if $(DOI),$(BIN)/python tools/facts.py && $(MAKE) --no-print-directory book)
	@$(BIN)/python tools/archive.py

# A wrong DOI is refused before the book is built; the book shows it, too, so that one page is rendered anew after that.
note-doi: for-book
	@$(if $(DOI),$(BIN)/python tools/badges.py "$$DOI")

serve: book ## serve the book on 127.0.0.1 (PORT=8000)
	@$(BIN)/hi serve --port $(PORT)

lab: for-lab book ## open copies of the notebooks in JupyterLab, to change and run
	@$(BIN)/hi lab

bench: for-book ##: measure speed and memory here; writes data/benchmarks, which the book shows
	@$(BIN)/python tools/bench.py

bench-live: for-live for-models ##: measure Batch HI over a real wire here; writes data/benchmarks/live, which the book shows; HI_DATA holds the images
	@$(BIN)/python tools/bench_live.py

bench-network: for-live ##: measure transmissions through the kernel's TCP here (Linux, root); writes data/benchmarks/network
	@$(BIN)/python tools/bench_network.py
	@$(BIN)/python tools/bench_hosts.py

bench-device: for-book ##: measure the C header on emulated microcontrollers; writes data/benchmarks/device.csv, which the book shows
	@$(BIN)/python tools/bench_device.py

experiments: book ##: measure what each experiment of the appendix takes; writes data/benchmarks/experiments.csv
	@$(BIN)/python tools/experiments.py

versions: book ##: compute the book with other versions of Python and of its packages; writes data/benchmarks/versions.csv
	@$(BIN)/python tools/versions.py

lock: for-book ##: resolve all dependencies afresh and write requirements.lock
	$(BIN)/uv pip compile -q --upgrade $(LOCKED) pyproject.toml -o requirements.lock
# One version of everything for every system and Python from 3.11.0 on, each file by its hash, and no address.
LOCKED := --universal --python-version 3.11.0 --fork-strategy fewest --generate-hashes --no-annotate \
	--all-extras --group install --custom-compile-command "make lock"

facts: for-test ##: write anew what README, appendix, metadata, environment.yml and the API page repeat from elsewhere
	@$(BIN)/python tools/facts.py

models: for-models ##: install what makes traces and measures models (torch: 5 GB)

onnx: for-onnx ##: install what a trace of your own ONNX model needs (hi traces make NAME --onnx)

cluster: for-cluster ##: install what a Dask cluster needs

live: for-live ##: install what a real wire needs (hi live)

clean: ## remove what was built; the environment in .venv stays
	rm -rf _build results .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One environment, which each extra joins when it is first needed.
EXTRAS := book pdf test lab cluster live onnx models test-models archive badges
$(EXTRAS:%=for-%): for-%:
	@$(INSTALL) $*

.PHONY: help book pdf archive check test test-random test-slow test-models test-device test-badges mutants serve lab bench bench-live \
	bench-network bench-device experiments versions note-doi lock facts models onnx cluster live clean $(EXTRAS:%=for-%)
