"""Requests that schemathesis makes of /openapi.json, against the running program with the embedded model.

Wrong and right ones, at the edges of every field's range and at random, with a fixed seed. No answer may be one that the
description does not have: no failure, no status, type, header or shape beyond it, and nothing wrong may be accepted.
"""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

if importlib.util.find_spec("schemathesis") is None:
    raise unittest.SkipTest("schemathesis is not installed (tools/setup.sh schemathesis)")

sys.path.insert(0, str(Path(__file__).resolve().parent))
from server_process import Server  # noqa: E402

KEY = "a-key-of-this-test"
RUN = "from schemathesis.cli import schemathesis; schemathesis()"
# What fits its schema may be refused for what no schema says: a grammar that would be too large, a name that is taken.
SKIPPED = "positive_data_acceptance"


class Description(unittest.TestCase):
    def run_schemathesis(self, server, folder, *arguments):
        """Returns the number of requests."""
        done = subprocess.run(
            [sys.executable, "-c", RUN, "run", server.url + "/openapi.json", "--seed", "1", "--no-color",
             "--exclude-checks", SKIPPED, "--generation-database", "none", "--request-timeout", "60",
             "-H", f"Authorization: Bearer {KEY}", *arguments],
            cwd=folder, env=os.environ | {"HOME": folder, "NO_COLOR": "1"}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout[-20000:])
        return int(re.search(r"(\d+) generated", done.stdout)[1])

    def test_every_answer_is_described(self):
        with tempfile.TemporaryDirectory() as folder, Server(
                "--state-dir", folder + "/states", "--max-tokens", 4, "--max-n", 2, "--max-prompt-tokens", 2000,
                "--api-key", KEY) as server:
            requests = self.run_schemathesis(server, folder, "--phases", "examples,coverage,fuzzing,stateful",
                                            "--max-examples", "6")
            self.assertGreater(requests, 500)
            self.assertNotIn("internal error", server.log)


if __name__ == "__main__":
    unittest.main()
