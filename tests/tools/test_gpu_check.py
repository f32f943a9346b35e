"""Tests of tools/gpu_check.py: tables of a recorded report, and parts that fail, hang or find no device."""
import argparse
import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import gpu_check  # noqa: E402

# Invented figures, as `anser bench --json` prints them.
RESULT = {
    "model": "RWKV-7 2.90B", "type": "F16", "threads": 1, "isa": "cuda:0 Some GPU", "stream_gb_s": 4000.0,
    "peak_gflop_s": 800000.0, "peak_type": "f16", "peak_int8_gop_s": None, "load_s": 3.0, "peak_rss_mb": 9000,
    "zero_share": 0.9,
    "prefill": [{"tokens": 1024, "tok_s": 60000.0, "fraction": 0.4, "of": "f16"},
                {"tokens": 1024, "prompts": 32, "error": "the GPU has not enough memory"}],
    "decode": [{"batch": 1, "tok_s": 400.0, "gb_s": 2000.0, "fraction": 0.5},
               {"batch": 4, "tok_s": 1500.0, "gb_s": 2000.0, "fraction": 0.5}],
    "phases": [{"batch": 1, "rows": [{"phase": "project", "times": 32, "us": 20.0, "mb": 42.0, "gb_s": 2100.0,
                                      "gflop_s": 2100.0, "fraction": 0.525},
                                     {"phase": "logits", "times": 1, "us": 360.0, "mb": 336.0, "gb_s": 933.0,
                                      "gflop_s": 933.0, "fraction": 0.233}]}],
}
REPORT = {"parts": [{"name": "tests", "shape": "", "type": "", "seconds": 20.0, "status": "[  PASSED  ] 115 tests."},
                    {"name": "2.9B f16 -b 1", "shape": "2.9B", "type": "f16", "seconds": 12.0, "status": "ok",
                     "result": RESULT},
                    {"name": "7.2B f16 -b 1", "shape": "7.2B", "type": "f16", "status": "ended after 60 s"}]}


class Tables(unittest.TestCase):
    def setUp(self):
        self.lines = gpu_check.as_markdown(REPORT).splitlines()

    def test_measured_beside_target_and_limit(self):
        self.assertIn("| 2.9B f16 | decode, batch 1 | 400 | 800 | 50 % | 50 % of memory |", self.lines)
        self.assertIn("| 2.9B f16 | prefill 1024 | 60000 | 75000 | 80 % | 40 % of f16 |", self.lines)

    def test_what_failed_says_why_and_what_is_missing_stays(self):
        self.assertIn("| 2.9B f16 | prefill 1024 x 32 | the GPU has not enough memory | 120000 |  |  |", self.lines)
        self.assertIn("| 7.2B f16 | decode, batch 1 | - | 365 |  |  |", self.lines)
        self.assertIn("| 7.2B f16 -b 1 |  | ended after 60 s |", self.lines)

    def test_what_has_no_target_is_there_too(self):
        self.assertIn("| 2.9B f16 | decode, batch 4 | 1500 |  |  | 50 % of memory |", self.lines)

    def test_every_target_has_one_row(self):
        grid = [row for row in gpu_check.rows_of({"parts": []})]
        self.assertEqual(len(grid), 8 + 6 + 4)
        self.assertEqual(len({(row.shape, row.type, row.what) for row in grid}), len(grid))

    def test_every_target_is_measured_by_some_part(self):
        asked = set()
        for part in gpu_check.PARTS:
            if not part.shape:
                continue
            options = dict(zip(part.command, part.command[1:]))
            asked |= {(part.shape, part.type, f"decode, batch {batch}") for batch in options["-b"].split(",")}
            asked |= {(part.shape, part.type, "prefill " + text.replace("x", " x ")) for text in options["-p"].split(",")}
        for row in gpu_check.rows_of({"parts": []}):
            self.assertIn((row.shape, row.type, row.what), asked)

    def test_phases_and_the_step_they_are_of(self):
        self.assertIn("| project | 32 | 20.0 | 42.0 | 2100 | 2100 | 52 % |", self.lines)
        self.assertIn("Together 1000 microseconds; a whole step took 2500.", self.lines)

    def test_nothing_measured(self):
        text = gpu_check.as_markdown({"parts": [REPORT["parts"][0]]})
        self.assertTrue(text.endswith("Nothing was measured."))

    def test_a_machine_that_was_not_measured(self):
        result = {**RESULT, "stream_gb_s": None, "peak_gflop_s": None, "prefill": [], "phases": [],
                  "decode": [{"batch": 1, "tok_s": 400.0, "gb_s": 2000.0, "fraction": None}]}
        report = {"parts": [{**REPORT["parts"][1], "result": result}]}
        self.assertIn("| 2.9B f16 | decode, batch 1 | 400 | 800 | 50 % |  |", gpu_check.as_markdown(report))


