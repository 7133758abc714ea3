# Everything a person needs: make demo, make test, make check, make bench.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
export UV_PYTHON_DOWNLOADS := never
# Of the theme: about a later version of MkDocs.
export NO_MKDOCS_2_WARNING := 1
unexport VIRTUAL_ENV

RIVALS := benchmarks/search/rivals
RIVALS_BIN := $(RIVALS)/.venv/bin
TORCH := torch==2.13.0
# `asha-cqr` takes minutes a run: name it to run it.
RIVAL_METHODS ?= syne-tune:asha syne-tune:bohb syne-tune:cqr keras-tuner:hyperband \
	neps:priorband+default neps:priorband+good neps:priorband+wrong
SEEDS ?= 5
SEARCH = $(TABLES:%=--tables %) --seeds $(SEEDS)

.PHONY: install demo test soak check docs format bench bench-search rivals lock lock-rivals clean

install: $(READY)

$(BIN)/uv: requirements.lock
	@test -n "$(PYTHON)" || { echo "tuner needs Python 3.11, 3.12 or 3.13 on the PATH" >&2; exit 2; }
	@# Debian's Python may come without ensurepip; pip can then work from outside.
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
		$(PYTHON) -m venv --without-pip --clear $(VENV)
	awk '/^[^ ]/ {wanted = /^uv==/} wanted' requirements.lock > $(VENV)/uv.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 \
		&& $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt \
		|| $(PYTHON) -m pip --python $(BIN)/python install -q --require-hashes -r $(VENV)/uv.txt
	@touch $@

$(READY): $(BIN)/uv pyproject.toml requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python -q --compile-bytecode --group dev \
		--constraint requirements.lock hatchling editables
	$(BIN)/uv pip install --python $(BIN)/python -q --compile-bytecode --no-build-isolation \
		--constraint requirements.lock --editable '.[postgres]'
	@# Some machines forbid writing bytecode at import; without it every command starts slower.
	$(BIN)/python -m compileall -q tuner
	@touch $@

demo: install
	$(BIN)/tuner study create --data digits
	$(BIN)/tuner optimize --trials 20
	@echo
	@echo "To type the commands above yourself, first:  . $(BIN)/activate"

# In more processes than cores: most of the time is waiting, for workers, servers and signals.
test: install
	@# Else each process that a test starts compiles what has changed, where bytecode is not written.
	$(BIN)/python -m compileall -q tuner tests
	@# Rewritten for their assertions, the tests' files are kept too: 4 s a process.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --processes 5 --durations=25

# The whole of it takes some hours; SHARE=0.2 that share of each fault's times.
SHARE ?= 1.0
soak: install
	$(BIN)/python -m pytest tests/faults tests/ray --soak $(SHARE) --timeout 0

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict
	$(BIN)/python .ci/audit.py requirements.lock

# To read them: make docs, then open what it prints in a browser.
docs: install
	$(BIN)/mkdocs serve --strict

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m benchmarks

# Search methods on tables of learning curves, for hours: make bench-search TABLES=taskset.npz SEEDS=5
bench-search: install rivals
	$(BIN)/python -m benchmarks.search run $(SEARCH)
	@# A run that fails is named, and stops neither the others nor the report. One thread: their small
	@# models gain nothing from more.
	-env OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore $(RIVALS_BIN)/python -m benchmarks.search run \
		$(SEARCH) $(RIVAL_METHODS:%=-m %)
	$(BIN)/python -m benchmarks.search report $(SEARCH)

# Other libraries' search methods, for the bench alone. PyTorch comes by pip, which finds a build for
# the CPU where this machine has one; elsewhere it is a large download.
rivals: $(RIVALS)/.venv/.ready

$(RIVALS)/.venv/.ready: $(RIVALS)/requirements.txt | $(BIN)/uv
	test -x $(RIVALS_BIN)/python || $(BIN)/uv venv -q --python $(BIN)/python $(RIVALS)/.venv
	$(PYTHON) -m pip --python $(RIVALS_BIN)/python install -q --disable-pip-version-check $(TORCH) \
		|| $(BIN)/uv pip install --python $(RIVALS_BIN)/python -q $(TORCH)
	$(BIN)/uv pip install --python $(RIVALS_BIN)/python -q --compile-bytecode --no-deps \
		--require-hashes -r $(RIVALS)/requirements.txt
	@touch $@

# No index address and no host goes into the lock files.
lock: $(BIN)/uv
	$(BIN)/uv pip compile --python $(BIN)/python --universal --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --all-extras --group dev -q pyproject.toml \
		-o requirements.lock

lock-rivals: $(BIN)/uv
	$(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock-rivals" --overrides $(RIVALS)/overrides.txt --no-emit-package torch \
		--no-emit-package torchvision -q $(RIVALS)/requirements.in -o $(RIVALS)/requirements.txt

clean:
	rm -rf $(VENV) $(RIVALS)/.venv build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
