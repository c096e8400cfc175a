# make demo    install, fine-tune real MiniLM weights with and without HyPe over three seeds, print the table
# make test    install, check style and types, run the tests (below 10 minutes on 2 cores)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test test-slow bench bench-methods docs

# two epochs instead of the recipe's three: nine runs within five minutes on 2 cores
demo: $(INSTALLED)
	$(BIN)/python run.py -m model=minilm task=demo_rte method=vanilla,no_dropout,hype_n seed=1,2,3 \
	    training.epochs=2 experiment=demo tracker=none results_dir=results/demo

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow

bench: $(INSTALLED)
	$(BIN)/python scripts/bench.py

bench-methods: $(INSTALLED)
	$(BIN)/python scripts/bench_methods.py

docs: $(INSTALLED)
	$(BIN)/python scripts/docs.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
