# `make demo` and `make test` need Python 3.11 to 3.13 with pip, and nothing else.

PYTHON ?= python3
VENV ?= .venv
PROCESSES ?= 2
PART ?= 1/1
DAYS ?= 8
DAY ?= $(shell expr $$(date +%j) % $(DAYS) + 1)
# After so many minutes test-daily and test-lowest begin no other test; without it they run all.
MINUTES ?=
DEMO_OUTPUT ?= build/demo

BIN := $(VENV)/bin
# Compiled programs are freed and made by the hundred in one process of tests. glibc would give
# that memory back and map it again, which took half of the time of some tests on a virtual machine.
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
export MALLOC_TOP_PAD_ ?= 268435456
# Each process takes a half, and at its end from the other: what tests share is set up once.
PYTEST := -m pytest -n $(PROCESSES) --dist=worksteal
INSTALLED := $(VENV)/.installed

.PHONY: demo check test test-long test-slow test-daily test-exports test-lowest test-keras test-gpu test-tpu test-chaos mutations lint docs docs-links check-bazel bench bench-check bench-serving bench-people bench-equal-time bench-tables bench-ablations bench-portfolio api package release requirements clean

demo: $(INSTALLED)
	rm -rf $(DEMO_OUTPUT)
	$(BIN)/kerasreg search --output_dir=$(DEMO_OUTPUT)
	$(BIN)/kerasreg search --data=examples/penguins.csv --target=species --trials=4 --epochs=30 \
		--output_dir=$(DEMO_OUTPUT)/penguins

# What a change must pass before its tests are worth their time: the source, what the package
# knows of the insides of Keras (each test once with its function broken), and who imports whom.
check: lint
	$(BIN)/python tools/break_internals.py
	$(BIN)/python -m pytest tests/test_packages.py tests/tools $(PYTEST_ARGS)

test: $(INSTALLED)-test
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)

# What `make test` leaves out: whole searches, killed processes, long compilations; all of
# them, or with PART=2/3 the second of three parts.
test-long: $(INSTALLED)-test
	$(BIN)/python $(PYTEST) --optimize-graphs -m long --part=$(PART) tests $(PYTEST_ARGS)

# One of DAYS parts of both, the next one each day: what CI runs of them.
test-daily: $(INSTALLED)-test
	$(BIN)/python $(PYTEST) --optimize-graphs -m "long or slow" --part=$(DAY)/$(DAYS) \
		$(if $(MINUTES),--minutes=$(MINUTES)) tests $(PYTEST_ARGS)

# Five minutes: eight processes with fifty exports each, and fifty exports that are killed.
test-exports: $(INSTALLED)-test
	$(BIN)/python -m pytest --optimize-graphs -m exports -s tests/serving $(PYTEST_ARGS)

# And statistics over very many draws.
test-slow: $(INSTALLED)-test
	$(BIN)/python $(PYTEST) --optimize-graphs -m slow tests $(PYTEST_ARGS)

# Ten minutes: more than a hundred kills of processes that share a study, and a PostgreSQL server that is
# started again, where Debian's package and a driver (pip install 'psycopg[binary]') are there.
test-chaos: $(INSTALLED)-test
	$(BIN)/python -m pytest --optimize-graphs -m chaos -s tests/tuners $(PYTEST_ARGS)

# What makes sense on a GPU (TensorFlow) or a TPU (JAX). Without one they fail, and say so.
test-gpu test-tpu: test-%: $(INSTALLED)-test
	$(BIN)/python tools/device_tests.py $* $(PYTEST_ARGS)

# With the oldest versions that pyproject.toml admits: all but the command's tests,
# where an old pyarrow aborts at the exit of a process.
LOWEST_TESTS ?= kerasreg tests --ignore=tests/cli --ignore=tests/test_examples.py \
	--ignore=tests/test_packaging.py --ignore=tests/test_packaging_files.py
test-lowest: .venv-lowest/.installed
	.venv-lowest/bin/python $(PYTEST) --optimize-graphs $(if $(MINUTES),--minutes=$(MINUTES)) \
		$(LOWEST_TESTS) $(PYTEST_ARGS)

# Keras' own tests, which its wheel does not have, with kerasreg's classes in the place of Keras'.
# KERAS_TESTS: parts of the names of test files; all by default.
test-keras: $(INSTALLED)-test
	mkdir -p build
	version=$$($(BIN)/python -c "import importlib.metadata; print(importlib.metadata.version('keras'))") \
	&& $(BIN)/pip download --quiet --no-binary :all: --no-deps --dest build keras==$$version \
	&& tar -xzf build/keras-$$version.tar.gz -C build \
	&& $(BIN)/python tools/keras_tests.py build/keras-$$version $(KERAS_TESTS)

