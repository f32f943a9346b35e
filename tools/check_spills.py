#!/usr/bin/env python3
"""check_spills.py OBJECT...: fails when the kernels for many rows (block_quantised, block_plain) store more vectors on
the stack than their instruction set's limit. A compiler that keeps a tile's sums or products there halves their speed
and changes no result, so nothing else would tell. OBJECT: what g++ makes of src/cpu/isa/*.cpp, for this machine or,
with OBJDUMP=aarch64-linux-gnu-objdump, for aarch64."""
import collections
import os
import re
import subprocess
import sys

# A little above what g++ 12 needs. On x86-64 that is for addresses and for what is loaded once a block; with its sums on
# the stack there were 160 (avx2) and 1220 (avx512). On aarch64 a tile of 6 x 16 leaves too few registers for codes and
# products, most of all where these are widened first (neon had 1205): the limits hold what there is, and no machine was
# at hand to measure another shape. Baseline is left out: its 16 registers of four lanes cannot hold the tile.
LIMITS = {"avx2": 12, "avx512": 16, "avx512vnni": 32, "neon": 800, "dotprod": 340, "i8mm": 160}

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
STORES = [re.compile(r"\bv?mov\w+\s+%[xyz]mm\d+,.*\(%r[sb]p"),  # x86-64
          re.compile(r"\bst[rpu]\w*\s+q\d+.*\[(sp|x29)")]  # aarch64


def stores_by_kernel(path):
    text = subprocess.run([os.environ.get("OBJDUMP", "objdump"), "-d", "-C", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    counts, function = collections.Counter(), None
    for line in text.splitlines():
        if heading := FUNCTION.match(line):
            kernel = re.search(r"(block_(?:quantised|plain))<.*Weights(\w+)>", heading.group(1))
            function = kernel and f"{kernel.group(1)} {kernel.group(2)}"
            if function:
                counts[function] += 0
        elif function and any(store.search(line) for store in STORES):
            counts[function] += 1
    return counts


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    failed = False
    for path in sys.argv[1:]:
        table = os.path.basename(path).split(".")[0]
        if table not in LIMITS:
            continue
        counts = stores_by_kernel(path)
        if not counts:
            sys.exit(f"{path}: found no kernel block_quantised or block_plain in it")
        for kernel, count in sorted(counts.items()):
            if count > LIMITS[table]:
                failed = True
                print(f"{table}: {kernel} stores {count} vectors on the stack, expected at most {LIMITS[table]}: its sums "
                      "have left the registers (see ANSER_KEEP_IN_REGISTER in src/cpu/isa/plain.h)")
    sys.exit(failed)


if __name__ == "__main__":
    main()
