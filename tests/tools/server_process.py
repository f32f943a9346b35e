"""An `anser serve` of one's own, on a free port of loopback, for tests and measurements."""
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ANSER_BINARY", str(ROOT / "build" / "release" / "anser"))


class Server:
    """Started on entry, ended on exit; `log` is all that it has said. Without --state-dir it keeps no states: the folder
    of the user's own is not for tests. `popen`: what else subprocess.Popen is to be told, as an environment."""

    def __init__(self, *arguments, binary=BINARY, **popen):
        self.popen = popen
        self.arguments = [binary, "serve", "--port", "0", *map(str, arguments)]
        if not any(str(argument).startswith("--state-") for argument in arguments):
            self.arguments.append("--no-states")

    def __enter__(self):
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.arguments, stdout=self.output, stderr=self.output, **self.popen)
        for _ in range(6000):
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", self.log)
            if found:
                self.port = int(found[1])
                self.url = f"http://127.0.0.1:{self.port}"
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        log = self.log
        self.__exit__(RuntimeError)
        raise RuntimeError(f"the server did not start: {log}")

    @property
    def log(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def rss_kb(self):
        """Memory that the process holds, in kB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def __exit__(self, kind=None, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        log = self.log
        self.output.close()
        if kind is None and self.process.returncode != 0:
            raise RuntimeError(f"the server ended with {self.process.returncode}: {log}")
