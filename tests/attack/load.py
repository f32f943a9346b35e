#!/usr/bin/env python3
"""Load of all kinds at once on a live server, for a build with the thread sanitizer (cmake --preset tsan) or the address sanitizer:
chats, completions, schemas, echoes, states that are kept, gone on from, listed and removed, clients that go. No sanitizer speaks, and
one request is always answered alike."""
import asyncio
import collections
import json
import os
import random
import sys
import time

from attack import ROOT, expect, main

sys.path.insert(0, str(ROOT / "tools"))
import soak  # noqa: E402
from api_client import ask, send, status_and_body  # noqa: E402

KIND = "load"


async def states(port, numbers, end, counts):
    """One client's states: saved, gone on from, forked, listed, downloaded, removed."""
    known = []
    while time.monotonic() < end:
        some = numbers.choice(known) if known else None
        kind = numbers.randrange(6) if some else 0
        if kind == 0:
            method, path, body = "POST", "/v1/states", {"prompt": f"Once {numbers.random()}", "tags": ["t"]}
        elif kind == 1:
            method, path, body = "POST", "/v1/completions", {"state": some, "prompt": " and", "max_tokens": 3, "save_state": True}
        elif kind == 2:
            method, path, body = "POST", f"/v1/states/{some}/fork", {"note": {"n": len(known)}}
        else:
            method, path, body = "GET", ("/v1/states", f"/v1/states/{some}/content", "/metrics")[kind - 3], None
        reader, writer = await send(port, path, body)
        if numbers.random() < 0.1:  # goes
            writer.transport.abort()
            continue
        status, text = status_and_body(await reader.read())
        writer.close()
        counts[f"states {status}"] += 1
        expect(status < 500 and status != 400, f"an answer of {method} {path}", f"{status}: {text[:200]}")
        if method == "POST" and status < 300:
            value = json.loads(text)
            known.append(value["choices"][0]["state"] if "choices" in value else value["id"])
        known = known[-20:]


async def under_load(target, run, seconds, clients):
    port, counts, end = target.port, collections.Counter(), time.monotonic() + seconds
    expected = json.loads(await ask(port, "/v1/completions", soak.FIXED))["choices"]

    async def client(seed):
        numbers = random.Random(f"{run.options.seed} {seed}")
        while time.monotonic() < end:
            await soak.one(port, numbers, counts)

    async def same_again():
        while time.monotonic() < end:
            again = json.loads(await ask(port, "/v1/completions", soak.FIXED))["choices"]
            expect(again == expected, "the same answer as before", again)
            counts["same again"] += 1
            await asyncio.sleep(0.2)

    await asyncio.gather(same_again(), *(client(i) for i in range(clients)),
                         *(states(port, random.Random(f"{run.options.seed} s{i}"), end, counts) for i in range(4)))
    run.figures["answers"] = counts[200]
    run.figures["cancelled"] = counts["cancelled"]
    run.figures["of_states"] = sum(number for name, number in counts.items() if str(name).startswith("states"))


def attack(run):
    usual = ("--threads", 2, "--patience", 1, "--cache-mb", 32)
    target = run.target("--state-dir", run.scratch("states"), "--state-ram-mb", 4, streams=0, timed=False, usual=usual,
                        popen={"env": {**os.environ, "TSAN_OPTIONS": "halt_on_error=0 second_deadlock_stack=1"}})
    seconds = max(2.0, run.left() - 2)
    run.case("all kinds at once", lambda: asyncio.run(under_load(target, run, seconds, 12 if run.short else 32)), target)
    run.case("nothing goes on", lambda: target.idle(run.slow(5)), target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
