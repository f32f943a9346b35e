#!/usr/bin/env bash
# Tests and measures the CUDA backend on this machine's GPU, within eight minutes (tools/gpu_check.py).
#   tools/gpu_check.sh [FOLDER] [OPTIONS of gpu_check.py]
#   tools/gpu_check.sh --build       only builds; build/gpu/carry then holds what needs no package of ours: carry it,
#                                    with tools/, to a machine that has a GPU, and give its folder there as FOLDER
# FOLDER holds anser and test_gpu; without it build/gpu/carry, and where there is none they are built: by default for
# Hopper (compute capability 9.0), for others with ARCHITECTURES=80 or ARCHITECTURES="80;90" in the environment.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
carry=$root/build/gpu/carry

build() {
  "$root/tools/setup.sh"
  (cd "$root" && cmake --preset gpu -DCMAKE_CUDA_ARCHITECTURES="${ARCHITECTURES:-90}" >&2 &&
    ninja -C build/gpu anser_cli test_gpu >&2)
  mkdir -p "$carry"
  strip -o "$carry/anser" "$root/build/gpu/anser"
  strip -o "$carry/test_gpu" "$root/build/gpu/tests/test_gpu"
}

programs=$carry
if [ "${1:-}" = --build ]; then
  build
  ls -lh "$carry" >&2
  exit
elif [ -n "${1:-}" ] && [[ "$1" != -* ]]; then
  programs=$1
  shift
elif [ ! -x "$carry/anser" ] || [ ! -x "$carry/test_gpu" ]; then
  build
fi
exec python3 "$root/tools/gpu_check.py" --programs "$programs" "$@"
