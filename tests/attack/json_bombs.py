#!/usr/bin/env python3
"""JSON that costs more than its bytes: many keys, deep nesting (also in texts that hold JSON), 16 MB of every shape.

Each is answered within seconds, with an error of 1 kB at the most where it is refused, and neither /health nor another stream
waits for it.
"""
import json
import threading

from attack import check_answer, expect, main

KIND = "json bombs"
ROUTES = ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/states", "/v1/trace", "/tokenize", "/detokenize")
MB = 1 << 20
FULL = 16 * MB - 4096  # as much as a body may have, and a little room for what is around it


def keys(count, value="0", prefix="k"):
    return "{" + ",".join(f'"{prefix}{i}":{value}' for i in range(count)) + "}"


def nested(depth, kind):
    opening, closing = {"list": ("[", "]"), "object": ('{"a":', "}"), "both": ('[{"a":', "}]")}[kind]
    return opening * depth + "1" + closing * depth


def message(**more):
    return json.dumps({"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None, **more},
                                    {"role": "user", "content": "And?"}], "max_tokens": 1})


def call_with(arguments):
    """Bodies in which JSON stands in a text: the arguments of calls that were made."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    yield "arguments of a tool call", "/v1/chat/completions", message(tool_calls=[call])
    yield "arguments of an item", "/v1/responses", json.dumps(
        {"input": [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments},
                   {"type": "function_call_output", "call_id": "c1", "output": arguments}], "max_output_tokens": 1, "store": False})
    yield "output of a tool", "/v1/chat/completions", json.dumps(
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "tool_calls": [{**call, "function": {
            "name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": arguments}], "max_tokens": 1})


def places_of(value):
    """A JSON text where requests have a place for any, or for one of another kind."""
    tool = '{"type":"function","function":{"name":"f","parameters":%s}}' % value
    chat = '"messages":[{"role":"user","content":"a"}],"max_tokens":1'
    yield "metadata", "/v1/responses", '{"input":"a","store":false,"max_output_tokens":1,"metadata":%s}' % value
    yield "an unknown field", "/v1/completions", '{"prompt":"a","max_tokens":1,"unknown":%s}' % value
    yield "logit_bias", "/v1/completions", '{"prompt":"a","max_tokens":1,"logit_bias":%s}' % value
    yield "a note", "/v1/states", '{"prompt":"a","note":%s}' % value
    yield "parameters", "/v1/chat/completions", '{%s,"tools":[%s],"tool_choice":"required"}' % (chat, tool)
    yield "a schema's properties", "/v1/completions", (
        '{"prompt":"a","max_tokens":1,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":'
        '{"type":"object","properties":%s}}}}' % value)
    yield "a message", "/v1/chat/completions", '{"messages":[%s],"max_tokens":1}' % value
    yield "a prompt", "/v1/completions", '{"prompt":%s,"max_tokens":1}' % value
    yield "save_state", "/v1/completions", '{"prompt":"a","max_tokens":1,"save_state":%s}' % value


def filled(text, size=FULL):
    return text * (size // len(text))


def large_bodies():
    """16 MB each."""
    yield "a number", '{"prompt":"a","temperature":' + filled("9") + "}"
    yield "digits behind a point", '{"prompt":"a","temperature":0.' + filled("1") + "}"
    yield "an exponent", '{"prompt":"a","temperature":1e' + filled("9") + "}"
    yield "a text", '{"prompt":"' + filled("a") + '","max_tokens":1}'
    yield "a text of one line", '{"prompt":"' + filled("the goose and ") + '","max_tokens":1}'
    yield "escapes", '{"prompt":"' + filled("\\u0000") + '","max_tokens":1}'
    yield "surrogates", '{"prompt":"' + filled("\\ud800") + '","max_tokens":1}'
    yield "zeros", '{"prompt":[' + filled("0,") + "0]}"
    yield "empty texts", '{"prompt":[' + filled('"",') + '""]}'
    yield "empty lists", '{"prompt":[' + filled("[],") + "[]]}"
    yield "empty objects", '{"messages":[' + filled("{},") + "{}]}"
    yield "messages", '{"messages":[' + filled('{"role":"user","content":"a"},') + '{"role":"user","content":"a"}],"max_tokens":1}'
    yield "a stop", '{"prompt":"a","max_tokens":1,"stop":"' + filled("a") + '"}'
    yield "stops", '{"prompt":"a","max_tokens":1,"stop":[' + filled('"a",') + '"a"]}'
    yield "a role", '{"messages":[{"role":"' + filled("r") + '","content":"a"}]}'
    yield "a model", '{"model":"' + filled("m") + '","prompt":"a","max_tokens":1}'
    yield "a key", '{"' + filled("k") + '":1,"prompt":"a","max_tokens":1}'
    yield "the same key", "{" + filled('"prompt":1,') + '"prompt":"a","max_tokens":1}'
    yield "distinct keys", keys(FULL // 13)
    yield "spaces", filled(" ") + '{"prompt":"a","max_tokens":1}'
    yield "no end", "[" + filled("1,")
    yield "nesting", filled("[")
    yield "nesting of objects", filled('{"a":')
    yield "words", filled("true,")
    yield "a schema's number", ('{"prompt":"a","max_tokens":1,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":'
                                '{"type":"integer","minimum":' + filled("1") + "}}}}")
    yield "an enumeration", ('{"prompt":"a","max_tokens":1,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":'
                             '{"enum":[' + filled("1,") + "1]}}}}")


def bad_bytes():
    yield "0xff", b'{"prompt":"' + b"\xff" * MB + b'"}'
    yield "half characters", b'{"prompt":"' + b"\xf0\x9f" * (MB // 2) + b'"}'
    yield "zero bytes", b"\0" * MB
    yield "a mark of order", b"\xef\xbb\xbf" * (MB // 3)


def attack(run):
    target = run.target("--max-prompt-tokens", 4096, "--max-tokens", 600, "--state-dir", run.scratch("states"))
    limit = run.slow(2)

    def answered(path, body, seconds=limit):
        body = body.encode() if isinstance(body, str) else body
        answer = check_answer(target.ask("POST", path, body, timeout=seconds + 3))
        expect(answer.status < 500, "an answer below 500", answer)
        run.figure("answer_s", answer.seconds)
        expect(answer.seconds < seconds, f"an answer within {seconds} s", answer)
        expect(target.grown_mb() < 400 or run.sanitized, "less than 400 MB for one body", f"{target.grown_mb():.0f} MB")

    def case(name, path, body, seconds=limit):
        run.case(f"{name}, {path}, {len(body)} bytes", lambda: answered(path, body, seconds), target)

    for path in ROUTES[:3] if run.short else ROUTES:
        case("64 000 keys", path, keys(64000))
    for what in [keys(64000)] if run.short else [keys(64000), nested(64000, "list"), nested(64000, "both"), "[" * 64000]:
        for place, path, body in places_of(what):
            case(f"{what[:8]} as {place}", path, body)
    texts = [nested(100000, "object")] if run.short else [
        nested(100000, "list"), nested(100000, "object"), nested(1000000, "both"), "[" * 1000000, keys(64000), keys(500000)]
    for text in texts:
        for place, path, body in call_with(text):
            case(f"{text[:6]} as {place}", path, body)
    note = "[" * 15000
    run.case("nesting in the query's note", lambda: target.refused(
        "POST", f"/v1/states?note={note}", b"x", headers={"Content-Type": "application/octet-stream"}), target)
    large = list(large_bodies())
    for name, body in run.numbers.sample(large, 4) if run.short else large:
        case(f"16 MB: {name}", "/v1/chat/completions" if "messages" in body[:20] else "/v1/completions", body, run.slow(5))
    for name, body in bad_bytes():
        case(name, "/v1/completions", body)

    def two_at_once(bodies):
        errors = []

        def one(body):
            try:
                answered("/v1/completions", body, run.slow(10))
            except AssertionError as error:
                errors.append(error)

        threads = [threading.Thread(target=one, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    pair = [large[3][1], large[18][1]]
    run.case("two of 16 MB at once", lambda: two_at_once(pair), target)
    for _ in run.by_seed():
        path = run.numbers.choice(ROUTES)
        case("by the seed", path, random_body(run.numbers, run.short), run.slow(5))
    run.case("SIGTERM ends it", target.stop)


def random_body(numbers, short):
    """Values within values, each of them of many parts."""
    budget = numbers.choice((1 << 16, MB) if short else (1 << 16, MB, 8 * MB))

    def value(depth, size):
        kind = numbers.randrange(6)
        if depth > 6 or size < 30 or kind == 0:
            return numbers.choice(('"%s"' % ("x" * size), "9" * size, "1." + "0" * size, "true", '"%s"' % ("\\n" * (size // 2))))
        count = numbers.choice((1, 2, size // 8, size // 30, size // 100)) or 1
        one = value(depth + 1, size // count - 8)
        if kind < 3:
            return "[" + ",".join([one] * count) + "]"
        if kind == 3:
            return nested(min(depth * 1000 + 1, size // 8 + 1), numbers.choice(("list", "object", "both")))
        return keys(count, one, numbers.choice(("k", "", "key\\u00e9")))

    names = ("prompt", "messages", "input", "metadata", "logit_bias", "stop", "tools", "response_format", "note", "content", "tokens")
    fields = numbers.sample(names, 3)
    return "{" + ",".join(f'"{name}":{value(0, budget // 3)}' for name in fields) + ',"max_tokens":1}'


if __name__ == "__main__":
    main(attack, KIND)
