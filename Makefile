# make demo           fine-tune real MiniLM weights with and without HyPe over three seeds, print the table
# make table1         a table of the paper; the others are named below
# make tables         all of them; also scope=small or scope=smoke for a laptop
# make figure2        Figure 2 from the records of Table 16
# make figure3        what frozen layers know of other tasks: table and pictures
# make figure4        how alike the tokens of a text are in each layer
# make noise          noise in each precision, sharpness, change of the weights
# make footprint      time and memory of every technique
# make report         results/ as a page to open in a browser: results/report/index.html
# make test           check style and types, run the tests: what CI runs
# make test-slow      what takes longer: large folders and tables
# make test-engines   Ray (0.4 GB) and, as root, SLURM
# make test-gpu       on a machine with a GPU: the CUDA side held to float64 and to the CPU
# make bench          the time of an update beside transformers.Trainer
# make bench-methods  the time and memory of every technique
# make bench-sweep    24 runs from start to table beside the usual GLUE script
# make bench-growth   how time grows with examples, tokens and records
# make bench-gpu      the speed on a GPU
# make docs           rewrite the pages that follow from the code
# make site           the documentation as HTML, in site/
# make mutation       which changes to statistics and tables no test would notice
# make help           this list; every other target installs into .venv what it needs

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed
TABLES := table1 table2 table3 table4 table5 table6 table7 table8 table9 table12 table16 table17 table18
scope := paper
PLAN = $@$(if $(filter-out paper,$(scope)),@$(scope))

.PHONY: help demo report test test-slow test-engines mutation bench bench-methods bench-sweep bench-growth test-gpu bench-gpu docs site tables figure2 figure3 figure4 noise footprint $(TABLES)

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "tables: $(TABLES)"

demo: $(INSTALLED)
	$(BIN)/python run.py -m experiment=demo results_dir=results/demo

report: $(INSTALLED)
	$(BIN)/hype-bench report

# a table that has failures must not stop the next one: make -k tables
tables: $(TABLES)

$(TABLES): $(INSTALLED)
	$(BIN)/python run.py -m experiment=$@ scope=$(scope)

figure2: table16
	$(BIN)/hype-bench plot combinations $(PLAN:figure2%=table16%)

figure3 figure4 noise: $(INSTALLED)
	$(BIN)/python run.py -m experiment=$@ scope=$(scope)
	$(BIN)/hype-bench plot layers $(PLAN)

footprint: $(INSTALLED)
	$(BIN)/python run.py -m experiment=$@ scope=$(scope)
	$(BIN)/hype-bench plot footprint $(PLAN)

# an environment may say so, and every process of the tests then compiles all it imports
test test-slow test-engines: export PYTHONDONTWRITEBYTECODE =

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@# types beside the tests, which wait at times; worksteal keeps neighbours together: a file's fixtures are made once
	$(BIN)/mypy & types=$$!; $(BIN)/pytest -n 2 --dist worksteal; tests=$$?; wait $$types && exit $$tests

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

bench-sweep: $(INSTALLED)
	$(BIN)/python scripts/bench_sweep.py

bench-growth: $(INSTALLED)
	$(BIN)/python scripts/bench_growth.py

# a process a core, up to eight, share the card: launching from Python is what takes the time
test-gpu: $(INSTALLED)
	@if $(BIN)/python -c "import torch; exit(not torch.cuda.is_available())"; \
		then $(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal --tb short tests/gpu; \
		else echo "test-gpu: skipped, there is no GPU here"; fi

bench-gpu: $(INSTALLED)
	$(BIN)/python scripts/bench_gpu.py

docs: $(INSTALLED)
	$(BIN)/python scripts/docs.py
	$(BIN)/python scripts/stub.py
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/record_schema.py
	$(BIN)/python scripts/readme.py
	$(BIN)/python -m tests.encoder_table

site: $(INSTALLED)
	$(BIN)/mkdocs build --strict

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
