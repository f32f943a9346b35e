"""The frame of the programs of attack: a server of a given binary, a watcher beside it, cases that are counted, and a verdict.

Every kind of attack is a file with `KIND`, a name, and `attack(run)`; `main(attack, KIND)` makes a program of it:

  json_bombs.py --binary build/release/anser --seed 7 --seconds 60

Cases are fixed ones first, then as many by the seed as the time allows. A case that fails says what was expected and found.
"""
import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import raw_http  # noqa: E402
from raw_http import Slow, check_answer  # noqa: E402
from server_process import BINARY, Server  # noqa: E402

MODEL = ROOT / "models" / "default.gguf"
STREAMS = [{"prompt": f"The {word} story begins", "seed": seed, "max_tokens": 600, "logit_bias": {"0": -100}}
           for seed, word in enumerate(("first", "second", "third", "fourth"))]
USUAL = ("--threads", 1, "--piece", 0.01, "--stream-interval", 10, "--patience", 1, "--cache-mb", 32)
MOST_TOLD = 20  # failures that are printed; all are counted
SANITIZERS = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: ).*")


class TimeBound(AssertionError):
    """A wait beyond its bound: on a busy machine it is tried again."""


def expect(condition, expected, found=""):
    if not condition:
        raise AssertionError(f"expected {expected}, found {found}")


