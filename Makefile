# The front door; meson does the work. `make help` prints what there is.

PREFIX ?= /usr/local
DESTDIR ?=
PYTHON := /usr/bin/python3

BUILD := build
TEST := build-test
TSAN := build-tsan
LOGS := $(BUILD)/meson-logs/check $(BUILD)/meson-logs/live $(TEST)/meson-logs/check $(TSAN)/meson-logs/check
RUN_TESTS := meson test --print-errorlogs --timeout-multiplier 4 --logbase

.PHONY: all deps demo check bench-file bench-fits bench-instructions bench-malloc bench-paging bench-policy bench-pool bench-predict bench-sim bench-swap bench-tree images soak install uninstall deb clean help
.NOTPARALLEL:

all: $(BUILD)/build.ninja ## build the release into build/ (the default)
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@.ci/deps --build --check || { echo "run: make deps"; exit 1; }
	meson setup $(BUILD) --buildtype=release --prefix=$(PREFIX)

$(TEST)/build.ninja:
	meson setup $(TEST) -Ddebug-checks=true -Db_sanitize=address,undefined

$(TSAN)/build.ninja:
	meson setup $(TSAN) -Ddebug-checks=true -Db_sanitize=thread -Db_lundef=false

deps: ## install the Debian packages that are missing
	@.ci/deps

demo: deps all ## a Python job in a quarter of its memory, output compared (under two minutes)
	@$(PYTHON) examples/demo.py $(BUILD)

# Three builds: the sanitizers and a preloaded library do not mix, so whole programs run on the release build; the
# units run with debug checks under ASan and UBSan; the threaded ones under TSan too. All run even if some fail. Whole
# programs in a budget run two at a time, however many CPUs there are. Limits of time are four times what the tests say, for on
# some hosts a switch of threads or a flush of the TLB costs several times what it does elsewhere: they end what hangs.
check: deps all $(TEST)/build.ninja $(TSAN)/build.ninja ## all tests; the last line is "N passed, N failed"
	@rm -f $(addsuffix .*,$(LOGS))
	-$(RUN_TESTS) check -C $(TEST) --suite unit
	-$(RUN_TESTS) check -C $(TSAN) malloc-threads
	-$(RUN_TESTS) check -C $(BUILD) --suite docs --suite cli
	-$(RUN_TESTS) live -C $(BUILD) --num-processes 2 --suite live
	@$(PYTHON) tests/summary.py $(LOGS)

bench-malloc: deps all ## Steward's malloc beside glibc's, jemalloc, tcmalloc and mimalloc (25 minutes)
	$(PYTHON) bench/malloc.py

bench-paging: deps all ## Steward beside the kernel's swap, at equal memory
	$(PYTHON) bench/paging.py

bench-policy: deps all ## the live policies side by side on the real programs
	$(PYTHON) bench/policy.py

bench-file: all ## regions of files beside mmap, four times larger than memory (root, cgroup; five minutes)
	$(PYTHON) bench/file.py

bench-instructions: deps all ## instructions of mm/ for a fault and an eviction, beside the last figures
	$(PYTHON) bench/instructions.py

bench-fits: deps all ## what steward run costs programs that fit their budget
	$(PYTHON) bench/fits.py

bench-pool: deps all ## how much memory a page takes in the pool, beside zram (root, cgroup, zram; five minutes)
	$(PYTHON) bench/pool.py

bench-predict: all ## what the model predicts beside what this kernel and steward run do (root, cgroup, zram; eleven minutes)
	@status=0; for how in "" --live; do $(BUILD)/src/cli/steward validate $$how || status=1; done; exit $$status

bench-sim: all ## the simulator: speed, memory, and misses beside libCacheSim's if it is there
	$(PYTHON) bench/sim.py

bench-swap: deps all ## Steward beside the kernel's swap file and zswap on the same disk, and on a loopback NBD server
	$(PYTHON) bench/swap.py

bench-tree: all ## a compile with two jobs in 40 % of its memory, beside the kernel with zram (root, cgroup, zram; ten minutes)
	$(PYTHON) bench/tree.py

soak: all ## the verifier under a disturbed steward run, by a seed: SEED=N (the time), DURATION=SECONDS (two hours)
	$(PYTHON) tests/live/soak.py --build $(BUILD) $(if $(SEED),--seed $(SEED)) $(if $(DURATION),--duration $(DURATION))

images: deps all ## the pictures of the README again
	$(PYTHON) docs/images/make.py $(BUILD)

install: all ## install below PREFIX (/usr/local), within DESTDIR
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR="$(DESTDIR)" meson install -C $(BUILD)

uninstall: $(BUILD)/build.ninja ## remove what install puts there
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson introspect $(BUILD) --installed | \
		$(PYTHON) -c 'import json, sys; print("\n".join(json.load(sys.stdin).values()))' | \
		while read -r file; do \
			rm -fv "$(DESTDIR)$$file"; \
			case $$file in *.so.*) rm -fv "$(DESTDIR)$${file%.*.*}" "$(DESTDIR)$${file%.*.*.*}" ;; esac; \
		done
	@-meson introspect $(BUILD) --installed | \
		$(PYTHON) -c 'import json, os, sys; print("\n".join({os.path.dirname(f) for f in json.load(sys.stdin).values()}))' | \
		grep '/steward$$' | while read -r dir; do rmdir "$(DESTDIR)$$dir"; done

# In a copy, because dpkg-buildpackage writes beside and into the tree that it builds.
deb: ## Debian packages into build-deb/: steward, libsteward0, libsteward-malloc0, their -dev (needs debhelper)
	report/fetch
	rm -rf build-deb
	mkdir -p build-deb/steward
	tar -c --exclude='./build*' --exclude=./.git . | tar -x -C build-deb/steward
	cd build-deb/steward && dpkg-buildpackage --build=binary --no-sign
	rm -rf build-deb/steward
	@ls build-deb/*.deb

clean: ## remove the build directories
	rm -rf $(BUILD) $(TEST) $(TSAN) build-deb

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
