# One thing each. `make demo` and `make test` need Python and a compiler, and make everything else themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
ifeq ($(origin CXX),default)
CXX := c++
endif
# Whether C++ can be compiled here: there is a compiler, and Python has its headers. PyTorch does the arithmetic elsewhere.
HEADER := import os, sysconfig; print(os.path.exists(sysconfig.get_path("include") + "/Python.h"))
CAN_COMPILE := $(if $(shell command -v $(CXX)),$(filter True,$(shell $(PYTHON) -c '$(HEADER)')))
NATIVE := $(if $(CAN_COMPILE),native,no-native)
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DELETE_ON_ERROR:
.PRECIOUS: $(VENV)/%.stamp
.PHONY: help demo native no-native test test-torch test-asan runtime test-runtime test-runtime-asan test-runtime-neon \
	lint format types docs test-docs docs-catalogues bench figures math web web-digits clean

help:
	@echo "make demo    align the recordings in examples/data and draw a picture: build/demo"
	@echo "make test    the whole test suite, and its coverage"
	@echo "make native  compile csrc/ for this CPU   make test-torch  without the native backend"
	@echo "make test-asan  the native tests and a fuzzer, with the address and undefined-behaviour sanitizers"
	@echo "make runtime the C++ runtime: build/runtime  make test-runtime  its ctest suite (-asan: with the sanitizers)"
	@echo "make lint    ruff and import-linter       make format  let ruff put right what it can"
	@echo "make types   mypy --strict                make docs    the documentation: build/docs"
	@echo "make bench   the benchmarks               make clean   remove build/ and caches, keep $(VENV)"
	@echo "make test-runtime-neon  the C++ runtime for 64-bit Arm, in an emulator"
	@echo "make figures the interactive figures of the documentation, of web/figures; needs npm"
	@echo "make test-docs  the pages of make docs in a browser, where Chromium is"
	@echo "make math    KaTeX for the documentation, of web/math; needs npm"
	@echo "make docs-catalogues  what is to be translated: docs/locale/ko"
	@echo "make web     the program of semihmm view's pages, of web/view; needs npm"
	@echo "make web-digits  a page that hears spoken digits in a browser: build/digits; needs npm"

demo: $(VENV)/speech.stamp $(NATIVE)
	$(BIN)/semihmm demo --data examples/data --out build/demo

# Always asked, seldom work to do: ninja knows what csrc/ holds. `mv` puts a whole new file in the place of the old one, which
# a running Python may have open. Only the best instruction set that this CPU runs, which is the one that semihmm loads;
# ISA=avx512 (avx2, baseline) compiles that one, ISA=all every one, as wheels and CI do.
BEST := import torch; cpu = torch.backends.cpu.get_cpu_capability().lower(); \
	print(next((isa for isa in ("avx512", "avx2") if cpu.startswith(isa)), "baseline"))
CONFIGURE = CXX="$(CXX)" $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
# A checkout that was copied or moved holds CMake's cache of its old place, which CMake refuses. Such a folder is made anew.
FRESH = kept="$$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' $(1)/CMakeCache.txt 2>/dev/null)"; \
	[ -z "$$kept" ] || [ "$$kept" -ef $(2) ] || rm -rf $(1)