class Parts(unittest.TestCase):
    """With shell scripts for programs."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.parts = gpu_check.PARTS
        self.addCleanup(lambda: setattr(gpu_check, "PARTS", self.parts))

    def program(self, name, script):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def check(self, seconds=60, only=None):
        options = argparse.Namespace(programs=self.folder, out=self.folder / "out", seconds=seconds, only=only)
        with contextlib.redirect_stderr(io.StringIO()):
            report = gpu_check.check(options)
        self.assertEqual(json.loads((self.folder / "out" / "gpu-check.json").read_text()), report)
        return report["parts"]

    def test_no_device_ends_it_and_says_why(self):
        self.program("test_gpu", "echo 'skipped: no NVIDIA GPU was found'; exit 77")
        self.program("anser", "exit 1")
        parts = self.check()
        self.assertEqual([part["status"] for part in parts], ["skipped: no NVIDIA GPU was found"])

    def test_a_part_that_hangs_or_fails_costs_no_other_its_result(self):
        self.program("test_gpu", "sleep 30 & wait")
        self.program("anser", f"case $* in *7.2B*) echo 'anser: lost' >&2; exit 1;; esac; echo '{json.dumps(RESULT)}'")
        tests, lost, measured = self.parts[:3]
        gpu_check.PARTS = [gpu_check.Part("tests", 5, tests.command), lost, measured]
        parts = self.check()
        self.assertEqual([part["status"] for part in parts], ["ended after 5 s", "failed (1): anser: lost", "ok"])
        self.assertEqual(parts[2]["result"], RESULT)

    def test_where_plain_launches_help_the_rest_is_measured_with_them(self):
        self.program("test_gpu", '[ "$ANSER_CUDA_PLAIN" = 1 ] || { echo "[  FAILED  ] Some.Test"; exit 1; }; echo passed')
        self.program("anser", f"[ \"$ANSER_CUDA_PLAIN\" = 1 ] && echo '{json.dumps(RESULT)}'")
        gpu_check.PARTS = self.parts[:2]
        parts = self.check()
        self.assertEqual([part["status"] for part in parts], ["failed (1): [  FAILED  ] Some.Test", "passed", "ok"])
        report = json.loads((self.folder / "out" / "gpu-check.json").read_text())
        self.assertIn("Measured with ANSER_CUDA_PLAIN=1", gpu_check.as_markdown(report))

    def test_rows_of_a_bench_that_failed_half_way_are_kept(self):
        self.program("test_gpu", "exit 0")
        self.program("anser", f"echo '{json.dumps(RESULT)}'; echo 'anser: the GPU has not enough memory' >&2; exit 1")
        parts = self.check(only="2.9B f16 -b 1,32")
        self.assertEqual(len(parts), 1)
        self.assertEqual(parts[0]["status"], "failed (1): anser: the GPU has not enough memory")
        self.assertEqual(parts[0]["result"], RESULT)

    def test_nothing_is_begun_without_time(self):
        self.program("test_gpu", "exit 0")
        self.program("anser", "exit 0")
        self.assertTrue(all(part["status"].startswith("not begun") for part in self.check(seconds=1)))


if __name__ == "__main__":
    unittest.main()
