#!/usr/bin/env python3
"""Every fuzz target for a long while on one core, with its corpus kept, and a table of executions and coverage.

  run_long.py                           half an hour each
  run_long.py --seconds 60 fuzz_gguf    one of them, for a minute

Needs targets that were built with libFuzzer: cmake --preset dev && ninja -C build/dev. The corpora stay in build/corpus, from
where the next run goes on; an input that breaks something is kept in build/corpus/found.
"""
import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests" / "fuzz" / "seeds"


def fuzz(target, options):
    """A row of the table, and whether it held."""
    corpus, found = options.corpus / target, options.corpus / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    begin = time.monotonic()
    done = subprocess.run(
        [options.build / "tests" / target, f"-max_total_time={options.seconds}", f"-max_len={options.max_len}", "-rss_limit_mb=2048",
         "-timeout=30", "-print_final_stats=1", f"-seed={options.seed}", f"-artifact_prefix={found}/{target}-", corpus, SEEDS / target],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    covered = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    coverage, features = covered[-1] if covered else ("", "")
    inputs = [path.stat().st_size for path in corpus.iterdir()]
    verdict = "held" if done.returncode == 0 else f"**ended with {done.returncode}**"
    row = (f"| {target.removeprefix('fuzz_')} | {time.monotonic() - begin:.0f} | {runs[-1] if runs else ''} | {coverage} | {features} | "
           f"{len(inputs)} | {max(inputs, default=0)} | {verdict} |")
    if done.returncode != 0:
        print(done.stderr[-3000:], file=sys.stderr)
    return row, done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all of tests/fuzz when none is named")
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--max-len", type=int, default=1 << 20, help="bytes of an input at the most")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "dev")
    parser.add_argument("--corpus", type=Path, default=ROOT / "build" / "corpus")
    options = parser.parse_args()
    targets = options.targets or sorted(path.stem for path in (ROOT / "tests" / "fuzz").glob("fuzz_*.cpp"))
    print("| target | s | executions | edges covered | features | inputs kept | bytes of the longest | verdict |")
    print("|---|--:|--:|--:|--:|--:|--:|---|", flush=True)
    all_held = True
    for target in targets:
        row, held = fuzz(target, options)
        all_held &= held
        print(row, flush=True)
    sys.exit(0 if all_held else 1)


if __name__ == "__main__":
    main()
