#!/usr/bin/env python3
"""Mutated requests by the hundred thousand: bodies, headers, methods, pipelines, from a corpus of valid ones, on the embedded model
and on a random World model. Meant for a program built with sanitizers (cmake --preset dev). The server lives, no sanitizer speaks, and
every answer is HTTP: 2xx, or an error of 1 kB at the most.

  mutated_requests.py --binary build/dev/anser --seconds 3600
"""
import json
import os
import random
import threading
import time

import raw_http
from attack import check_answer, expect, main

KIND = "mutated requests"
COUNT = int(os.environ.get("ATTACK_REQUESTS", 100000))  # at the most, on both models together
WORKERS = 4
TOOL = {"type": "function", "function": {"name": "find", "description": "finds", "parameters": {
    "type": "object", "properties": {"what": {"type": "string", "maxLength": 5}}, "required": ["what"]}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}, "c": {"type": "string", "pattern": "^[ab]{1,4}$"}},
          "required": ["a", "b"], "additionalProperties": False}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello, goose"}]}]
CALL = [{"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {
    "name": "find", "arguments": "{\"what\": \"a\"}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "found"}]
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}


def corpus(state):
    """Valid requests of every kind: method, path, body, headers."""
    posts = [
        ("/v1/completions", {"prompt": "Once", "max_tokens": 4, "temperature": 0.7, "top_p": 0.9, "seed": 5, "stop": ["x", "\n"]}),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2, "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/completions", {"prompt": [[1, 2], [3]], "max_tokens": 2, "echo": True, "logprobs": 3}),
        ("/v1/completions", {"prompt": [5, 6, 7], "max_tokens": 2, "logit_bias": {"5": 1.5, "6": -100}, "presence_penalty": 0.5,
                             "frequency_penalty": 0.5, "top_k": 40, "min_p": 0.05}),
        ("/v1/completions", {"prompt": "a", "max_tokens": 8, "response_format": FORM, "stream": True}),
        ("/v1/completions", {"state": state, "prompt": " and", "max_tokens": 2, "save_state": {"tags": ["t"], "note": {"a": [1, None]}}}),
        ("/v1/chat/completions", {"messages": CHAT, "max_tokens": 3, "stream": True, "logprobs": True, "top_logprobs": 2}),
        ("/v1/chat/completions", {"messages": CHAT, "max_completion_tokens": 3, "reasoning_effort": "low", "n": 2}),
        ("/v1/chat/completions", {"messages": [*CHAT, *CALL], "max_tokens": 4, "tools": [TOOL], "tool_choice": "required"}),
        ("/v1/chat/completions", {"messages": CHAT, "max_tokens": 4, "response_format": {"type": "json_object"}}),
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 3, "instructions": "Be brief.", "metadata": {"a": "b"}}),
        ("/v1/responses", {"input": [{"role": "user", "content": "a"}, {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"},
                                     {"type": "function_call_output", "call_id": "c", "output": "{}"}], "max_output_tokens": 3,
                           "store": False, "stream": True, "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}),
        ("/v1/states", {"prompt": "a", "name": "n", "tags": ["t", "u"], "note": {"k": 1}}),
        (f"/v1/states/{state}/fork", {"name": "f", "tags": ["x"]}),
        ("/v1/trace", {"prompt": "a b"}), ("/tokenize", {"content": "a goose"}), ("/detokenize", {"tokens": [1, 2, 3]}),
    ]
    requests = [("POST", path, json.dumps(body).encode(), {}) for path, body in posts]
    requests += [("PATCH", f"/v1/states/{state}", json.dumps({"tags": ["p"], "note": None}).encode(), {})]
    requests += [("POST", "/v1/states?name=up&tag=a&note=%7B%7D", b"ANSR" + bytes(60), {"Content-Type": "application/octet-stream"})]
    requests += [("GET", path, b"", {}) for path in (
        "/", "/health", "/metrics", "/v1/models", "/v1/models/anser", "/v1/states?tag=t&parent=n&limit=5&after=x", f"/v1/states/{state}",
        f"/v1/states/{state}/content", "/v1/responses/resp_0", "/main.js")]
    requests += [("DELETE", "/v1/states/none", b"", {}), ("HEAD", "/health", b"", {}), ("OPTIONS", "/v1/completions", b"", {
        "Origin": "http://a.example", "Access-Control-Request-Method": "POST"})]
    return requests


ODD = (None, True, False, 0, -1, 1, 2 ** 31, 2 ** 63, 2 ** 64, -2 ** 63 - 1, 1e308, -1e308, 1e-320, 0.5, "", "a", "\0", "é", "🪿",
       "x" * 300, [], {}, [[]], [{}], {"": {}}, [None], "null", "NaN", "../../etc/passwd", "%00", [1] * 50, {"a": {"a": {"a": {}}}}, "resp_", "\r\n")
NAMES = ("prompt", "messages", "max_tokens", "stream", "n", "tools", "state", "save_state", "stop", "logit_bias", "seed", "unknown", "type", "role")
BYTES = (b"\0", b"\xff", b"\r\n", b"\n", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"%", b"\xc0\x80", b"\xed\xa0\x80", b"e", b"-", b"99999999999")
HEADERS = ("Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked",
           "Transfer-Encoding: gzip, chunked", "Expect: 100-continue", "Expect: x", "Connection: close", "Connection: keep-alive, x", "Host: b",
           "Content-Type: text/plain", "Content-Type: application/octet-stream", "Authorization: Bearer x", "Authorization: ", "Origin: null",
           "Upgrade: websocket", "Range: bytes=0-1", "A:", "X-Long: " + "y" * 5000, "Accept-Encoding: gzip", "Content-Encoding: gzip", "Cookie: a=b; c",
           "Sec-Fetch-Site: cross-site", "If-None-Match: *", "TE: trailers", "\x01: a", "B : c", "Forwarded: for=\"_x\"")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "", "A" * 40, "PRI", "G@T")


def mutated_value(numbers, value, depth=0):
    """A JSON value of which one part is another."""
    if depth > 8 or numbers.random() < 0.15 or not isinstance(value, (dict, list)) or not value:
        return numbers.choice(ODD)
    if isinstance(value, dict):
        changed, key = dict(value), numbers.choice(list(value))
        kind = numbers.randrange(6)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[numbers.choice(NAMES)] = numbers.choice(ODD)
        elif kind == 2:
            changed[key] = numbers.choice(list(value.values()))
        else:
            changed[key] = mutated_value(numbers, value[key], depth + 1)
        return changed
    changed, at = list(value), numbers.randrange(len(value))
    kind = numbers.randrange(4)
    if kind == 0:
        del changed[at]
    elif kind == 1:
        changed *= numbers.choice((2, 3, 40))
    else:
        changed[at] = mutated_value(numbers, value[at], depth + 1)
    return changed


def mutated_bytes(numbers, data, times):
    data = bytearray(data)
    for _ in range(times):
        at = numbers.randrange(len(data) + 1)
        kind = numbers.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << numbers.randrange(8)
        elif kind == 1:
            data[at:at] = numbers.choice(BYTES)
        elif kind == 2:
            del data[at:at + numbers.choice((1, 1, 2, 10, 100))]
        elif kind == 3:
            size = numbers.randrange(1, 30)
            data[at:at] = data[at:at + size] * numbers.choice((1, 2, 20))
        elif kind == 4:
            data[at:at + 1] = numbers.randbytes(numbers.randrange(3))
        else:
            del data[at + numbers.choice((0, 50, 5000)):]
    return bytes(data)


def one_request(numbers, requests):
    """Bytes, and how it was made."""
    method, path, body, headers = numbers.choice(requests)
    kind = numbers.randrange(10)
    if kind < 5 and body.startswith(b"{"):
        value = json.loads(body)
        for _ in range(numbers.choice((1, 1, 2, 4))):
            value = mutated_value(numbers, value)
        body = json.dumps(value, ensure_ascii=numbers.random() < 0.5).encode(errors="surrogatepass")
    elif kind == 5 and body:
        body = mutated_bytes(numbers, body, numbers.choice((1, 3, 20)))
    elif kind == 6:
        method = numbers.choice(METHODS)
    elif kind == 7:
        path = mutated_bytes(numbers, path.encode(), 2).decode("latin-1")
    data = raw_http.request_bytes(method, path, body, headers)
    if kind == 8:
        line = numbers.choice(HEADERS).encode("latin-1") + b"\r\n"
        at = data.find(b"\r\n") + 2
        data = data[:at] + line + data[at:]
    elif kind == 9:
        data = mutated_bytes(numbers, data, numbers.choice((1, 2, 5)))
    return data, method


def attack(run):
    models = [((), "the embedded model")]
    world = run.world()
    if world:
        models.append((world, "a random World model"))
    for arguments, name in models:
        left = run.left() / (len(models) - models.index((arguments, name)))
        attack_model(run, arguments, name, left, COUNT // len(models))


def attack_model(run, arguments, name, seconds, count):
    target = run.target("--max-tokens", 12, "--max-prompt-tokens", 300, "--max-n", 4, "--max-seconds", 20, "--max-wait", 10,
                        "--state-dir", run.scratch("states"), "--state-disk-mb", 40, *arguments, streams=0, timed=False)
    target.ready()
    state = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once", "name": "kept"}, timeout=60)).json()["id"]
    requests = corpus(state)
    end = time.monotonic() + seconds
    lock, done, statuses, wrong = threading.Lock(), [0], {}, []

    def worker(index):
        numbers = random.Random(f"{run.options.seed} {name} {index}")
        while time.monotonic() < end and done[0] < count and len(wrong) < 10:
            pipeline = [one_request(numbers, requests) for _ in range(numbers.choice((1, 1, 1, 1, 1, 2, 3)))]
            if any(method == "HEAD" for _, method in pipeline):  # whose answers have no end of their own
                pipeline = pipeline[:1]
            data = b"".join(part for part, _ in pipeline)
            try:
                with raw_http.connect(target.port) as connection:
                    if numbers.random() < 0.03:  # goes at once
                        connection.sendall(data[:numbers.randrange(len(data) + 1)])
                        continue
                    try:
                        answers = raw_http.exchange(connection, data, 0.3 if run.short else 1.0, len(pipeline), [method for _, method in pipeline])
                    except raw_http.Slow:  # what was sent may be the beginning of a longer request
                        answers = []
                for answer in answers:
                    check_answer(answer)
                    expect(answer.status != 500, "no 500", answer)
                with lock:
                    done[0] += len(pipeline)
                    for answer in answers:
                        statuses[answer.status] = statuses.get(answer.status, 0) + 1
            except (OSError, AssertionError) as error:
                wrong.append((error, data))

    def all_of_them():
        threads = [threading.Thread(target=worker, args=(i,)) for i in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.figures["requests"] = run.figures.get("requests", 0) + done[0]
        for status, number in sorted(statuses.items()):
            run.figures[f"status_{status}"] = run.figures.get(f"status_{status}", 0) + number
        target.alive()
        for error, data in wrong[1:]:
            run.fail(f"{name}: {data[:300]!r}", error)
        if wrong:
            raise AssertionError(f"{wrong[0][0]}; sent {wrong[0][1][:300]!r}")
        target.idle(run.slow(10))

    run.case(name, all_of_them)
    run.case(f"the state that was kept, {name}", lambda: expect(target.ask("GET", f"/v1/states/{state}").status in (200, 404), "200", "else"))
    run.case(f"SIGTERM ends it, {name}", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
