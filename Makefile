# make install | demo | test | lint | docs | ladder: each sets itself up in .venv first, and only when something changed.
# Needs Python 3.10 to 3.13 (PYTHON=python3.12 picks one), a C++ compiler and pip. `make -j` is safe.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The tested versions, for the isolated builds of source distributions too (pip >= 25.3 wants the second name).
# Relative, because pip splits these variables at spaces.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SOURCES := $(shell find bertkd_fairseq -name '*.py' -o -name '*.css' -o -name '*.html' -o -name '*.js' -o -name py.typed)

.PHONY: install demo test test-without-bfloat16 lint docs ladder clean
.DELETE_ON_ERROR:

install: $(VENV)/package-installed

demo: install
	$(BIN)/bertkd demo

# Two files at a time, one thread each: commands in subprocesses are most of the tests.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -n 2 --dist loadfile --no-loadscope-reorder

# The demo and the trainings as on a CPU without bfloat16, which these two variables make of any: half precision is slow.
test-without-bfloat16: install
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder \
	    tests/integration/test_demo.py tests/integration/test_teacher.py tests/integration/test_student.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The experiments that have no result yet, two at a time: docs/experiments.md.
ladder: install
	PATH="$(abspath $(BIN)):$$PATH" doit -f examples/multi30k_deen/ladder/dodo.py

# The site, to open as site/index.html; a dead link or heading is an error.
docs: $(VENV)/docs-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Everything that pip fetches or builds: minutes the first time, when fairseq is compiled.
# A torchaudio that can't be imported makes way for the empty stand-in of constraints.txt.
$(VENV)/dependencies-installed: setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	    { echo "error: \`PYTHON\` must be Python 3.10 to 3.13, but is $$($(PYTHON) --version 2>&1) instead." \
	           "Name another: make PYTHON=python3.12" >&2; exit 2; }
	@[ -n "$$PIP_EXTRA_INDEX_URL" ] || nvidia-smi >/dev/null 2>&1 || \
	    echo "note: no NVIDIA GPU was found. pip's usual torch is built for one and fills 5 GB; the build for CPU" \
	         "fills a third: make install PIP_EXTRA_INDEX_URL=ADDRESS, the address that pytorch.org shows for pip and CPU."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -c 'import torchaudio' 2>/dev/null || $(BIN)/python -m pip uninstall -qq --yes torchaudio
	$(BIN)/python -m pip install '.[test]'
	touch $@

$(VENV)/docs-installed: $(VENV)/dependencies-installed
	$(BIN)/python -m pip install --quiet '.[docs]'
	touch $@

# This package alone, plainly and not editable, so that the tests see what a user gets: seconds.
# setuptools would keep modules that were deleted since, hence the rm; no isolated build, no constraint for one.
$(VENV)/package-installed: $(VENV)/dependencies-installed $(SOURCES)
	rm -rf build bertkd_fairseq.egg-info
	env -u PIP_BUILD_CONSTRAINT $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	touch $@
	@$(BIN)/python -c 'import sys; from importlib.metadata import version as v; print(sys.version.split()[0], v("torch"))' \
	    | { read -r python torch; echo "Installed in $(VENV): Python $$python, torch $$torch."; }
	@echo 'Call $(BIN)/bertkd, or `source $(BIN)/activate` first: then `bertkd` and `fairseq-train` are on the path.'
