"""Tests of tools/compare_peers.py that need neither llama.cpp nor a model."""
import argparse
import contextlib
import io
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "compare_peers.py"
sys.path.insert(0, str(TOOL.parent))
import compare_peers as peers  # noqa: E402


class FakePrograms:
    """Rates that are counted up call by call, so that every figure of a table has one origin."""

    def __init__(self):
        self.calls = []

    def measure(self, program, kind, size, steps):
        self.calls.append((program, kind, size, steps))
        return {"load_s": 0.25 if program == "anser" else 0.5, "tok_s": 100.0 * len(self.calls)}

    def anser(self, path, kind, size, steps):
        return {**self.measure("anser", kind, size, steps), "isa": "avx2", "type": "F16"}

    def llama(self, path, kind, size, steps):
        return self.measure("llama", kind, size, steps)

    def logits_of_anser(self, path, tokens):
        return [1.0, -1.0]

    def logits_of_llama(self, path, tokens):
        return [1.5, -1.0]


def compare(programs, **options):
    options = argparse.Namespace(**{"prompt": [512], "batch": [8], "rounds": 3, "steps": 64, "seconds": 3, **options})
    with contextlib.redirect_stderr(io.StringIO()):
        return peers.compare(programs, "folder/m.gguf", options)


class Comparing(unittest.TestCase):
    def test_the_programs_take_turns(self):
        programs = FakePrograms()
        compare(programs, batch=[])
        self.assertEqual([call[0] for call in programs.calls], ["anser", "llama"] * 3)
        self.assertTrue(all(call[1:] == ("prefill", 512, 1) for call in programs.calls))

    def test_a_look_sets_the_steps_of_both(self):
        programs = FakePrograms()
        found = compare(programs, prompt=[], rounds=2)
        # The look is at 100 and 200 tok/s; 3 s are 5 runs of 0.6 s, in which the slower one does 60 / 8 steps.
        self.assertEqual([call[3] for call in programs.calls], [2, 2] + [8] * 4)
        self.assertEqual(found["rows"][0]["steps"], 8)

    def test_rows(self):
        found = compare(FakePrograms(), batch=[])
        prefill, load = found["rows"]
        self.assertEqual(prefill["rates"], {"anser": [100, 300, 500], "llama": [200, 400, 600]})
        self.assertEqual((prefill["anser"], prefill["llama"]), (300, 400))
        self.assertEqual((prefill["ratio"], prefill["ratio_least"]), (0.75, 0.5))
        # Half the seconds are twice as fast.
        self.assertEqual((load["anser"], load["llama"], load["ratio"]), (0.25, 0.5, 2))
        self.assertEqual(found["logits"], {"largest": 0.5, "deviation": 1})

    def test_tables(self):
        result = {"machine": {"threads": 2}, "models": [compare(FakePrograms(), batch=[])]}
        lines = peers.as_markdown(result).splitlines()
        self.assertEqual(lines[0], "| | prefill 512 | load |")
        self.assertEqual(lines[2], "| m | 300 / 400 = **0.75** | 0.25 / 0.50 = **2.00** |")
        self.assertIn("0.75 (0.50-0.83)", peers.as_text(result))


class Functions(unittest.TestCase):
    def test_steps_fit_the_time(self):
        self.assertEqual(peers.steps_for(3, 1000, 1, 64), 64)
        self.assertEqual(peers.steps_for(3, 50, 1, 64), 30)
        self.assertEqual(peers.steps_for(3, 1, 1, 64), 2)

    def test_the_ratio_is_of_rounds_not_of_medians(self):
        found = peers.summary([10, 20, 90], [10, 40, 30])
        self.assertEqual((found["anser"], found["llama"], found["ratio"]), (20, 30, 1))
        self.assertEqual((found["ratio_least"], found["ratio_most"]), (0.5, 3))

    def test_numbers_are_short(self):
        self.assertEqual([peers.number(x) for x in (1234.6, 99.94, 1.234)], ["1235", "99.9", "1.23"])

    def test_tokens_are_those_of_anser_bench(self):
        # (1664525 + 1013904223) / 256 = 3967065, which is 34905 modulo 65536.
        tokens = peers.some_tokens(50, 65536)
        self.assertEqual(tokens[0], 34905)
        self.assertEqual(len(set(tokens)), 50)
        self.assertTrue(all(token < 7 for token in peers.some_tokens(50, 7)))

    def test_npy(self):
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }".ljust(117) + b"\n"
        with tempfile.NamedTemporaryFile(suffix=".npy") as f:
            f.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + struct.pack("<3f", 1, -2, 0.5))
            f.flush()
            self.assertEqual(peers.read_npy(f.name), [1, -2, 0.5])


class Failing(unittest.TestCase):
    def run_tool(self, *arguments):
        # -S hides installed packages.
        return subprocess.run([sys.executable, "-S", str(TOOL), *arguments], capture_output=True, text=True)

    def test_without_llama_it_says_how_to_get_it(self):
        done = self.run_tool("quantise", "in.gguf", "out.gguf", "q8_0")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("pip install --no-binary llama-cpp-python", done.stderr)

    def test_a_missing_model_is_named(self):
        done = self.run_tool("speed", "nowhere.gguf")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere.gguf", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
