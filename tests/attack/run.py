#!/usr/bin/env python3
"""All programs of attack, one after the other, and a table of what they found.

  run.py --short                          as CI runs it: two minutes at the most
  run.py --seconds 1800                   half an hour, as `make attack` does
  run.py --only kills,files --seed 7      some of them, with another seed
  run.py --binary build/tsan/anser --only load,mutated_requests

A kind that takes much longer than its share is ended and counts as failed. Needs Python 3 alone; some kinds more (Redis, Chromium, a C
compiler, numpy), and without it they say so and are left out.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attack import options_of

HERE = Path(__file__).resolve().parent
# Shares of the time.
SHARES = {"json_bombs": 12, "header_drip": 10, "schema_bombs": 14, "half_accepted": 8, "fairness": 10, "memory": 12,
          "damaged_index": 10, "disk_faults": 10, "kills": 8, "redis_stopped": 6, "thread_limits": 6, "files": 8, "mutated_requests": 20,
          "load": 8}
UNIT_TESTS = ("web_requests", "web_pages")  # tests of their own, which every test run has anyway: not part of a short run
SHORT_SECONDS = 120  # all of a short run, also where much fails
# Of a short run the cases that are always tried take most of the time; those by the seed get what is here.
SHORT_BY_SEED = {"json_bombs": 1, "header_drip": 1, "schema_bombs": 2, "half_accepted": 1, "damaged_index": 3, "disk_faults": 3, "kills": 3,
                 "mutated_requests": 6, "load": 4}


def run_one(name, options, seconds, limit, folder):
    """What the kind has to say of itself. `limit`: after so many seconds no case is begun; a little later it is ended."""
    result = folder / f"{name}.json"
    words = [sys.executable, str(HERE / f"{name}.py"), "--binary", options.binary, "--seed", str(options.seed), "--seconds", str(seconds),
             "--json", str(result), "--deadline", str(limit - 2), *(["--verbose"] if options.verbose else []), *(["--short"] if options.short else []),
             *(["--bound-ms", str(options.bound_ms)] if options.bound_ms is not None else [])]
    # A process group of its own, so that what it has started ends with it.
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True, env={**os.environ, "TMPDIR": str(folder)})
    begin = time.monotonic()
    for patience in (limit, 1.5):
        try:
            process.wait(patience)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
    late = process.poll() is None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    seconds = round(time.monotonic() - begin, 1)
    if result.exists():
        return json.loads(result.read_text())
    why = f"was ended after {seconds} s" if late else f"ended with {process.returncode} and no result"
    return {"kind": name.replace("_", " "), "cases": 0, "untried": 0, "figures": {}, "failures": [[name, why]],
            "skipped": None, "seconds": seconds}


def run_unit_tests(name, options):
    """The same of a file of unit tests."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), "-v"], env={**os.environ, "ANSER_BINARY": options.binary},
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    failures = re.findall(r"^(?:FAIL|ERROR): (.*)$", done.stderr, re.M)
    if done.returncode != 0 and not failures:
        failures = [f"ended with {done.returncode}"]
    cases = re.search(r"^Ran (\d+) tests?", done.stderr, re.M)
    skipped = re.search(r"skipped '(.*)'", done.stderr)
    return {"kind": name.replace("_", " "), "cases": int(cases[1]) if cases else 0, "untried": 0, "figures": {},
            "failures": [[failure, "its test failed"] for failure in failures], "skipped": skipped and skipped[1],
            "seconds": round(time.monotonic() - begin, 1)}


def row(result):
    figures = ", ".join(f"{name} {value:g}" for name, value in result["figures"].items() if value)
    failed = len(result["failures"])
    verdict = f"**{failed} failed**" if failed else "not run: " + result["skipped"].strip("; ") if result["skipped"] else "held"
    if result["untried"]:
        verdict += f", {result['untried']} not tried: no time"
    return f"| {result['kind']} | {result['cases']} | {figures} | {result['seconds']:.0f} | {verdict} |"


def main():
    parser = options_of(description=__doc__)
    parser.add_argument("--only", help="names of files, with commas between")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    if options.only:
        names = options.only.split(",")
    else:
        names = [*SHARES, *(name for name in UNIT_TESTS if not options.short and (HERE / f"{name}.py").exists())]
    begin, results = time.monotonic(), []
    total = sum(SHARES.get(name, 10) for name in names)
    print("| kind | cases | worst figures | s | verdict |\n|---|--:|---|--:|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="anser-attack-run-", ignore_cleanup_errors=True) as folder:
        for at, name in enumerate(names):
            if name in UNIT_TESTS:
                results.append(run_unit_tests(name, options))
                print(row(results[-1]), flush=True)
                continue
            if options.short:
                left = SHORT_SECONDS - (time.monotonic() - begin)
                rest = sum(SHARES.get(other, 10) for other in names[at:])
                # Twice a fair share of what is left, so that one that hangs leaves time for the others.
                limit = max(3.0, min(left, 2 * left * SHARES.get(name, 10) / rest))
                seconds = min(SHORT_BY_SEED.get(name, 1), max(1.0, limit - 3))
            else:
                seconds = options.seconds * SHARES.get(name, 10) / total
                limit = 3 * seconds + 300
            results.append(run_one(name, options, seconds, limit, Path(folder)))
            print(row(results[-1]), flush=True)
    failed = [result for result in results if result["failures"]]
    print(f"\nseed {options.seed}, {options.binary}: {sum(result['cases'] for result in results)} cases in "
          f"{time.monotonic() - begin:.0f} s, {len(failed)} of {len(results)} kinds failed")
    for result in failed:
        for name, text in result["failures"][:5]:
            print(f"- {result['kind']}: {name}: {text[:300]}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
