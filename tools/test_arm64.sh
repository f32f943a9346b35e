#!/usr/bin/env bash
# test_arm64.sh FOLDER: the kernels' tests out of FOLDER, built for aarch64, under qemu-user: all tables on
# a processor that knows all of it, and the choice of tables on older ones.
set -euo pipefail
tests=$1
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# A sixteenth of a processor's speed: two processes, half of the tests each.
pids=()
for shard in 0 1; do
  (
    export GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=$shard GTEST_BRIEF=1
    qemu-aarch64 -cpu max,sve=off "$tests/test_cpu"
  ) >"$logs/$shard" 2>&1 &
  pids+=($!)
done
failed=0
for shard in 0 1; do
  wait "${pids[shard]}" || failed=1
done
cat "$logs"/*

# The tables that are tested are those that the processor has instructions for.
expect() {
  local said
  said=$(qemu-aarch64 -cpu "$1" "$tests/test_cpu" --gtest_list_tests --gtest_filter='Tables/Matmul.*' | grep -o '/[a-z0-9]*  # ' | sort -u | tr -d '/ #\n' || true)
  if [ "$said" != "$2" ]; then
    echo "on $1 the tables are '$said', expected '$2'" >&2
    failed=1
  fi
}
expect cortex-a72 baselineneon
expect neoverse-n1 baselinedotprodneon
expect max,sve=off baselinedotprodi8mmneon
exit $failed
