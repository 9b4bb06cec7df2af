# Commands for a fresh machine:
#   make demo [CT=DIR]   sets everything up, runs the node against a PACS, prints and draws the result
#   make viewer [CT=DIR] the same, and then CT and answer in the OHIF viewer until Ctrl-C
#   make test            sets everything up, installs the peers the tests talk to, runs the checks and the tests
#   make docs            the documents as a site in out/site
# For a night:
#   make soak [KILLS=500] [SEED=N]   kills the node so often while it works, prints what was lost or sent twice
#   make fuzz [EXAMPLES=50000]       says wrong things to the node, which must neither fall, hang nor grow

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CT     ?=
OUT    ?= out
KILLS  ?= 500
SEED   ?=
EXAMPLES ?= 50000

.PHONY: demo viewer test docs soak fuzz lint peers kuberay ohif clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/dicomnode demo --out $(OUT) $(if $(CT),--ct $(CT))

viewer: peers $(VENV)/installed
	$(BIN)/dicomnode demo --viewer --out $(OUT) $(if $(CT),--ct $(CT))

test: peers $(VENV)/installed-test kuberay ohif lint
	$(BIN)/python -m pytest

soak: peers $(VENV)/installed-test
	$(BIN)/python -m tests.kills.soak --kills $(KILLS) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV)/installed-test
	DICOMNODE_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest --timeout 0 tests/faults/test_fuzz.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(OUT)/site

peers:
	sh tests/install_peers.sh

kuberay: $(VENV)/installed-test
	@$(BIN)/python -m tests.kuberay || echo "The manifests will not be checked against KubeRay's own schema."

ohif: $(VENV)/installed
	@$(BIN)/python -m dicomnode.demo.ohif || echo "Tests that need OHIF will be skipped."

$(VENV)/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dicomnode needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing dicomnode and what it needs into $(VENV) (a few minutes the first time) ..."
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
