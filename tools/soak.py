#!/usr/bin/env python3
"""Ten minutes of random load on `anser serve`, with its memory: texts of all kinds, of which a quarter are cancelled.

  soak.py                  the embedded model, 600 s
  soak.py --seconds 60 -m model.gguf --clients 100

Fails when an answer is not what it should be: one request is asked again and again among the others, and must always be
answered the same. Prints a table with a row a minute. Needs Python 3 alone.
"""
import argparse
import asyncio
import collections
import json
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "tools"))
from api_client import ask, metrics, send, status_and_body  # noqa: E402
from server_process import Server  # noqa: E402

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
          "required": ["name", "age"], "additionalProperties": False}
FIXED = {"prompt": "Once upon a time there was a wolf", "max_tokens": 40, "seed": 1, "logit_bias": {"0": -100}}
OPENINGS = ["Once upon a time", "The king said", "In the forest", "A little girl"]


def some_request(numbers):
    """An address and a body."""
    words = f"{numbers.choice(OPENINGS)} {numbers.randrange(50)} " + "and the bird " * numbers.choice((0, 1, 20, 400))
    body = {"max_tokens": numbers.choice((1, 10, 50, 200)), "temperature": numbers.choice((0, 0.7, 1)),
            "seed": numbers.randrange(1000), "stream": numbers.random() < 0.6}
    kind = numbers.randrange(10)
    if kind < 4:
        return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": words}]}
    if kind == 4:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    if kind == 5:
        body |= {"echo": True, "logprobs": 2}
    if kind == 6:
        body |= {"n": 3, "stop": ["the", "."], "presence_penalty": 1, "logit_bias": {"7": 2}}
    if kind == 7 and numbers.random() < 0.3:
        body["temperature"] = "hot"  # a mistake
    return "/v1/completions", {**body, "prompt": words}


async def one(port, numbers, counts):
    path, body = some_request(numbers)
    reader, writer = await send(port, path, body)
    try:
        goes = numbers.random() < 0.25
        slow = numbers.random() < 0.1
        until = time.monotonic() + numbers.expovariate(5)
        answer = b""
        while True:
            try:
                piece = await asyncio.wait_for(reader.read(300 if slow else 1 << 16),
                                               until - time.monotonic() if goes else 300)
            except asyncio.TimeoutError:
                assert goes, "no byte in 300 s"
                counts["cancelled"] += 1
                writer.transport.abort()
                return
            if not piece:
                break
            answer += piece
            if slow:
                await asyncio.sleep(0.01)
        status, text = status_and_body(answer)
        counts[status] += 1
        assert status in (200, 400, 429), answer
        assert (status == 400) == (body["temperature"] == "hot") or status == 429, answer
        if status == 200 and body["stream"]:
            assert b"data: [DONE]" in text and b'"error"' not in text, text[-300:]
    finally:
        writer.close()


async def soak(server, options):
    port, counts = server.port, collections.Counter()
    expected = json.loads(await ask(port, "/v1/completions", FIXED))["choices"]
    end = time.monotonic() + options.seconds
    rows, memory = [], []

    async def client(seed):
        numbers = random.Random(seed)
        while time.monotonic() < end:
            await one(port, numbers, counts)

    async def same_again():
        while time.monotonic() < end:
            again = json.loads(await ask(port, "/v1/completions", FIXED))["choices"]
            assert again == expected, again
            counts["same again"] += 1
            await asyncio.sleep(0.5)

    async def watch():
        begin = time.monotonic()
        while time.monotonic() < end:
            await asyncio.sleep(1)
            memory.append(server.rss_kb() / 1024)
            if len(memory) == 60 or time.monotonic() >= end:
                now = await metrics(port)
                rows.append((time.monotonic() - begin, counts[200], counts["cancelled"], now["generated_tokens_total"],
                             now["prompt_tokens_total"], now["cache_bytes"] / 2**20, statistics.median(memory),
                             max(memory)))
                print("| %.0f | %d | %d | %.0f | %.0f | %.0f | %.0f | %.0f |" % rows[-1], flush=True)
                memory.clear()

    print("| seconds | answers | cancelled | tokens written | tokens read | cache, MB | memory, MB | at most |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    await asyncio.gather(watch(), same_again(), *(client(i) for i in range(options.clients)))
    for _ in range(500):
        now = await metrics(port)
        if now["running"] + now["queued"] == 0:
            break
        await asyncio.sleep(0.02)
    print(f"in the end: {now['running']:.0f} running, {now['queued']:.0f} waiting, {now['failed_total']:.0f} failed, "
          f"{server.rss_kb() / 1024:.0f} MB; {dict(counts)}")
    assert now["running"] + now["queued"] + now["failed_total"] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="a model file; without it: the embedded model")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--threads", default="0", help="as anser has it; 1 where others use the cores, too")
    parser.add_argument("--clients", type=int, default=48, help="at a time, each with one request")
    options = parser.parse_args()
    arguments = ["--threads", options.threads, *(["-m", options.model] if options.model else [])]
    with Server(*arguments, "--cache-mb", 64) as server:
        asyncio.run(soak(server, options))


if __name__ == "__main__":
    main()
