#!/usr/bin/env python3
"""Files that are cut, limited, linked and in the way while the program uses them; signals; standard streams that do not block. A
damaged file costs what it holds: no signal ends the program, nothing half is left, and no place is written to that was not named."""
import fcntl
import contextlib
import os
import resource
import shutil
import signal
import stat
import subprocess
import threading
import time

from attack import MODEL, check_answer, expect, main
from stores import anser, listed, ls, same_content

KIND = "files"


def ended_well(code, said, expected=(0, 1, 2)):
    expect(code in expected, f"an exit code of {expected}", f"{code}: {said[-300:]!r}")
    if code != 0:
        expect("anser" in said or "error" in said, "a sentence", repr(said[-300:]))


# --- under a running server


def model_is_cut(run):
    """Weights are mapped: a clear death, and states that are whole."""
    folder, states = run.scratch("model"), run.scratch("states")
    for size in (0, 5000, MODEL.stat().st_size // 2):
        path = folder / "model.gguf"
        shutil.copyfile(MODEL, path)
        target = run.target("-m", path, "--state-dir", states, streams=0, timed=False)
        target.ready()
        try:
            kept = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once"})).json()["id"]
            os.truncate(path, size)
            try:
                target.ask("POST", "/v1/completions", {"prompt": "Once upon a time", "max_tokens": 30}, timeout=10)
            except (AssertionError, OSError):
                pass
            code, log = target.server.process.poll() or target.server.process.wait(10), target.server.log
            expect(code == 1, "exit code 1 of a server whose model is cut", f"{code}: {log[-200:]!r}")
            last = log.strip().splitlines()[-1]
            expect(str(path) in last, "a last line that names the file", repr(last))
        except subprocess.TimeoutExpired:
            pass  # it has read all of the file before: even better
        finally:
            target.end()
        code, ids, said = ls(run, states)
        expect(code == 0 and kept in ids, "the saved state", f"{code}: {said}")


def state_is_cut(run):
    folder = run.scratch("states")
    target = run.target("--state-dir", folder, "--state-ram-mb", 0, streams=2)
    target.ready()
    try:
        for size in (0, 1, 100, 70000, 300000):
            kept = check_answer(target.ask("POST", "/v1/states", {"prompt": f"Once {size}"})).json()["id"]
            os.truncate(folder / f"{kept}.zst", size)
            for method, path, body in (("GET", f"/v1/states/{kept}/content", None),
                                       ("POST", "/v1/completions", {"state": kept, "max_tokens": 2}),
                                       ("POST", f"/v1/states/{kept}/fork", {})):
                answer = check_answer(target.ask(method, path, body))
                expect(answer.status < 300 and "fork" in path or answer.status >= 500, "5xx of a file that is cut", answer)
        target.check()
        # The folder as a whole.
        shutil.rmtree(folder)
        for method, path, body in (("GET", f"/v1/states/{kept}/content", None), ("POST", "/v1/states", {"prompt": "b"})):
            answer = check_answer(target.ask(method, path, body))
            expect(answer.status >= 500 or method == "POST" and answer.status == 200, "5xx of a store that is gone", answer)
        target.check()
    finally:
        target.end()


@contextlib.contextmanager
def served_store(run):
    """A folder of states and a server over it, which keeps none in memory."""
    folder = run.scratch("states")
    target = run.target("--state-dir", folder, "--state-ram-mb", 0, streams=1)
    target.ready()
    try:
        yield folder, target
    finally:
        target.end()


def cut_while_reading(run):
    """A content is cut and made whole again while it is downloaded and gone on from."""
    with served_store(run) as (folder, target):
        kept = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once"})).json()
        same_content(target, kept)
        path = folder / f"{kept['id']}.zst"
        whole = path.read_bytes()
        done, wrong = threading.Event(), []

        def download():
            while not done.is_set() and not wrong:
                try:
                    answer = check_answer(target.ask("GET", f"/v1/states/{kept['id']}/content"))
                    expect(answer.status == 200 or answer.status >= 500, "200 or 5xx", answer)
                except (AssertionError, OSError) as error:
                    wrong.append(target.death() or error)

        threads = [threading.Thread(target=download) for _ in range(3)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + (1.5 if run.short else 20)
        while time.monotonic() < end and not wrong:
            os.truncate(path, run.numbers.choice((0, 4096, len(whole) // 2)))
            time.sleep(run.numbers.uniform(0, 0.003))
            path.write_bytes(whole)
            time.sleep(run.numbers.uniform(0, 0.003))
        done.set()
        for thread in threads:
            thread.join()
        if wrong:
            raise wrong[0]
        same_content(target, kept)


def hangup(run):
    """SIGHUP ends a server as SIGTERM does."""
    target = run.target("--state-dir", run.scratch("states"), streams=0, timed=False)
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what runs below nohup ignores it, and so does what that starts
    try:
        target.ready()
    finally:
        signal.signal(signal.SIGHUP, ours)
    try:
        target.server.process.send_signal(signal.SIGHUP)
        code = target.server.process.wait(run.slow(10))
        expect(code == 0, "exit code 0 after SIGHUP", f"{code}: {target.server.log[-200:]!r}")
    finally:
        target.end()


def index_is_deleted(run):
    folder = run.scratch("states")
    target = run.target("--state-dir", folder, streams=0, timed=False)
    target.ready()
    try:
        before = [check_answer(target.ask("POST", "/v1/states", {"prompt": f"a {i}"})).json()["id"] for i in range(3)]
        for path in folder.glob("index.sqlite*"):
            path.unlink()
        after = check_answer(target.ask("POST", "/v1/states", {"prompt": "b"}))
        known = {*before, *([after.json()["id"]] if after.status < 300 else [])}
        expect(after.status < 300 or after.status >= 500, "2xx or 5xx", after)
        code, ids, said = ls(run, folder)
        expect(code != 0 or ids >= known, f"`anser state ls` to list {len(known)}, or to fail", f"{len(ids)}: {said}")
        expect(set(listed(target)) >= known, f"the server to list {len(known)}", len(listed(target)))
        # Both go on, each with an index of its own if they have not noticed.
        more = check_answer(target.ask("POST", "/v1/states", {"prompt": "c"}))
        expect(more.status < 300 or more.status >= 500, "2xx or 5xx", more)
        if more.status < 300:
            known.add(more.json()["id"])
        code, out, said = anser(run, "state", "save", "-p", "d", "--state-dir", folder)
        if code == 0:
            known.add(out.decode().strip())
        code, ids, said = ls(run, folder)
        expect(code != 0 or ids >= known, f"`anser state ls` to list {len(known)}, or to fail", f"{len(ids)}: {said}")
        expect(set(listed(target)) >= known, f"the server to list {len(known)}", len(listed(target)))
        target.end()
        target.ready()
        expect(set(listed(target)) >= known, f"{len(known)} states after a restart", len(listed(target)))
    finally:
        target.end()


def shared_log_is_cut(run):
    """What the processes of a store share about its log is mapped by SQLite: cut off, it costs nothing."""
    with served_store(run) as (folder, target):
        known = set()
        for size in (0, 1, 4096, 20000, 0):
            os.truncate(folder / "index.sqlite-shm", size)
            known.add(check_answer(target.ask("POST", "/v1/states", {"prompt": f"a {size}"})).json()["id"])
            os.truncate(folder / "index.sqlite-shm", size)
            code, ids, said = ls(run, folder)
            expect(code == 0 and ids >= known, f"`anser state ls` to list {len(known)}", f"{code}, {len(ids)}: {said}")
            expect(set(listed(target)) >= known, f"the server to list {len(known)}", len(listed(target)))
        target.check()


def pipes_in_a_store(run):
    """A pipe where a file is expected is refused, and nobody waits for what it might bring."""
    with served_store(run) as (folder, target):
        for suffix in (".zst", ".json"):
            some = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once"})).json()["id"]
            (folder / (some + suffix)).unlink()
            os.mkfifo(folder / (some + suffix))
            for path in (f"/v1/states/{some}/content", f"/v1/states/{some}"):
                answer = check_answer(target.ask("GET", path, timeout=run.slow(5)))
                if suffix == ".zst" and path.endswith("content"):
                    expect(answer.status >= 500, "5xx of a content that is a pipe", answer)
            check_answer(target.ask("POST", "/v1/completions", {"state": some, "max_tokens": 1}, timeout=run.slow(5)))
            answer = check_answer(target.ask("GET", "/v1/states", timeout=run.slow(5)))
            expect(answer.status == 200, "a list", answer)
            (folder / (some + suffix)).unlink()
        target.stop()


# --- limits


def file_size_limit(run):
    """ulimit -f: SIGXFSZ is a sentence."""
    folder = run.scratch("limit")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

    for name, words in (("run --save-state", ["run", "-p", "Once", "-n", "3", "--save-state", folder / "a.state"]),
                        ("state save", ["state", "save", "-p", "Once", "--state-dir", folder / "states"]),
                        ("convert", ["convert", MODEL, folder / "a.safetensors"]),
                        ("quantize", ["quantize", MODEL, folder / "a.gguf", "--type", "q4_0"]),
                        ("logits", ["logits", "--tokens", ",".join(["1"] * 200), "--all", "-o", folder / "a.npy"])):
        code, _, said = anser(run, *words, preexec_fn=limit)
        expect(code == 1 and "arge" in said, f"exit code 1 and EFBIG as a sentence of {name}", f"{code}: {said[-200:]!r}")
    left = [path.name for path in folder.iterdir() if path.is_file()]
    expect(not left, "that nothing half is left", left)
    target = run.target("--state-dir", folder / "served", streams=0, timed=False, popen={"preexec_fn": limit})
    target.ready()
    try:
        answer = check_answer(target.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2, "save_state": True}))
        expect(answer.status == 200 and answer.json()["choices"][0].get("state_error"), "a text, and why its state is not kept", answer)
        answer = check_answer(target.ask("POST", "/v1/states", {"prompt": "a"}))
        expect(answer.status >= 500, "5xx", answer)
        target.alive()
    finally:
        target.end()


# --- signals and what they leave


def signals_leave_nothing(run, rounds):
    commands = (("convert", "out.safetensors", ["convert", MODEL]), ("quantize", "out.gguf", ["quantize", MODEL]))
    for i in range(rounds):
        name, out, words = commands[i % 2]
        folder = run.scratch("signals")
        more = ["--type", "q4_0"] if name == "quantize" else []
        which = run.numbers.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        process = subprocess.Popen([run.binary, *map(str, words), str(folder / out), *more], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        # Until it writes, and a moment longer.
        end = time.monotonic() + 10
        while process.poll() is None and not list(folder.iterdir()) and time.monotonic() < end:
            time.sleep(0.0005)
        time.sleep(run.numbers.choice((0, 0.001, 0.005, 0.02)))
        process.send_signal(which)
        code = process.wait(30)
        left = {path.name for path in folder.iterdir()}
        expect(left <= {out}, f"nothing left of {name} after {which.name}, or the whole of it", f"{left}, exit code {code}")
        if left:  # it had been finished just before
            whole = subprocess.run([run.binary, "info", "-m", str(folder / out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            expect(whole.returncode == 0, f"the whole of {out}", whole.stderr)


def streams_that_do_not_block(run):
    """A pipe whose other end is slow, with O_NONBLOCK set on it by somebody else."""
    words = (["run", "-p", "Once upon a time", "-n", "8000", "--seed", "1", "--json"],
             ["tokenize", "the goose and the fox " * 5000])
    for arguments in words:
        expected = subprocess.run([run.binary, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=120).stdout
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
        process = subprocess.Popen([run.binary, *arguments], stdout=writing, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        os.close(writing)
        time.sleep(0.3)
        found = b""
        while piece := os.read(reading, 1000):
            found += piece
        os.close(reading)
        said = process.communicate(timeout=60)[1]
        if "--json" in arguments:  # times differ
            found, expected = found[:500] + found[-3:], expected[:500] + expected[-3:]
        expect(process.returncode == 0 and len(found) == len(expected), f"all of {len(expected)} bytes and exit code 0 of {arguments[0]}",
               f"{len(found)} bytes, exit code {process.returncode}: {said[-200:]!r}")


# --- places


def links_and_names(run):
    folder = run.scratch("places")
    (folder / "elsewhere").mkdir()
    real, link = folder / "elsewhere" / "real.state", folder / "link.state"
    real.write_text("old")
    link.symlink_to(real)
    save = lambda path: anser(run, "run", "-p", "Once", "-n", "2", "--save-state", path)  # noqa: E731
    code, _, said = save(link)
    ended_well(code, said, (0,))
    expect(link.is_symlink() and real.stat().st_size > 1000, "that the link stays and its file is replaced",
           f"link: {link.is_symlink()}, file of {real.stat().st_size} bytes")
    expect(stat.S_IMODE(real.stat().st_mode) == 0o600, "a state that only its owner reads, 600", oct(real.stat().st_mode))
    long_name = folder / ("n" * 249 + ".state")
    code, _, said = save(long_name)
    ended_well(code, said, (0,))
    expect(long_name.exists(), "a file with a name of 255 bytes", "none")
    # What somebody else has put where a temporary file was, is not followed.
    victim = folder / "victim"
    victim.write_text("mine")
    for suffix in (".new", ".tmp", "~"):
        (folder / f"planted.state{suffix}").symlink_to(victim)
    save(folder / "planted.state")
    expect(victim.read_text() == "mine", "that no planted link is followed", f"{victim.stat().st_size} bytes there")


def places_are_tried_first(run):
    """What cannot be written is said before the work."""
    folder = run.scratch("none")
    for words in (["run", "-p", "Once", "-n", "4000", "--save-state", folder / "no" / "a.state"],
                  ["convert", MODEL, folder / "no" / "a.safetensors"], ["quantize", MODEL, folder / "no" / "a.gguf", "--type", "q4_0"],
                  ["logits", "--tokens", "1,2", "-o", folder / "no" / "a.npy"]):
        code, out, said = anser(run, *words)
        expect(code in (1, 2) and not out and "no" in said, f"an error before the first word of {words[0]}", f"{code}, {len(out)} bytes written: {said[-200:]!r}")


def reading_writes_nothing(run):
    folder = run.scratch("readonly")
    typo = folder / "tpyo"
    for words in (["ls"], ["log"], ["show", "x"], ["load", "x", "-o", folder / "x.state"], ["diff", "x", "y"]):
        anser(run, "state", *words, "--state-dir", typo)
        expect(not typo.exists(), f"that `anser state {words[0]}` makes no folder of a typo", "one")
        expect(not (folder / "x.state").exists(), "no file", "one")


def mistyped_stores(run):
    """Who changes what is there makes no store; and a pipe in the place of an index is not waited for."""
    folder = run.scratch("stores")
    for words in (("rm", "n"), ("fork", "n"), ("label", "n", "--tag", "x")):
        code, _, said = anser(run, "state", *words, "--state-dir", folder / "typo")
        expect(code == 1 and "no store" in said, "that there is no store", f"{code}: {said}")
        expect(not (folder / "typo").exists(), f"that `state {words[0]}` makes no store", "one")
    code, out, said = anser(run, "state", "save", "-p", "a", "--state-dir", folder / "states")
    expect(code == 0, "a state", f"{code}: {said}")
    (folder / "states" / "index.sqlite").unlink()
    os.mkfifo(folder / "states" / "index.sqlite")
    code, ids, said = ls(run, folder / "states")
    expect(code == 0 and out.decode().strip() in ids, "the state", f"{code}: {said}")


def modes_in_a_store(run):
    folder = run.scratch("modes") / "states"
    code, _, said = anser(run, "state", "save", "-p", "Once", "--state-dir", folder)
    ended_well(code, said, (0,))
    open_files = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir() if path.stat().st_mode & 0o077}
    expect(not open_files, "files that only their owner reads", open_files)


def wrong_claims(run):
    """A state that says that it has read 2^64 - 1 tokens, or whose numbers are none."""
    folder = run.scratch("claims")
    path = folder / "a.state"
    code, _, said = anser(run, "run", "-p", "Once", "-n", "2", "--save-state", path)
    ended_well(code, said, (0,))
    whole = path.read_bytes()
    target = run.target("--state-dir", folder / "states", streams=2)
    target.ready()
    try:
        for _ in range(20 if run.short else 300):
            data = bytearray(whole)
            at, size = run.numbers.randrange(len(data) if run.numbers.random() < 0.3 else 400), run.numbers.choice((1, 2, 4, 8))
            data[at:at + size] = run.numbers.choice((b"\xff" * size, bytes(size), run.numbers.randbytes(size)))
            answer = check_answer(target.ask("POST", "/v1/states", bytes(data), {"Content-Type": "application/octet-stream"}))
            expect(answer.status == 400 or answer.status < 300, "400, or a state", answer)
            if answer.status < 300:
                expect(answer.json()["tokens"] < 1 << 63, "no count of tokens beyond 2^63", answer)
        target.check()
    finally:
        target.end()


CASES = (model_is_cut, state_is_cut, cut_while_reading, hangup, index_is_deleted, shared_log_is_cut, pipes_in_a_store, file_size_limit,
         streams_that_do_not_block, links_and_names, places_are_tried_first, reading_writes_nothing, mistyped_stores,
         modes_in_a_store, wrong_claims)


def attack(run):
    for case in CASES:
        run.case(case.__name__.replace("_", " "), lambda c=case: c(run))
    run.case("signals leave nothing", lambda: signals_leave_nothing(run, 6 if run.short else 60))
    while run.left() > 0 and not run.short:
        for case in (signals_leave_nothing, cut_while_reading, wrong_claims):
            run.case(case.__name__.replace("_", " "), lambda c=case: c(run, 20) if c is signals_leave_nothing else c(run))


if __name__ == "__main__":
    main(attack, KIND)
