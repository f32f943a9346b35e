#!/bin/sh
# check_weak_symbols.sh OBJECT...: fails when an object of the kernels (src/cpu/isa) defines a weak
# or unique symbol. The linker keeps one copy of such a symbol for the whole program; were it the
# one compiled for AVX-512, every machine without it would die of an illegal instruction.
# Not for objects built with sanitizers, which bring weak symbols of their own.
set -eu

if [ $# -eq 0 ]; then
  echo "usage: $0 OBJECT..." >&2
  exit 2
fi

failed=0
for object in "$@"; do
  # Into a variable first: a failure of nm in a pipe would look like a clean object.
  symbols=$(nm --defined-only --format=bsd "$object")
  weak=$(printf '%s\n' "$symbols" | awk '$2 ~ /^[WwVvu]$/ { print $3 }' | c++filt)
  if [ -n "$weak" ]; then
    printf '%s\n' "$weak" | sed "s|^|$object: |"
    failed=1
  fi
done
exit $failed
