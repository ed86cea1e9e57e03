# The commands of a newcomer. They work in the virtual environment $(VENV), which they make on first use.
#
#   VENV      where the environment is (.venv)
#   PYTHON    which Python makes it; by itself the first of python3, python3.13, python3.12, python3.11 that is 3.11 to 3.13
#   EXTRAS    extras of setup.cfg to install (dev,prep,hub)
#   JOBS      how many processes run the tests (2)
#   TEST_ARGS, DEMO_ARGS   arguments for pytest and for tools/demo.py
#   MIN_FREE  free space to ask for before torch is installed, in GiB (4)

VENV ?= .venv
PYTHON ?=
EXTRAS ?= dev,prep,hub
JOBS ?= 2
MIN_FREE ?= 4
TEST_ARGS ?=
DEMO_ARGS ?=

comma := ,
RUN := "$(VENV)/bin/python"
STAMP := $(VENV)/.gfvideo-$(subst $(comma),-,$(EXTRAS))

.DEFAULT_GOAL := help
.PHONY: help install check demo test lint docs clean clean-venv

help: ## print this list
	@awk -F ': .*## ' '/^[a-z-]+: .*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## make the environment in VENV, with the tested versions

$(STAMP): setup.cfg pyproject.toml constraints.txt tools/setup_environment.py
	@python=$$(sh tools/find_python.sh $(if $(PYTHON),"$(PYTHON)")) && \
	"$$python" tools/setup_environment.py "$(VENV)" --extras "$(EXTRAS)" --min-free "$(MIN_FREE)"
	@touch "$@"

check: $(STAMP) ## import every library, print the versions, say what is missing
	@$(RUN) tools/check_environment.py

demo: $(STAMP) ## make toy videos, train Glance-and-Focus and its controls on them, print the table
	@$(RUN) tools/demo.py $(DEMO_ARGS)

test: $(STAMP) ## run the tests
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(RUN) -m pytest -n $(JOBS) --dist loadfile $(TEST_ARGS)

lint: $(STAMP) ## check the style, the spelling and the types
	$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m codespell_lib && $(RUN) -m mypy

docs: $(STAMP) ## build the site into build/site (make docs EXTRAS=docs); warnings are errors
	$(RUN) -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/site
	@echo "the site: build/site/index.html"

clean: ## remove caches and builds; work_dirs and the environment stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-venv: ## remove the environment VENV
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; else echo "$(VENV) is not a virtual environment; nothing removed"; fi
