#!/usr/bin/env python3
"""One client's long prompts do not keep others waiting: sixty of them, and a prompt of one token of another key, another peer, and
the same."""
import json
import threading
import time

import raw_http
from attack import check_answer, expect, main

KIND = "fairness"
SHORT = {"prompt": [9], "max_tokens": 1, "temperature": 0}


def attack(run):
    long_tokens, many = (6000, 60) if run.short else (20000, 60)
    for how in ("keys", "peers"):
        keys = ("--api-key", "one", "--api-key", "two") if how == "keys" else ()
        target = run.target("--max-wait", 600, *keys, streams=0)
        run.case(f"{many} long prompts, by {how}", lambda t=target, h=how: crowded(run, t, h, many, long_tokens), target)
        run.case(f"SIGTERM ends it, {how}", target.stop)


def crowded(run, target, how, many, long_tokens):
    numbers = run.numbers

    def bytes_of(body, key):
        return raw_http.request_bytes("POST", "/v1/completions", json.dumps(body).encode(), {"Authorization": f"Bearer {key}"})

    held = []
    for i in range(many):  # no two begin alike, or the prefix cache would know them
        prompt = [numbers.randrange(1, 4000) for _ in range(long_tokens)]
        held.append(raw_http.connect(target.port))
        held[-1].settimeout(10)
        held[-1].sendall(bytes_of({"prompt": prompt, "max_tokens": 1, "seed": i}, "one"))
    time.sleep(0.2)
    waits = {}

    def ask(name, source, key, rounds):
        for _ in range(rounds):
            begin = time.monotonic()
            try:
                answer = check_answer(raw_http.ask(target.port, "POST", "/v1/completions", SHORT,
                                                   {"Authorization": f"Bearer {key}"}, run.slow(10), source))
                expect(answer.status == 200, "200", answer)
            except AssertionError as error:
                waits.setdefault("errors", []).append(f"{name}: {error}")
            waits[name] = max(waits.get(name, 0), time.monotonic() - begin)

    others = {"another_s": ("127.0.0.1", "two") if how == "keys" else ("127.0.0.2", "none"), "same_s": ("127.0.0.1", "one")}
    threads = [threading.Thread(target=ask, args=(name, *who, 5 if name == "another_s" else 1)) for name, who in others.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    still = target.metrics()
    for connection in held:
        connection.close()
    for name, seconds in waits.items():
        if name != "errors":
            run.figure(name, round(seconds, 2))
    expect("errors" not in waits, "answers", waits.get("errors"))
    expect(still["running"] + still["queued"] > 0, "that long prompts are still waiting then: make them longer", still)
    bounds = {"another_s": run.slow(1), "same_s": run.slow(5)}
    for name, bound in bounds.items():
        expect(waits[name] < bound, f"a prompt of one token of {name[:-2]} client within {bound} s", f"{waits[name]:.1f} s")
    target.idle(run.slow(5))


if __name__ == "__main__":
    main(attack, KIND)