# Hours: which faults of tools/mutations.toml the suite catches, one at a time. With
# MUTATE_ARGS=--before=FILE beside the report of an older version, after which it is faster.
mutations: $(INSTALLED)-test
	mkdir -p build
	$(BIN)/python tools/mutate.py --report=build/mutations.json $(MUTATE_ARGS)

lint: $(INSTALLED)-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/check_private_names.py

# The pages of docs/ and the reference, into build/docs; what is not right in one is an error.
docs: $(INSTALLED)-docs
	$(BIN)/python -m sphinx -W --keep-going -n -q docs build/docs

# What they lead to: pages, headings and pictures; and elsewhere, where there is a network.
docs-links: docs
	$(BIN)/python tools/check_links.py build/docs
	if $(BIN)/python tools/check_links.py --network; then \
		$(BIN)/python -m sphinx -q -b linkcheck docs build/docs-links; fi

# BUILD against a real Bazel, where there is one or one can be installed.
check-bazel: $(INSTALLED)-test
	PYTHON=$(abspath $(BIN)/python) tools/check_bazel.sh $(BAZEL_ARGS)

# Long, and it goes on where it was. What is measured is written to RESULTS.json and
# docs/numbers.md. BENCH: names of benchmarks; BENCH_ARGS=--again measures anew what is there.
bench: $(INSTALLED)-test
	$(BIN)/python benchmarks/all.py $(BENCH) $(BENCH_ARGS)

# Whether the README and docs/ claim what RESULTS.json holds; CLAIMS_ARGS=--strict also finds
# numbers that look like claims and are not tied to a result.
bench-check:
	$(PYTHON) benchmarks/claims.py $(CLAIMS_ARGS)

# Four minutes: `kerasreg serve` beside KServe's server.
bench-serving: $(INSTALLED)-test .venv-kserve/.installed
	$(BIN)/python benchmarks/all.py serving $(BENCH_ARGS) -- --kserve=.venv-kserve/bin/python

# An hour: searches of models as people write them.
bench-people: $(INSTALLED)-test
	$(BIN)/python benchmarks/all.py people_models $(BENCH_ARGS)

# Two hours: what searches find in the same time.
bench-equal-time: $(INSTALLED)-test
	$(BIN)/python benchmarks/all.py equal_time $(BENCH_ARGS)

# Hours, and it goes on where it was: what searches find on real tables.
bench-tables: $(INSTALLED)-test
	$(BIN)/python -m pip install --quiet --requirement requirements-tables.txt
	$(BIN)/python benchmarks/all.py tables $(BENCH_ARGS)

# An hour: what each ingredient of a search of tables gives.
bench-ablations: $(INSTALLED)-test
	$(BIN)/python -m pip install --quiet --requirement requirements-tables.txt
	$(BIN)/python benchmarks/all.py ablations $(BENCH_ARGS)

# An hour: whether searches of tables would do better to begin with settings of other tables.
bench-portfolio: $(INSTALLED)-test
	$(BIN)/python -m pip install --quiet --requirement requirements-tables.txt
	$(BIN)/python benchmarks/all.py portfolio $(BENCH_ARGS)

# Writes api.txt anew, after a public name or a signature has changed.
api: $(INSTALLED)
	$(BIN)/python tools/public_api.py

# The sdist and the wheel, built and then used with each Python that is there.
package: .venv-package/.installed
	.venv-package/bin/python tools/check_package.py $(PACKAGE_ARGS)

# Whether VERSION may be released from here, with the package that would be. Publishes nothing.
release: .venv-package/.installed
	.venv-package/bin/python tools/release.py $(VERSION) $(RELEASE_ARGS)

$(INSTALLED): requirements.txt pyproject.toml
	$(PYTHON) tools/make_venv.py $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(INSTALLED)-docs: $(INSTALLED) requirements-docs.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-docs.txt
	touch $@

$(INSTALLED)-test: $(INSTALLED) requirements-test.txt requirements-peers.txt
	$(BIN)/python -m pip install --quiet --requirement requirements-test.txt
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-peers.txt
	touch $@

.venv-lowest/.installed: requirements-lowest.txt pyproject.toml
	$(PYTHON) tools/make_venv.py .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --requirement requirements-lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-kserve/.installed: requirements-kserve.txt
	$(PYTHON) tools/make_venv.py .venv-kserve
	.venv-kserve/bin/python -m pip install --quiet --requirement requirements-kserve.txt
	touch $@

.venv-package/.installed: requirements-package.txt
	$(PYTHON) tools/make_venv.py .venv-package
	.venv-package/bin/python -m pip install --quiet --requirement requirements-package.txt
	touch $@

# Pins anew what `make demo` and `make test` install.
requirements:
	$(PYTHON) tools/pin_requirements.py

clean:
	rm -rf .venv .venv-lowest .venv-kserve .venv-package build dist *.egg-info
