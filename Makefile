# Two commands matter: `make book` and `make test`. Each makes its environment on first use and reuses it.
#
# PYTHON         the Python (3.11 to 3.13) that makes the environment
# PROFILE        smoke, laptop, desk or paper
# PAGE, TEACHER  for `reproduce`: one page; `TEACHER=retrain` trains the teacher too instead of reading its labels
# PIP_FIND_LINKS a folder of wheels to prefer, read by pip and, below, by uv
#
# On Linux PyPI's torch brings CUDA (about 3 GB). The first call chooses PyTorch's own CPU build, a tenth of
# that, with `make book UV_TORCH_BACKEND=cpu`.

PYTHON ?= python3
PROFILE ?= laptop
PAGE ?=
TEACHER ?=
BIN := .venv/bin
READY := .venv/.ready
UV := uv==0.13.9

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test storms lint format reproduce references bench pdf clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1	\2/' | expand -t 20

# Pinned by constraints.txt; made anew only when the dependencies change.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1): make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	UV_FIND_LINKS="$(PIP_FIND_LINKS)" $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

book: $(READY) ## execute the pages at PROFILE (default laptop) and build the book into _build/html
	$(BIN)/python -m pdlib book --profile $(PROFILE)

# Two processes of one thread each: the tests start processes of their own.
test: export OMP_NUM_THREADS = 1
test: $(READY) lint ## everything that is checked: style, types, spelling, tests, doctests, pages, the built book
	$(BIN)/python -m pytest -n 2 --dist loadfile tests pdlib --doctest-modules
	$(BIN)/python -m pytest -n 2 --dist loadscope --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

storms: export OMP_NUM_THREADS = 1
storms: $(READY) ## processes killed, files damaged, senseless input, at random (fixed seeds): nothing wrong, nothing lost
	$(BIN)/python tests/storms.py

lint: $(READY) ## style, types, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(READY) ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reproduce: $(READY) ## train again, published tables ignored, and compare: PROFILE, PAGE, TEACHER=retrain
	$(BIN)/python -m pdlib reproduce --profile $(PROFILE) $(if $(PAGE),--page $(PAGE)) $(if $(TEACHER),--teacher $(TEACHER))

references: $(READY) ## execute the pages at their defaults and renew notebooks/*.ipynb
	$(BIN)/python -m pdlib references

bench: $(READY) ## the speed table of a page: PAGE (default parity)
	$(BIN)/python -m pdlib bench $(or $(PAGE),parity)

pdf: book ## the book in print, by a headless Chromium: _build/print/book.pdf
	$(BIN)/python -c 'from pdlib import book; book.print_book()'

clean: ## remove what was built; the environment and your results stay
	rm -rf _build