class Run:
    """One kind of attack: its options, its numbers by the seed, and what has been found."""

    def __init__(self, kind, options):
        self.kind, self.options = kind, options
        self.binary, self.short, self.bound_ms = options.binary, options.short, options.bound_ms
        self.numbers = random.Random(f"{options.seed} {kind}")
        self.end = time.monotonic() + options.seconds
        self.deadline = time.monotonic() + options.deadline
        self.cases, self.untried, self.figures, self.failures = 0, 0, {}, []
        self.references, self.targets = {}, []
        self.folder = tempfile.mkdtemp(prefix="anser-attack-")
        binary = Path(self.binary).read_bytes()
        self.sanitized = next((name for name in ("asan", "tsan") if f"__{name}_init".encode() in binary), None)

    def knows(self, option):
        """Whether `serve` has it; an older program is attacked, too."""
        said = subprocess.run([self.binary, "serve", "--help"], capture_output=True, text=True).stdout
        return f"{option} " in said

    def scratch(self, name):
        """A new folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def world(self):
        """Arguments of a server with a random World model that is told of tools; none where numpy is missing: it is the
        embedded model then."""
        path = Path(self.folder) / "random-world.gguf"
        if not path.exists():
            import world_model
            if world_model.make(self.folder) is None:
                return ()
        return ("-m", path, "--template", "flower")

    def left(self):
        return self.end - time.monotonic()

    def by_seed(self, at_least=1):
        """Numbers of further cases, while there is time."""
        count = 0
        while (count < at_least or self.left() > 0) and time.monotonic() < self.deadline:
            yield count
            count += 1

    def figure(self, name, value, most=True):
        """Keeps the worst, the largest unless told."""
        old = self.figures.get(name, value)
        self.figures[name] = max(old, value) if most else min(old, value)

    def slow(self, seconds):
        """A bound on time where the issue names none of the server's own: sanitizers and CI are slow."""
        return seconds * (10 if self.sanitized else 3 if self.short else 1)

    def case(self, name, check, target=None):
        """Runs the check, between a server that is ready and the look at what became of it. Returns what it returns."""
        if time.monotonic() > self.deadline:
            self.untried += 1
            return None
        self.cases += 1
        begin = time.monotonic()
        try:
            return self._try(name, check, target)
        finally:
            if self.options.verbose:
                print(f"{time.monotonic() - begin:6.2f} s  {name[:150]}", file=sys.stderr, flush=True)

    def _try(self, name, check, target):
        for attempt in range(3):
            try:
                if target:
                    target.ready()
                result = check()
                if target:
                    target.check()
                return result
            except TimeBound as error:
                if target:
                    self.figure(f"{'health' if 'health' in str(error) else 'gap'}_ms", error.found)
                    target.end()
                if attempt < 2 and not getattr(error, "clear", False):
                    continue
                self.fail(name, error)
            except (AssertionError, OSError, RuntimeError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
                self.fail(name, target.death() or error if target else error)
                if target:
                    target.note_figures()
                    target.end()
            return None

    def fail(self, name, error):
        text = f"{error}" if isinstance(error, AssertionError) else repr(error)
        self.failures.append((name, text[:600]))
        if len(self.failures) <= MOST_TOLD:
            print(f"FAILED {self.kind}: {name}: {text[:600]}", file=sys.stderr, flush=True)

    def target(self, *arguments, **more):
        self.targets.append(Target(self, *arguments, **more))
        return self.targets[-1]

    def close(self):
        for target in self.targets:
            target.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Target:
    """A server with a watcher, started when it is needed, and anew after a case that failed."""

    def __init__(self, run, *arguments, streams=2, timed=True, extra_ms=0, popen=None, usual=USUAL):
        self.run, self.arguments, self.timed, self.extra_ms = run, [*usual, *arguments], timed, extra_ms
        self.streams, self.popen, self.server, self.watcher = streams, popen or {}, None, None
        self.key = arguments[arguments.index("--api-key") + 1] if "--api-key" in arguments else "none"

    def ready(self):
        if self.server is None or self.server.process.poll() is not None:
            self.end()
            self.start()
        if self.watcher:
            self._tell("reset")
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")  # VmHWM begins anew
        self.memory_before = self.server.rss_kb()

    def start(self):
        self.server = Server(*self.arguments, binary=self.run.binary, **self.popen)
        try:
            self.server.__enter__()
        except RuntimeError as error:
            self.server = None
            raise AssertionError(str(error)) from None
        self.port = self.server.port
        if self.timed:
            self.watcher = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("watcher.py")), str(self.port), self.key,
                 json.dumps([[body, self._alone(body)] for body in STREAMS[:self.streams]])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                report = self.report()
                if report["asked"] > 3 and report["first_events"] >= self.streams:
                    return
                time.sleep(0.02)
            raise AssertionError(f"expected that streams begin, found {report}; {self.server.log[-300:]}")

    def _alone(self, body):
        """The same request with nothing beside it; the same on every server of the run."""
        key = json.dumps([body, "-m" in self.arguments])
        if key not in self.run.references:
            answer = self.ask("POST", "/v1/completions", body, timeout=120)
            self.run.references[key] = answer.json()["choices"][0]["text"]
        return self.run.references[key]

    def _tell(self, command):
        self.watcher.stdin.write(command + "\n")
        self.watcher.stdin.flush()

    def report(self):
        self._tell("report")
        return json.loads(self.watcher.stdout.readline())

    def ask(self, method, path, body=None, headers=None, timeout=10.0, source=None):
        headers = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        return raw_http.ask(self.port, method, path, body, headers, timeout, source)

    def refused(self, method, path, body=None, **more):
        """An error of a client, of 1 kB at the most, in good time."""
        answer = check_answer(self.ask(method, path, body, **more))
        expect(400 <= answer.status < 500, "a status of 4xx", answer)
        return answer

    def metrics(self):
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return {line.split()[0].removeprefix("anser_"): float(line.split()[1])
                for line in lines if not line.startswith("#") and "{" not in line}

    def idle(self, seconds):
        """Nothing runs or waits but the watcher's streams."""
        deadline = time.monotonic() + seconds
        while True:
            now = self.metrics()
            at_work = now["running"] + now["queued"]
            if at_work <= (self.streams if self.timed else 0):
                return
            expect(time.monotonic() < deadline, f"no work of refused or gone requests after {seconds} s",
                   f"running + queued = {at_work:.0f}, of which {self.streams if self.timed else 0} are the watcher's")
            time.sleep(0.02)

    def grown_mb(self):
        """The most memory that the process has held since ready(), above what it held then."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return (int(re.search(r"VmHWM:\s+(\d+)", status)[1]) - self.memory_before) / 1024

    def death(self):
        """What to say of a server that has ended without being told to; None while it lives."""
        if self.server is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be about to
            code = self.server.process.wait(0.2 if self.watcher else 0.01)
            return AssertionError(f"expected that the server lives, found that it ended with {code}: {self.server.log[-400:]}")
        return None

    def alive(self):
        if self.server.process.poll() is not None:
            raise self.death()
        found = SANITIZERS.search(self.server.log)
        expect(not found, "no report of a sanitizer", found and found[0])

    def check(self):
        self.alive()
        if self.watcher:
            self.check_figures(self.report())

    def check_figures(self, report):
        """Of what was late, the watcher's own lateness is the machine's."""
        expect(not report["wrong"], "that /health and the streams beside go on as if they were alone", report["wrong"])
        if self.run.sanitized:
            return
        for name, extra in (("health_ms", 0), ("gap_ms", 10 + self.extra_ms)):
            excess = report[name] - report["late_ms"]
            bound = self.run.bound_ms + extra
            if excess > bound:
                error = TimeBound(f"expected {name.replace('_ms', '')} within {bound} ms beside it, found {report[name]} ms "
                                  f"(the watcher woke {report['late_ms']} ms late itself)")
                error.clear, error.found = excess > 10 * bound, report[name]
                raise error
        self.note_figures(report)

    def note_figures(self, report=None):
        if self.watcher:
            with contextlib.suppress(OSError, ValueError):  # of one that has ended there is nothing to note
                report = report or self.report()
                self.run.figure("health_ms", report["health_ms"])
                self.run.figure("gap_ms", report["gap_ms"])

    def end(self):
        """At once, whatever it does."""
        if self.watcher:
            self.watcher.kill()
            self.watcher.wait()
            self.watcher.stdin.close()
            self.watcher.stdout.close()
            self.watcher = None
        if self.server:
            if self.server.process.poll() is None:
                self.server.process.kill()
            self.server.process.wait()
            with contextlib.suppress(OSError):
                self.server.output.close()
            self.server = None

    def stop(self):
        """As a service manager does: SIGTERM, exit code 0, and soon."""
        if self.server is None or self.server.process.poll() is not None:
            return self.end()
        try:
            self.server.process.send_signal(signal.SIGTERM)
            limit = self.run.slow(5)
            try:
                code = self.server.process.wait(limit)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"expected that SIGTERM ends the server in {limit} s, found it running") from None
            log = self.server.log
            expect(code == 0, "exit code 0 after SIGTERM", f"{code}: {log[-400:]}")
            expect(not SANITIZERS.search(log), "no report of a sanitizer", log[-800:])
        finally:
            self.end()


def options_of(arguments=None, description=__doc__):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=BINARY, help="the program `anser`, of any build")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="time for cases by the seed; fixed ones are all tried")
    parser.add_argument("--short", action="store_true", help="for CI: fewer and smaller cases, generous bounds")
    parser.add_argument("--bound-ms", type=float, default=None,
                        help="most that /health and other streams may wait; 50, or 250 with --short")
    parser.add_argument("--deadline", type=float, default=1e9, help="seconds after which no further case is begun")
    parser.add_argument("--json", help="a file for the result")
    parser.add_argument("--verbose", action="store_true", help="tells of every case how long it took")
    return parser


def main(attack, kind, arguments=None):
    options = options_of(description=sys.modules["__main__"].__doc__).parse_args(arguments)
    if options.bound_ms is None:
        options.bound_ms = 250 if options.short else 50
    options.binary = os.path.abspath(options.binary)
    run, begin, skipped = Run(kind, options), time.monotonic(), None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what has been found by then is told
    try:
        skipped = attack(run)
    except SystemExit:
        # Waits of cases have bounds of their own; a short run on a busy machine has not the time for them.
        if run.short and run.cases > 1:
            run.untried += 1
        else:
            run.fail(f"case {run.cases}", AssertionError("expected an end in time, found that it goes on and on"))
    except BaseException as error:  # the attack is broken, and shows nothing
        run.fail(f"case {run.cases}", AssertionError(f"expected an attack that comes to its end, found {error!r}"))
        raise
    finally:
        run.close()
        result = {"kind": kind, "cases": run.cases, "untried": run.untried, "figures": run.figures, "failures": run.failures, "skipped": skipped,
                  "seconds": round(time.monotonic() - begin, 1)}
        if options.json:
            Path(options.json).write_text(json.dumps(result))
    figures = ", ".join(f"{name} {value:g}" for name, value in run.figures.items())
    print(f"{kind}: {skipped or ''}{run.cases} cases, {len(run.failures)} failed, {result['seconds']} s; {figures}")
    sys.exit(1 if run.failures else 0)
