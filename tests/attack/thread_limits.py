#!/usr/bin/env python3
"""Threads that cannot be started and memory that is not to be had: nothing hangs, nothing is ended by a signal, and the error names
the limit and --threads. By `ulimit -v`, and by a library under which the k-th thread cannot be started."""
import os
import resource
import select
import signal
import subprocess
import time
from pathlib import Path

from attack import MODEL, expect, main
from faults import Faults, library

KIND = "thread limits"
PATIENCE = 20


def commands(folder):
    """Those that start threads: arguments, and whether they go on until they are told to end."""
    yield "serve", ["serve", "--port", "0", "--no-states", "--threads", "4"], True
    yield "serve with states", ["serve", "--port", "0", "--state-dir", folder / "states", "--threads", "2"], True
    yield "run", ["run", "-p", "Once upon a time", "-n", "20", "--threads", "4"], False
    yield "bench", ["bench", "--threads", "4"], False
    yield "eval", ["eval", "--perplexity", folder / "text.txt", "--threads", "4"], False
    yield "logits", ["logits", "--tokens", "1,2,3", "-o", folder / "out.npy", "--threads", "4"], False
    yield "state save", ["state", "save", "-p", "Once", "--state-dir", folder / "saved", "--threads", "4"], False
    yield "quantize", ["quantize", MODEL, folder / "small.gguf", "--type", "q4_0", "--threads", "4"], False


def processor_time(process):
    """Seconds of the processor that it has used."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_it(run, words, goes_on, seconds=PATIENCE, **more):
    """Exit code and what was said. A server that runs is asked to end, and that counts as 0."""
    process = subprocess.Popen([run.binary, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, **more)
    try:
        if goes_on:
            said = b""
            end = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < end and b"http://" not in said:
                if select.select([process.stderr], [], [], 0.05)[0]:
                    said += process.stderr.read1(65536)
            expect(process.poll() is not None or b"http://" in said, f"a server or an error within {seconds} s", f"neither: {said!r}")
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                rest = process.communicate(timeout=seconds)[1]
            except subprocess.TimeoutExpired:
                raise AssertionError(f"expected that SIGTERM ends it in {seconds} s, found it running: {said!r}") from None
            return process.returncode, (said + rest).decode(errors="replace")
        said = None
        for _ in range(6):  # who is at work does not hang: the machine is busy
            before = processor_time(process.pid)
            try:
                said = process.communicate(timeout=seconds)[1]
                break
            except subprocess.TimeoutExpired:
                if processor_time(process.pid) - before < 0.1:
                    break
        expect(said is not None, f"an end within {seconds} s", "that it hangs")
        return process.returncode, said.decode(errors="replace")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def attack(run):
    folder = run.scratch("limits")
    (folder / "text.txt").write_text("Once upon a time there was a goose. " * 20)
    all_commands = list(commands(folder))
    patience = PATIENCE if not run.short else 8

    def sound(code, said, names):
        expect(code in (0, 1), "exit code 0 or 1", f"{code}: {said[-300:]!r}")
        if code == 1:
            for name in names:
                expect(any(word in said for word in name), f"an error that names {' or '.join(name)}", repr(said[-300:]))

    def thread(name, words, goes_on, which):
        faults = Faults(run, folder)
        faults.order(["thread"], "EAGAIN", wait=which)
        begin = time.monotonic()
        code, said = run_it(run, words, goes_on, patience, env=faults.environment)
        run.figure("end_s", round(time.monotonic() - begin, 1))
        failed = faults.none()
        faults.close()
        if failed:
            sound(code, said, (("thread",), ("--threads",), ("ulimit", "limit")))
        else:
            expect(code == 0, "exit code 0 where nothing fails", f"{code}: {said[-300:]!r}")

    def memory(words, goes_on, megabytes):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

        code, said = run_it(run, words, goes_on, patience, preexec_fn=limit)
        # A program that cannot even be loaded is ended by the loader, with 127.
        if code == 127 and "error while loading shared libraries" in said:
            return
        sound(code, said, (("memory", "thread", "limit", "map"),))

    if run.sanitized:
        return "not under sanitizers, whose own threads and memory it would be; "
    if library(run) is None:
        return "no C compiler; "
    few = run.numbers.sample(all_commands[2:], 2) + all_commands[:2] if run.short else all_commands
    for name, words, goes_on in few:
        for which in (0, 1, 3) if run.short else range(0, 12):
            run.case(f"{name}: thread {which + 1}", lambda n=name, w=words, g=goes_on, k=which: thread(n, w, g, k))
    for name, words, goes_on in few:
        for megabytes in run.numbers.sample(range(20, 400, 10), 3) if run.short else range(20, 700, 20):
            run.case(f"{name}: ulimit -v {megabytes} MB", lambda w=words, g=goes_on, m=megabytes: memory(w, g, m))
    while run.left() > 0 and not run.short:
        name, words, goes_on = run.numbers.choice(all_commands)
        megabytes = run.numbers.randrange(15, 800)
        run.case(f"{name}: ulimit -v {megabytes} MB", lambda w=words, g=goes_on, m=megabytes: memory(w, g, m))
    return None


if __name__ == "__main__":
    main(attack, KIND)
