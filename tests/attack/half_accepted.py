#!/usr/bin/env python3
"""Requests with a bad part in their midst: refused as a whole. Nothing of them goes on, and the server lives."""
import json
import time

import raw_http
from attack import check_answer, expect, main

KIND = "half accepted"
LONG = {"max_tokens": 20000, "logit_bias": {"0": -100}}  # who is accepted by mistake is still at work when we look
CALL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def bad_prompts(numbers):
    """Lists of prompts of which one is none."""
    bad = numbers.choice(([], [99999999], [-1], 5, None, {}, [[1]], True, 1.5, ["a", 1], [1, "a"], [1, []], [1.5], "x" * 40000))
    prompts = [numbers.choice(("Once upon", [1, 2, 3], "The king", [7])) for _ in range(numbers.randrange(1, 8))]
    kind = type(prompts[0])  # all of one type, or the first check would find it
    prompts = [prompt if isinstance(prompt, kind) else prompts[0] for prompt in prompts]
    prompts.insert(numbers.randrange(len(prompts) + 1), bad)
    return {"prompt": prompts}


BAD_FIELDS = (
    {"n": 5, "max_tokens": -1}, {"n": 3, "stop": ["a", 5]}, {"n": 3, "logit_bias": {"5": 1, "99999999": 2}}, {"n": 0}, {"n": 17},
    {"n": 2, "temperature": "hot"}, {"n": 2, "state": "unknown"}, {"state": "0" * 26},
    {"save_state": {"name": "a/b"}}, {"n": 2, "save_state": {"tags": [1]}}, {"n": 2, "save_state": {"tags": ["a"], "note": "x" * 70000}},
    {"n": 2, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}},
    {"n": 2, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#/$defs/none"}}}},
    {"n": 2, "seed": -1.5}, {"n": 2, "logprobs": 1000}, {"n": 4, "echo": "yes"}, {"n": 2, "top_p": 7}, {"stop": ["a"] * 1000},
)


def fixed():
    for prompts in ([[1], []], [[1], [2], []], [[], [1]], [[1, 2], [99999999]], ["a", "b", 7], [[5]] * 8 + [[]], [[1], "a"],
                    [[1], [-1]], ["a", "x" * 40000, "b"]):
        yield "/v1/completions", {"prompt": prompts}
    for fields in BAD_FIELDS:
        yield "/v1/completions", {"prompt": ["Once", "upon"], **fields}
    chat = {"messages": [{"role": "user", "content": "a"}]}
    for fields in BAD_FIELDS[:10]:
        yield "/v1/chat/completions", {**chat, **fields}
    yield "/v1/chat/completions", {"messages": [*chat["messages"], {"role": "nobody", "content": "a"}], "n": 3}
    yield "/v1/chat/completions", {**chat, "n": 3, "tools": [CALL, {"type": "function"}]}
    yield "/v1/chat/completions", {**chat, "n": 3, "tools": [CALL], "tool_choice": {"type": "function", "function": {"name": "g"}}}
    yield "/v1/responses", {"input": "a", "previous_response_id": "resp_" + "0" * 26}
    yield "/v1/responses", {"input": [{"role": "user", "content": "a"}, {"type": "message", "role": "nobody"}]}
    yield "/v1/responses", {"input": "a", "state": "unknown"}
    yield "/v1/states", {"prompt": [1, 99999999]}
    yield "/v1/states", {"prompt": "a", "tags": ["b", ""]}
    yield "/v1/trace", {"tokens": [1, 99999999]}


def attack(run):
    target = run.target("--max-tokens", 20000, "--max-prompt-tokens", 5000, "--state-dir", run.scratch("states"))
    seconds = run.slow(1)

    def refused(path, body):
        # What all clients may send is no fault: an empty prompt beside a good one may be a text of its own.
        # A request that is accepted writes up to 20,000 tokens a prompt before it answers.
        answer = check_answer(target.ask("POST", path, body, timeout=run.slow(30)))
        expect(answer.status < 500, "a status below 500", answer)
        expect(answer.status >= 400 or not body.get("stream") or b'"error"' not in answer.body,
               "a refusal before the first byte", answer)
        target.idle(seconds)

    def case(path, body):
        for stream in (False, True):
            whole = {**({} if path in ("/v1/states", "/v1/trace") else LONG), **body, "stream": stream}
            if path == "/v1/responses":
                whole = {**body, "max_output_tokens": 20000, "stream": stream, "logit_bias": {"0": -100}}
            run.case(f"{path} {json.dumps(whole)[:120]}", lambda w=whole: refused(path, w), target)

    everything = list(fixed())
    must = everything[:6]
    for path, body in must + (run.numbers.sample(everything[6:], 8) if run.short else everything[6:]):
        case(path, body)
    for _ in run.by_seed():
        if run.numbers.randrange(2):
            case("/v1/completions", bad_prompts(run.numbers))
        else:
            case("/v1/completions", {"prompt": ["Once"] * run.numbers.randrange(1, 5), **run.numbers.choice(BAD_FIELDS)})
    run.case("SIGTERM ends it", target.stop)
    queue_is_full(run)


def queue_is_full(run):
    """Of a request that finds room for a part of its texts only, none is taken."""
    target = run.target("--max-tokens", 20000, "--max-batch", 1, "--max-queue", 4, streams=0)

    def await_three(seconds):
        deadline = time.monotonic() + seconds
        while (now := target.metrics())["running"] + now["queued"] != 3:
            expect(time.monotonic() < deadline, "the three texts that were there", f"{now['running'] + now['queued']:.0f}")
            time.sleep(0.01)

    def full():
        long = raw_http.request_bytes("POST", "/v1/completions", json.dumps({"prompt": "a", **LONG, "stream": True}).encode())
        held = []
        for _ in range(3):
            held.append(raw_http.connect(target.port))
            held[-1].sendall(long)
        await_three(5)
        for body in ({"prompt": "a", "n": 4, **LONG}, {"prompt": ["a"] * 4, **LONG}, {"prompt": ["a", "b"], "n": 2, **LONG}):
            for stream in (False, True):
                answer = check_answer(target.ask("POST", "/v1/completions", {**body, "stream": stream}))
                expect(answer.status == 429, "429", answer)
                await_three(run.slow(1))
        for connection in held:
            connection.close()
        target.idle(seconds=run.slow(2))

    run.case("a queue with room for a part", full, target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
