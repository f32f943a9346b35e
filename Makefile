# Thin doors to CMake's presets and tools/. Every door installs what is missing first.
PROMPT ?= One day, a little goose
export PROMPT
ANSER := build/release/anser

# ninja prints one line that it rewrites on a terminal, and nothing but failures elsewhere.
NINJA_QUIET := $(if $(shell test -t 1 && echo yes),,--quiet)

.PHONY: run build test attack arm64 bench gpu-check check format setup clean

run: build
	@$(ANSER) run -p "$$PROMPT"

build: setup
	@test -f build/release/build.ninja || cmake --preset release > build-configure.log 2>&1 \
	  || { cat build-configure.log; rm -f build-configure.log; exit 1; }
	@grep -E 'without CUDA|for other GPUs' build-configure.log >&2 2>/dev/null || true
	@rm -f build-configure.log
	@echo "building in build/release (some five minutes on two cores the first time)" >&2
	@ninja -C build/release $(NINJA_QUIET) anser_cli

test: build
	@ninja -C build/release $(NINJA_QUIET)
	@ctest --test-dir build/release --output-on-failure --progress -j 4

# Half an hour of what hostile strangers would try: ATTACK="--seconds 60 --seed 7 --only kills".
ATTACK ?= --seconds 1800
attack: build
	@tools/setup.sh scaleout
	@ninja -C build/release $(NINJA_QUIET) attack_disk_faults
	@ATTACK_LIBRARY=build/release/tests/libattack_disk_faults.so tests/attack/run.py --binary $(ANSER) $(ATTACK)

# The kernels of aarch64, cross-built and run under qemu-user, in two processes.
arm64:
	@tools/setup.sh arm64
	@cmake --preset arm64 >/dev/null
	@echo "building in build/arm64 (a few minutes the first time)" >&2
	@ninja -C build/arm64 $(NINJA_QUIET) test_cpu
	@tools/test_arm64.sh build/arm64/tests
	@OBJDUMP=aarch64-linux-gnu-objdump tools/check_spills.py build/arm64/CMakeFiles/anser_isa.dir/src/cpu/isa/*.o

bench: build
	@$(ANSER) bench

# Tests and measurements on this machine's NVIDIA GPU, eight minutes at the most. Programs that were
# built elsewhere are given to tools/gpu_check.sh itself.
gpu-check:
	@tools/gpu_check.sh --build
	@tools/gpu_check.sh

# Formatting, include direction, weak symbols of the instruction-set files, and whether their sums stay
# in registers.
check: build
	@tools/setup.sh checks
	@git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format --dry-run -Werror
	@python3 tools/check_includes.py
	@tools/check_weak_symbols.sh build/release/CMakeFiles/anser_isa.dir/src/cpu/isa/*.o
	@tools/check_spills.py build/release/CMakeFiles/anser_isa.dir/src/cpu/isa/*.o

format:
	@tools/setup.sh checks
	@git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format -i

setup:
	@tools/setup.sh

clean:
	rm -rf build
