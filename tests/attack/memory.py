#!/usr/bin/env python3
"""What clients do not take is not kept without a bound: downloads and lists that nobody reads, echoes with logprobs of long prompts,
answers of many texts. The server's memory grows by what it promises and no more."""
import json
import time

import raw_http
from attack import Slow, check_answer, expect, main
from stores import listed

KIND = "memory"


def unread(target, data, count, seconds):
    """So many connections that ask and never read."""
    connections = []
    for _ in range(count):
        connection = raw_http.connect(target.port, timeout=5)
        connection.setsockopt(raw_http.socket.SOL_SOCKET, raw_http.socket.SO_RCVBUF, 4096)
        connections.append(connection)
        connection.sendall(data)
    end = time.monotonic() + seconds
    most = 0.0
    while time.monotonic() < end:
        target.alive()
        most = max(most, target.grown_mb())
        if most > 1200:  # seen enough; others need the machine
            break
        time.sleep(0.05)
    for connection in connections:
        connection.close()
    return most


def attack(run):
    budget = ("--unsent-mb", 64) if run.knows("--unsent-mb") else ()
    target = run.target(*budget, "--state-dir", run.scratch("states"), "--state-ram-mb", 16, "--max-tokens", 20000,
                        "--max-n", 64, "--max-batch", 64, streams=1, timed=True)
    part = 1 if run.short else 3
    watched = 1.2 if run.short else 6.0  # seconds for which nobody reads

    def bounded(name, most, grown):
        run.figure(f"{name}_mb", round(grown))
        expect(grown < most or run.sanitized, f"memory to grow by less than {most} MB", f"{grown:.0f} MB")

    def downloads():
        state = target.ask("POST", "/v1/states", {"prompt": "Once upon a time"}).json()["id"]
        # The budget of what is unsent, the 64 KiB that every connection has, and what the connections are.
        bounded("downloads", 160, unread(target, raw_http.request_bytes("GET", f"/v1/states/{state}/content"), 600, watched))

    def lists(states=110, note_bytes=60000):
        state = target.ask("POST", "/v1/states", {"prompt": "Once"}).json()["id"]
        for _ in range(states):
            answer = check_answer(target.ask("POST", f"/v1/states/{state}/fork", {"note": "n" * note_bytes, "tags": ["kept"]}))
            expect(answer.status in (200, 201), "a fork", answer)
        begin = time.monotonic()
        size = len(target.ask("GET", "/v1/states", timeout=60).body)
        run.figure("list_s", round(time.monotonic() - begin, 2))
        run.figure("list_mb", round(size / 1e6, 1))
        bounded("lists", 200, unread(target, raw_http.request_bytes("GET", "/v1/states"), 40 * part, watched))
        expect(size < states * note_bytes * 0.8, "a page that does not have all long notes of a store", f"one of {size / 1e6:.1f} MB")

    def paged():
        """All of a list, page by page, each state once, newest or oldest first throughout."""
        seen, after = [], ""
        for _ in range(100):
            page = check_answer(target.ask("GET", f"/v1/states?limit=7{after}", timeout=30)).json()
            expect(len(page["data"]) <= 7, "at most `limit` states", len(page["data"]))
            seen += [state["id"] for state in page["data"]]
            if not page.get("has_more"):
                break
            after = f"&after={page['data'][-1]['id']}"
        expect(len(seen) > 7 and len(set(seen)) == len(seen) and set(seen) == set(listed(target)),
               "each state once, on several pages", f"{len(seen)} states, {len(set(seen))} different ones")
        for query in ("limit=0", "limit=-1", "limit=x", "limit=99999999999999999999", "after=unknown"):
            target.refused("GET", f"/v1/states?{query}")

    def echo(tokens, n, stream):
        """4 kB a token today. Answered, streamed or refused."""
        prompt = [run.numbers.randrange(1, 4000) for _ in range(tokens)]
        body = {"prompt": prompt, "n": n, "max_tokens": 1, "echo": True, "logprobs": 5, "stream": stream}
        data = raw_http.request_bytes("POST", "/v1/completions", json.dumps(body).encode(), {"Connection": "close"})
        with raw_http.connect(target.port) as connection:
            try:
                answers = raw_http.exchange(connection, data, run.slow(15))
                expect(answers and check_answer(answers[0]).status < 500, "an answer or a refusal", answers)
            except Slow:
                pass  # the machine is slow, or other work goes first: memory is what is asked here
        bounded("echo", 72, target.grown_mb())
        target.idle(run.slow(5))

    def answers_of_many(n):
        """Texts that are written to their end for a client that reads none of them."""
        body = {"prompt": "Once", "n": n, "max_tokens": 2000, "logprobs": 5, "logit_bias": {"0": -100}}
        data = raw_http.request_bytes("POST", "/v1/completions", json.dumps(body).encode())
        bounded("answers", 200, unread(target, data, 4 * part, watched))
        target.idle(run.slow(5))

    def requests_at_work():
        """Long answers to requests with tools that are never told: JSON takes many times its bytes in memory."""
        junk = [[1, 2, 3]] * (100_000)
        body = {"input": "Once", "max_output_tokens": 8000, "logit_bias": {"0": -100}, "store": False, "tool_choice": "none",
                "tools": [{"type": "function", "name": "f", "parameters": {"x": junk}}]}
        data = raw_http.request_bytes("POST", "/v1/responses", json.dumps(body).encode())
        bounded("tools", 150, unread(target, data, 40, 3 * watched))
        target.idle(run.slow(5))

    def streams():
        body = {"prompt": "Once", "max_tokens": 20000, "stream": True, "logprobs": 5, "logit_bias": {"0": -100}}
        data = raw_http.request_bytes("POST", "/v1/completions", json.dumps(body).encode())
        bounded("streams", 128, unread(target, data, 32, watched))
        target.idle(run.slow(5))

    def bodies():
        """Bodies that stop before their end; those being received have a budget of 256 MiB together."""
        data = raw_http.request_bytes("POST", "/v1/completions", b" " * (8 << 20), {"Content-Length": str(16 << 20)})
        connections = []
        for _ in range(40):
            connection = raw_http.connect(target.port)
            connection.settimeout(1)
            connections.append(connection)
            try:
                connection.sendall(data)
            except OSError:
                pass
        bounded("bodies", 400, target.grown_mb())
        for connection in connections:
            connection.close()

    run.case("downloads of states, unread", downloads, target)
    run.case("lists of states, unread", lists, target)
    run.case("lists of states, page by page", paged, target)
    run.case("requests with tools, at work", requests_at_work, target)
    run.case("echo with logprobs of a long prompt", lambda: echo(30000 * part, 1, False), target)
    if not run.short:
        run.case("the same streamed", lambda: echo(60000, 1, True), target)
        run.case("the same four times", lambda: echo(30000, 4, False), target)
        run.case("bodies that stop", bodies, target)
    run.case("answers of sixteen texts, unread", lambda: answers_of_many(16), target)
    run.case("streams, unread", streams, target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