native: $(VENV)/native.stamp
	@$(call FRESH,build/native,.)
	@$(CONFIGURE) -B build/native >/dev/null
	@isa="$(ISA)"; [ -n "$$isa" ] || isa=$$($(BIN)/python -c '$(BEST)'); \
		if [ "$$isa" = all ]; then $(BIN)/cmake --build build/native; \
		else $(BIN)/cmake --build build/native --target _native_$$isa; fi
	@for built in build/native/_native_*.so; do kept=semihmm/engine/backends/$${built##*/}; \
		cmp -s $$built $$kept || { cp $$built $$built.new && mv -f $$built.new $$kept; }; done

no-native:
	@echo "$(CXX) or Python.h is missing: the native backend is not compiled, PyTorch does the arithmetic."

# Where C++ can be compiled, a missing module is a failure.
test: export SEMIHMM_EXPECT_NATIVE := $(if $(CAN_COMPILE),1)
test: $(VENV)/dev.stamp $(NATIVE)
	$(BIN)/pytest -n 2 --dist worksteal --cov $(PYTEST_ARGS)

# Run once, by `make test`: what asks its questions as any user does (parts of models that learn, files, speech, pictures,
# pages), what asks none, what has the compiled kernels as its subject, and processes that try both backends by themselves.
ONCE := tests/audio tests/cli tests/docs tests/estimators tests/examples tests/export tests/peers tests/plots tests/semirings tests/speech \
	tests/test_architecture.py tests/test_docs.py tests/test_optional.py tests/test_transforms.py $(wildcard tests/engine/test_native_*.py) \
	$(patsubst %,tests/models/test_%.py,bayes driven_durations driven_emissions families faults_of_others hmmlearn hostile \
		literature moving moving_page peers recovery saving)
test-torch: export SEMIHMM_BACKEND := torch
test-torch: $(VENV)/dev.stamp
	$(BIN)/pytest -n 2 --dist worksteal $(addprefix --ignore=,$(ONCE)) $(PYTEST_ARGS)

# Compiled once more, into build/asan, with the sanitizers: the tests of the compiled module, and a fuzzer that sends it
# 100,000 requests, most of them wrong. Python must find ASan before anything else, and leaks memory when it ends. ISA as
# above. A module that is not instrumented, as PyTorch's, throws exceptions that ASan must see: libstdc++ comes first too.
ASAN_TESTS ?= tests/engine/test_native_kernels.py tests/engine/test_boundary.py tests/engine/test_row_tiles.py \
	tests/decoding/test_boundary.py tests/engine/test_onward.py tests/streaming/test_survivors.py
ASAN_COUNT ?= 100000
test-asan: $(VENV)/dev.stamp $(VENV)/native.stamp
	@$(call FRESH,build/asan,.)
	@$(CONFIGURE) -B build/asan -DSEMIHMM_SANITIZE=ON >/dev/null
	@isa="$(ISA)"; [ -n "$$isa" ] || isa=$$($(BIN)/python -c '$(BEST)'); \
		$(BIN)/cmake --build build/asan --target _native_$$isa && SEMIHMM_ISA=$$isa \
		SEMIHMM_ASAN=$(CURDIR)/build/asan PYTHONPATH=$(CURDIR)/tests/engine/asan \
		LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" \
		ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:use_sigaltstack=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
		sh -ec '$(BIN)/python tests/engine/fuzz_native.py --count $(ASAN_COUNT); $(BIN)/pytest -n 2 --no-cov -q $(ASAN_TESTS)'

# The C++ runtime, which needs no Python: RUNTIME_ARGS are options of CMake, such as -DSEMIHMM_ISAS=avx2 for one instruction set.
# With the sanitizers, files of every kind are also made up and loaded: FUZZ_SECONDS of them.
RUNTIME_ARGS ?=
FUZZ_SECONDS ?= 20
CONFIGURE_RUNTIME = CXX="$(CXX)" $(BIN)/cmake -S csrc/runtime -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja $(RUNTIME_ARGS)
runtime: $(VENV)/native.stamp
	@$(call FRESH,build/runtime,csrc/runtime)
	@$(CONFIGURE_RUNTIME) -B build/runtime >/dev/null && $(BIN)/cmake --build build/runtime

test-runtime: runtime
	$(BIN)/ctest --test-dir build/runtime --output-on-failure

test-runtime-asan: $(VENV)/native.stamp
	@$(call FRESH,build/runtime-asan,csrc/runtime)
	@$(CONFIGURE_RUNTIME) -B build/runtime-asan -DSEMIHMM_SANITIZE=ON >/dev/null && $(BIN)/cmake --build build/runtime-asan
	$(BIN)/ctest --test-dir build/runtime-asan --output-on-failure
	cd build/runtime-asan && tests/fuzz --seconds $(FUZZ_SECONDS) --seed $$(date +%s) $(CURDIR)/csrc/runtime/tests/corpus

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/dev.stamp
	$(BIN)/mypy --strict

# English, then Korean beside it, which is English where nothing is translated; then all links, pictures and names are looked at.
SPHINX = $(BIN)/sphinx-build -W --keep-going -q -j 2
docs: $(VENV)/docs.stamp $(NATIVE)
	$(SPHINX) -b html -d build/doctrees/en docs build/docs
	$(SPHINX) -b html -d build/doctrees/ko -t korean docs build/docs/ko
	$(BIN)/python docs/check.py build/docs

# What was built, in a browser: every page at a phone's width, formulas, the search, the printed cheat sheet.
test-docs: $(VENV)/dev.stamp docs
	SEMIHMM_SITE=build/docs $(BIN)/pytest --no-cov -q tests/docs/test_site.py

# What is to be translated: docs/locale/ko/LC_MESSAGES/PAGE.po of each of these pages gets what is new in English.
TRANSLATED := index start/index start/install start/first start/which start/cheatsheet \
	tutorials/forward_backward tutorials/semirings tutorials/scan
docs-catalogues: $(VENV)/docs.stamp $(NATIVE)
	$(SPHINX) -b gettext -d build/doctrees/en docs build/gettext
	rm -rf build/translated && mkdir -p build/translated
	cd build/gettext && for page in $(TRANSLATED); do [ ! -e $$page.pot ] || cp --parents $$page.pot ../translated; done
	$(BIN)/sphinx-intl update -p build/translated -d docs/locale -l ko -w 0

# The C++ runtime for 64-bit Arm, whose vectors are NEON's, in an emulator: its ctest suite, and what it hears against Python.
ARM := aarch64-linux-gnu
.PHONY: test-runtime-neon
test-runtime-neon: $(VENV)/native.stamp
	@missing="$$(command -v $(ARM)-g++ >/dev/null || echo g++-$(ARM)) $$(command -v qemu-aarch64 >/dev/null || echo qemu-user)"; \
		[ -z "$${missing# }" ] || { echo "This needs packages of Debian: apt-get install $${missing# }" >&2; exit 1; }
	@$(BIN)/cmake -S csrc/runtime -B build/runtime-neon -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja $(RUNTIME_ARGS) \
		-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=$(ARM)-gcc -DCMAKE_CXX_COMPILER=$(ARM)-g++ \
		-DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-L;/usr/$(ARM)" >/dev/null
	$(BIN)/cmake --build build/runtime-neon
	$(BIN)/ctest --test-dir build/runtime-neon --output-on-failure
	SEMIHMM_INFER="qemu-aarch64 -L /usr/$(ARM) build/runtime-neon/semihmm-infer" \
		$(BIN)/pytest --no-cov -q tests/export/test_runtime_audio.py -k "wav_goes_in or wav_plays"

bench: $(VENV)/benchmarks.stamp $(NATIVE)
	status=0; for script in $(filter-out benchmarks/report.py,$(wildcard benchmarks/[a-z]*.py)) benchmarks/report.py; do \
		echo "== $$script"; $(BIN)/python "$$script" $(BENCH_ARGS) || status=1; done; exit $$status

# What is made is committed, so that nobody who installs or tests semihmm needs npm; a test compares it with the sources.
web:
	cd web/view && npm ci --silent && npm run --silent build

# Likewise the interactive figures of the documentation, docs/_static/figures.
figures:
	cd web/figures && npm ci --silent && npm run --silent build

# And KaTeX, which draws the formulas of the documentation, docs/_static/katex.
math:
	cd web/math && npm ci --silent --ignore-scripts && npm run --silent build

# Nothing of it is committed: what onnxruntime-web brings is large, and the recordings that are learnt from are not ours.
web-digits: $(VENV)/speech.stamp $(VENV)/export.stamp $(NATIVE)
	cd web/digits && npm ci --silent --ignore-scripts
	$(BIN)/python web/digits/make.py build/digits

clean:
	rm -f semihmm/engine/backends/*.so
	rm -rf build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find semihmm tests examples benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp says that the virtual environment holds what these two files ask for. The install is editable, so that a
# change of the sources needs none; `make native` compiles beside them.
$(VENV)/torch.stamp: constraints.txt
	@echo "Installing PyTorch into $(VENV) (once) ..."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	@touch $@

$(VENV)/native.stamp: $(VENV)/torch.stamp constraints.txt
	@echo "Installing what compiles csrc/ into $(VENV) (once) ..."
	$(INSTALL) cmake nanobind ninja
	@touch $@

$(VENV)/%.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing semihmm[$*] into $(VENV) (once) ..."
	$(INSTALL) --config-settings wheel.cmake=false --editable '.[$*]'
	@touch $@
