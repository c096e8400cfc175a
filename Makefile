# make demo    install, fine-tune real MiniLM weights with and without HyPe over three seeds, print the table
# make test    install, check style and types, run the tests (below 10 minutes on 2 cores)
# make test-slow, make test-engines    what takes longer: large folders and tables; Ray (0.4 GB) and, as root, SLURM
# make report  results/ as a page to open in a browser: results/report/index.html
# make test-gpu, make bench-gpu    on a machine with a GPU: the CUDA side held to float64 and to the CPU; its speed
# make site    the documentation as HTML, in site/; make docs rewrites the pages that follow from the code
# make mutation    which changes to statistics and tables no test would notice
# make table1 ... table18, make tables    the tables of the paper; scope=small or scope=smoke for a laptop
# make figure2    Figure 2 from the records of Table 16

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
TABLES := table1 table2 table3 table4 table5 table8 table9 table12 table16 table17 table18
scope := paper
RESULTS := results$(if $(filter-out paper,$(scope)),/$(scope))

.PHONY: demo report test test-slow test-engines mutation bench bench-methods test-gpu bench-gpu docs site tables figure2 $(TABLES)

demo: $(INSTALLED)
	$(BIN)/python run.py -m experiment=demo results_dir=results/demo

report: $(INSTALLED)
	$(BIN)/hype-bench report --results-dir $(RESULTS)

# a table that has failures must not stop the next one: make -k tables
tables: $(TABLES)

$(TABLES): $(INSTALLED)
	$(BIN)/python run.py -m experiment=$@ scope=$(scope) results_dir=$(RESULTS)

figure2: table16
	$(BIN)/hype-bench plot combinations table16 --results-dir $(RESULTS)

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal  # neighbours stay together: a module's fixtures are made once

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow

test-engines: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,ray]"
	$(BIN)/pytest -m "slow or not slow" tests/launch/test_engines.py tests/launch/test_slurm.py

# how many changes to the code no test notices; `.venv/bin/mutmut results` lists them
mutation: $(INSTALLED)
	$(BIN)/mutmut run

bench: $(INSTALLED)
	$(BIN)/python scripts/bench.py

bench-methods: $(INSTALLED)
	$(BIN)/python scripts/bench_methods.py

test-gpu: $(INSTALLED)
	$(BIN)/pytest tests/gpu

bench-gpu: $(INSTALLED)
	$(BIN)/python scripts/bench_gpu.py

docs: $(INSTALLED)
	$(BIN)/python scripts/docs.py
	$(BIN)/python scripts/stub.py
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/record_schema.py
	$(BIN)/python scripts/readme.py

site: $(INSTALLED)
	$(BIN)/mkdocs build --strict

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
