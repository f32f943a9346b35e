#!/usr/bin/env python3
"""Tests and measures the CUDA backend on a machine with an NVIDIA GPU, within eight minutes.

  gpu_check.py [--programs FOLDER] [--out FOLDER] [--seconds 480] [--only NAME,...]
  gpu_check.py --table FILE.json              prints the tables of an earlier run

The parts run in the order of their worth, each in a process of its own with a time limit of its own: what fails or runs
over is said, and costs no other part its result. Where tests fail, they are run again with ANSER_CUDA_PLAIN=1, and if
that helps, the rest is. What has been measured is printed as Markdown at the end, and is in
gpu-check.json beside the parts' logs whatever happens. tools/gpu_check.sh finds or builds the programs first.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = 77  # what test_gpu returns where there is no device

# What to reach on one H200, tokens per second: aims, not measurements.
DECODE = {
    ("1.5B", "f16"): {1: 1200, 32: 28000},
    ("2.9B", "f16"): {1: 800, 32: 17000, 256: 66000},
    ("7.2B", "f16"): {1: 365, 32: 7400, 256: 31000},
    ("2.9B", "q8_0"): {1: 1300},
    ("2.9B", "q4_0"): {1: 1700},
    ("7.2B", "q8_0"): {1: 620},
    ("7.2B", "q4_0"): {1: 900},
}
PREFILL = {  # by tokens and prompts
    ("1.5B", "f16"): {(1024, 1): 150000, (1024, 32): 220000},
    ("2.9B", "f16"): {(1024, 1): 75000, (1024, 32): 120000},
    ("7.2B", "f16"): {(1024, 1): 35000, (1024, 32): 47000},
}

# A part of test_gpu that a sanitizer, which slows kernels down a hundredfold, gets through.
MEMCHECK = ("*Kernel*/f16:*Kernel*/nibbles_minima_32:*/f16_as_f16:*/nibbles_minima_32_as_f16:*RecurKernel*/of_64:"
            "RowsKernel.*:Chunks.EveryHeadSize:CandidateSearch.FindsWhatSortingFinds")
RACECHECK = ("*GemvKernel.Shifted*/f16:*ContractKernel.Adds*/f16:*TilesKernel*/f16_as_f16:*RecurKernel*/of_64:"
             "RowsKernel.Mix*:Chunks.EveryHeadSize:CandidateSearch.FindsWhatSortingFinds")


@dataclass(frozen=True)
class Part:
    name: str
    seconds: int  # after which it is ended
    command: list  # the first word is a program's name
    shape: str = ""
    type: str = ""


def bench(shape, type, seconds, *options):
    name = f"{shape} {type} {' '.join(options)}".replace(" -n 64", "")
    # The bench begins nothing more in time for what it has to be printed.
    command = ["anser", "bench", "--device", "cuda", "--json", "--shape", shape, "--type", type, "--seconds",
               str(seconds * 2 // 3), *options]
    return Part(name, seconds, command, shape, type)


def sanitizer(tool, seconds, tests):
    return Part(tool, seconds, ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "test_gpu",
                                f"--gtest_filter={tests}", "--gtest_brief=1"])


TESTS = Part("tests", 100, ["test_gpu", "--gtest_brief=1"])
PARTS = [
    TESTS,
    bench("7.2B", "f16", 60, "-b", "1,32", "-p", "1024", "-n", "64", "--phases"),
    bench("2.9B", "f16", 45, "-b", "1,32", "-p", "1024", "-n", "64", "--phases"),
    bench("1.5B", "f16", 40, "-b", "1,32", "-p", "1024", "-n", "64"),
    bench("7.2B", "f16", 60, "-b", "256", "-p", "1024x32", "-n", "32"),
    bench("2.9B", "f16", 45, "-b", "256", "-p", "1024x32", "-n", "32"),
    sanitizer("memcheck", 50, MEMCHECK),
    bench("2.9B", "q8_0", 40, "-b", "1", "-p", "none"),
    bench("2.9B", "q4_0", 40, "-b", "1", "-p", "none"),
    bench("7.2B", "q8_0", 45, "-b", "1", "-p", "none"),
    bench("7.2B", "q4_0", 45, "-b", "1", "-p", "none"),
    sanitizer("racecheck", 50, RACECHECK),
    bench("1.5B", "f16", 40, "-b", "8", "-p", "1024x32", "-n", "64"),
    bench("2.9B", "f16", 60, "-b", "2,4,8,16,64,128,512,1024", "-p", "none", "-n", "32"),
]


# --- running


def find_program(name, folders):
    if name == "compute-sanitizer":
        found = shutil.which(name) or "/usr/local/cuda/bin/compute-sanitizer"
        return found if Path(found).is_file() else None
    for folder in folders:
        if (folder / name).is_file():
            return str(folder / name)
    return None


def environment():
    """cuBLAS may have come with pip: its folder is none that a loader looks into."""
    packages = {sysconfig.get_path(key) for key in ("purelib", "platlib")}
    found = [Path(file).parent for folder in packages for file in glob.glob(f"{folder}/nvidia/*/lib/libcublasLt.so.*")]
    folders = dict.fromkeys([*filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")), *map(str, found)])
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)} if folders else dict(os.environ)


def run_limited(command, seconds, log, env):
    """(exit status, or None: it ran over; what it wrote to stdout). stdout and stderr also go to the log."""
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                                   env=env, start_new_session=True)
        try:
            out, _ = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # a sanitizer has children
            out, _ = process.communicate()
            status = None
        errors.write(out)
    return status, out


def last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run_part(part, folders, left, out, env):
    record = {"name": part.name, "shape": part.shape, "type": part.type}
    seconds = min(part.seconds, left)
    if seconds < 5:
        return {**record, "status": "not begun: the time is over"}
    command = [find_program(word, folders) or word if word in ("anser", "test_gpu", "compute-sanitizer") else word
               for word in part.command]
    log = out / (part.name.replace(" ", "_").replace(",", "+") + ".log")
    begin = time.monotonic()
    try:
        status, text = run_limited(command, seconds, log, env)
    except OSError as error:
        return {**record, "status": f"failed: {error}"}
    record["seconds"] = round(time.monotonic() - begin, 1)
    try:
        if part.shape and text.strip():
            record["result"] = json.loads(text)
    except ValueError:
        pass  # a line that was cut short
    if status is None:
        record["status"] = f"ended after {seconds:.0f} s"
    elif status == SKIPPED and part.name == "tests":
        record["status"] = last_words(text)
        record["no_device"] = True
    elif status != 0:
        record["status"] = f"failed ({status}): {last_words(log.read_text(errors='replace').replace(text, '')) or last_words(text)}"
    else:
        record["status"] = "ok" if part.shape else last_words(text) or "ok"
    return record


def check(options):
    folders = [options.programs, options.programs / "tests"]
    for name in ("anser", "test_gpu"):
        if find_program(name, folders) is None:
            raise SystemExit(f"gpu_check: there is no {name} in {options.programs}; tools/gpu_check.sh builds it")
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    env = environment()
    report = {"parts": []}
    chosen = options.only.split(",") if options.only else None

    def keep(record):
        report["parts"].append(record)
        (options.out / "gpu-check.json").write_text(json.dumps(report, indent=1) + "\n")

    for part in PARTS:
        if chosen and not any(part.name.startswith(name) for name in chosen):
            continue
        left = options.seconds - (time.monotonic() - begin)
        print(f"gpu_check: {part.name}", file=sys.stderr, flush=True)
        record = run_part(part, folders, left, options.out, env)
        keep(record)
        if record.get("no_device"):
            break
        if part is TESTS and record["status"].startswith(("failed", "ended")):
            # Recordings and kernels that begin early are what an emulator shows least of.
            plain = {**env, "ANSER_CUDA_PLAIN": "1"}
            again = run_part(replace(TESTS, name="tests without recordings and early beginnings"), folders,
                             options.seconds - (time.monotonic() - begin), options.out, plain)
            if not again["status"].startswith(("failed", "ended", "not begun")):
                env = plain
                report["plain"] = True
            keep(again)
    return report


# --- tables


def number(x):
    """Three digits at the least, no fractions where there are more: 0.123, 4.56, 78.9, 1235."""
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.3g}"


def percent(x):
    return f"{100 * x:.0f} %"


@dataclass
class Row:
    shape: str
    type: str
    what: str
    target: float = 0
    tok_s: float = 0
    fraction: float = 0
    of: str = ""
    note: str = ""


def rows_of(report):
    """The grid of the targets in its order, then what else was measured; each by shape, type and what it is."""
    rows = {}
    for (shape, type), sizes in DECODE.items():
        for batch, target in sizes.items():
            rows[shape, type, "decode", batch] = Row(shape, type, f"decode, batch {batch}", target)
        for (tokens, prompts), target in PREFILL.get((shape, type), {}).items():
            what = f"prefill {tokens}" + (f" x {prompts}" if prompts > 1 else "")
            rows[shape, type, "prefill", tokens, prompts] = Row(shape, type, what, target)
    for part in report["parts"]:
        shape, type, result = part["shape"], part["type"], part.get("result")
        if not result:
            continue
        for found in result["decode"]:
            key = shape, type, "decode", found["batch"]
            fill(rows.setdefault(key, Row(shape, type, f"decode, batch {found['batch']}")), found, "memory")
        for found in result["prefill"]:
            tokens, prompts = found["tokens"], found.get("prompts", 1)
            key = shape, type, "prefill", tokens, prompts
            what = f"prefill {tokens}" + (f" x {prompts}" if prompts > 1 else "")
            fill(rows.setdefault(key, Row(shape, type, what)), found, found.get("of", ""))
    return list(rows.values())


def fill(row, found, of):
    if "error" in found:
        row.note = found["error"]
    else:
        row.tok_s, row.fraction, row.of = found["tok_s"], found["fraction"] or 0, of


def main_table(report):
    lines = ["| model | | tok/s | target | of the target | of the limit |", "|---|---|---|---|---|---|"]
    for row in rows_of(report):
        measured = number(row.tok_s) if row.tok_s else row.note or "-"
        lines.append(f"| {row.shape} {row.type} | {row.what} | {measured} | {number(row.target) if row.target else ''} | "
                     f"{percent(row.tok_s / row.target) if row.tok_s and row.target else ''} | "
                     f"{percent(row.fraction) + ' of ' + row.of if row.fraction else ''} |")
    return lines


def phase_tables(report):
    lines = []
    for part in report["parts"]:
        for batch in (part.get("result") or {}).get("phases", []):
            lines += ["", f"Phases, {part['shape']} {part['type']}, batch {batch['batch']}:", ""]
            if "error" in batch:
                lines.append(batch["error"])
                continue
            lines += ["| phase | times | microseconds | MB | GB/s | GFLOP/s | of the limit |", "|---|---|---|---|---|---|---|"]
            total = 0
            for row in batch["rows"]:
                total += row["times"] * row["us"]
                lines.append(f"| {row['phase']} | {row['times']} | {number(row['us'])} | {number(row['mb'])} | "
                             f"{number(row['gb_s'])} | {number(row['gflop_s'])} | {percent(row['fraction'] or 0)} |")
            step = next((f["batch"] * 1e6 / f["tok_s"] for f in part["result"]["decode"]
                         if f["batch"] == batch["batch"] and "tok_s" in f), None)
            lines += ["", f"Together {number(total)} microseconds" +
                      (f"; a whole step took {number(step)}." if step else ".")]
    return lines


def as_markdown(report):
    lines = ["| part | seconds | |", "|---|---|---|"]
    for part in report["parts"]:
        lines.append(f"| {part['name']} | {part.get('seconds', '')} | {part['status'].replace('|', '/')} |")
    results = [part["result"] for part in report["parts"] if part.get("result")]
    if not results:
        return "\n".join([*lines, "", "Nothing was measured."])
    # The best that any process saw of the machine.
    most = {key: max(result[key] or 0 for result in results) for key in ("stream_gb_s", "peak_gflop_s")}
    if report.get("plain"):
        lines += ["", "Measured with ANSER_CUDA_PLAIN=1, without which tests failed: no recordings, no early beginnings."]
    lines += ["", f"{results[0]['isa']}: memory {number(most['stream_gb_s'])} GB/s, f16 "
              f"{number(most['peak_gflop_s'] / 1000)} TFLOP/s, as measured. Targets are for one H200.",
              "", *main_table(report), *phase_tables(report)]
    return "\n".join(lines)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--programs", type=Path, default=ROOT / "build" / "gpu", metavar="FOLDER",
                      help="where anser and test_gpu are (default: build/gpu)")
    args.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check", metavar="FOLDER",
                      help="for gpu-check.json, gpu-check.md and the parts' logs (default: build/gpu-check)")
    args.add_argument("--seconds", type=float, default=480, help="of everything (default: 480)")
    args.add_argument("--only", metavar="NAME,...", help="parts whose names begin so: " +
                      ", ".join(dict.fromkeys(" ".join(p.name.split()[:2]) if p.shape else p.name for p in PARTS)))
    args.add_argument("--table", type=Path, metavar="FILE.json", help="print the tables of an earlier run")
    options = args.parse_args()
    if options.table:
        print(as_markdown(json.loads(options.table.read_text())))
        return 0
    report = check(options)
    text = as_markdown(report)
    (options.out / "gpu-check.md").write_text(text + "\n")
    print(text)
    bad = [part["name"] for part in report["parts"] if part["status"].startswith(("failed", "ended", "not begun", "skipped"))]
    if bad:
        print(f"gpu_check: not all went well: {', '.join(bad)}; the logs are in {options.out}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
