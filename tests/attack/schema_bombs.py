#!/usr/bin/env python3
"""Schemas that cost more than their bytes, to compile or at every token. Each is refused within a second, with an error of 1 kB
at the most, or accepted; beside it neither /health nor another stream waits."""
import json
import string
import time

import raw_http
from attack import Slow, check_answer, expect, main

KIND = "schema bombs"


def text(pattern, **more):
    return {"type": "string", "pattern": pattern, **more}


def fixed():
    """Those that were measured, first the worst."""
    yield "a type that refers to itself", {"type": "integer", "anyOf": [{"$ref": "#"}]}
    yield "two hundred words anywhere", text("|".join(f".*{a}{b}.*" for a in string.ascii_lowercase for b in "abcdefgh"))
    yield "two thousand optional characters", text("(.?){2000}z")
    yield "letters anywhere", text("|".join(f".*{letter}.*" for letter in string.ascii_letters))
    yield "itself in a choice of two", {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "integer"}]}
    yield "itself and itself", {"allOf": [{"$ref": "#"}, {"type": "object"}]}
    yield "itself under other limits", {"minLength": 1, "anyOf": [{"maxLength": 9, "$ref": "#"}, {"minLength": 2, "$ref": "#"}]}
    yield "definitions that double", {"$ref": "#/$defs/d0", "$defs": {
        **{f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}, "d40": {"type": "null"}}}
    yield "objects that double", {"$ref": "#/$defs/d0", "$defs": {
        **{f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{i + 1}"}, "b": {"$ref": f"#/$defs/d{i + 1}"}}}
           for i in range(25)}, "d25": {"type": "null"}}}
    yield "all of many choices", {"allOf": [{"anyOf": [{"minimum": i, "type": "integer"}, {"maximum": -i, "type": "integer"}]}
                                           for i in range(1, 24)]}
    yield "nested repetitions", text("((a{1,60}){1,60}){1,60}")
    yield "nested stars", text("((((a*)*)*)*)*b")
    yield "doubtful stars", text("(a|a)*(a|aa)*(a|b|ab)*c")
    yield "many alternatives of one beginning", text("|".join("a" * i + "b" for i in range(1, 800)))
    yield "a long class repeated", text("[^\\x00-\\x1f]{0,4000}x")
    yield "repetitions beside each other", text("(a?){500}(b?){500}(c?){500}a{500}")
    yield "stars beside each other", text(".*" * 200 + "x")
    yield "words of any language", text("(\\w+\\s?)*\\W(\\w|\\d|\\s)*")
    yield "a text of a million", {"type": "string", "minLength": 1000000, "maxLength": 1000000}
    yield "a list of a million", {"type": "array", "minItems": 1000000, "items": {"type": "boolean"}}
    yield "lists in lists", {"type": "array", "minItems": 1000, "items": {"type": "array", "minItems": 1000, "items": {
        "type": "array", "minItems": 1000, "items": {"type": "null"}}}}
    yield "five thousand properties", {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(5000)}}
    yield "properties in any order", {"type": "object", "required": [f"p{i}" for i in range(60)],
                                      "properties": {f"p{i}": text(".*a.*") for i in range(60)}}
    yield "an enumeration of fifty thousand", {"enum": [f"value {i}" for i in range(50000)]}
    yield "numbers of many digits", {"type": "integer", "minimum": -(10 ** 300), "maximum": 10 ** 300}
    yield "bounds far apart", {"type": "number", "minimum": 1e-300, "maximum": 1e300, "multipleOf": 1e-300}
    yield "a multiple of a large number", {"type": "integer", "multipleOf": 982451653, "minimum": 1, "maximum": 10 ** 18}
    yield "a long pointer", {"$ref": "#/" + "a/" * 20000, "a": {}}
    yield "a chain of references", {"$ref": "#/$defs/d0", "$defs": {
        **{f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5000)}, "d5000": {"type": "null"}}}
    yield "a tree of references", {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}, "m": {"$ref": "#"}}}
    yield "pointers through pointers", {"$ref": "#/properties/a", "properties": {
        "a": {"anyOf": [{"$ref": "#/properties/b"}, {"$ref": "#/properties/b/anyOf/0"}]},
        "b": {"anyOf": [{"$ref": "#/properties/a/anyOf/1"}, {"$ref": "#/properties/a"}]}}}
    yield "deep objects", nested_object(60)
    yield "words that begin alike", {"type": "object", "properties": {"a" * i: {"type": "null"} for i in range(1, 400)}}
    yield "pattern properties", {"type": "object", "patternProperties": {f".*{a}.*{b}.*": {"type": "integer"} for a in "abc" for b in "xyz"}}
    yield "one of many", {"oneOf": [{"type": "object", "properties": {f"p{i}": {"const": i}, "q": text(f".*{i}.*")}} for i in range(300)]}
    yield "not this", {"not": {"not": {"not": {"$ref": "#"}}}}
    yield "if this", {"if": {"$ref": "#"}, "then": {"$ref": "#"}, "else": {"$ref": "#"}}


def nested_object(depth):
    schema = {"type": "string"}
    for _ in range(depth // 2):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


class Generator:
    """Schemas by the seed: pieces that are dear alone, within and beside each other."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.defs = numbers.choice((0, 2, 5, 30))

    def schema(self):
        made = self.part(0)
        if not isinstance(made, dict):
            made = {"anyOf": [made]}
        if self.defs:
            made["$defs"] = {f"d{i}": self.part(1) for i in range(self.defs)}
        return made

    def part(self, depth):
        pick = self.numbers.choice
        if depth > 4:
            return pick(({"type": "integer"}, text(self.pattern(2)), {"$ref": "#"}, True, {}, {"type": "null"}))
        kinds = [self.choice, self.choice, self.object, self.list, self.string, self.string, self.number, self.reference, self.enum]
        return pick(kinds)(depth)

    def choice(self, depth):
        name = self.numbers.choice(("anyOf", "oneOf", "allOf", "anyOf"))
        count = self.numbers.choice((1, 2, 2, 3, 20, 200 if depth < 2 else 4))
        one = [self.part(depth + 1) for _ in range(min(count, 4))]
        made = {name: (one * count)[:count]}
        if self.numbers.random() < 0.4:
            made["type"] = self.numbers.choice(("integer", "string", "object", ["string", "null"]))
        return made

    def object(self, depth):
        count = self.numbers.choice((1, 3, 10, 300 if depth < 2 else 20))
        part = self.part(depth + 1)
        prefix = self.numbers.choice(("p", "a" * 50, "é", "\\"))
        properties = {f"{prefix}{i}": part for i in range(count)}
        made = {"type": "object", "properties": properties}
        if self.numbers.random() < 0.5:
            made["required"] = self.numbers.sample(list(properties), self.numbers.randrange(count + 1))
        if self.numbers.random() < 0.3:
            made["additionalProperties"] = self.numbers.choice((False, True, part))
        if self.numbers.random() < 0.2:
            made["patternProperties"] = {self.pattern(2): part}
        return made

    def list(self, depth):
        made = {"type": "array", "items": self.part(depth + 1)}
        if self.numbers.random() < 0.7:
            made["minItems"] = self.numbers.choice((1, 50, 10000, 2 ** 31, 2 ** 63))
        if self.numbers.random() < 0.5:
            made["maxItems"] = self.numbers.choice((0, 7, 10000, 2 ** 31))
        if self.numbers.random() < 0.2:
            made["prefixItems"] = [self.part(depth + 1)] * self.numbers.choice((1, 100))
        return made

    def string(self, _):
        made = text(self.pattern(0))
        if self.numbers.random() < 0.3:
            made["minLength"] = self.numbers.choice((1, 100, 100000))
            made["maxLength"] = made["minLength"] + self.numbers.choice((0, 5, 10000))
        if self.numbers.random() < 0.1:
            made["format"] = self.numbers.choice(("date-time", "uuid", "email", "uri", "ipv6"))
        return made

    def number(self, _):
        pick = self.numbers.choice
        made = {"type": pick(("integer", "number"))}
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
            if self.numbers.random() < 0.4:
                made[name] = pick((0, 1, -1, 7, 1e300, -1e300, 1e-300, 10 ** 200, 2 ** 63, 0.1, 123456789012345678))
        return made

    def reference(self, _):
        target = self.numbers.choice(("#", "#", f"#/$defs/d{self.numbers.randrange(max(self.defs, 1))}", "#/anyOf/0", "#/properties/p0"))
        made = {"$ref": target}
        if self.numbers.random() < 0.3:
            made[self.numbers.choice(("minLength", "minItems", "minimum"))] = self.numbers.randrange(9)
        return made

    def enum(self, _):
        count = self.numbers.choice((1, 30, 3000))
        return {"enum": [self.numbers.choice(("v" * 30 + str(i), i, [i], {"a": i}, 1.5 * i)) for i in range(count)]}

    def pattern(self, depth):
        pick, again = self.numbers.choice, self.pattern
        if depth > 4:
            return pick((".", "a", "[a-z]", "\\w", "\\d", "[^x]", "é", ".?", ".*", "(a|ab)"))
        kind = self.numbers.randrange(6)
        if kind == 0:
            return "|".join(again(depth + 1) for _ in range(pick((2, 3, 8))))
        if kind == 1:
            return "".join(again(depth + 1) for _ in range(pick((2, 3, 6))))
        if kind == 2:
            return f"({again(depth + 1)}){pick(('*', '+', '?', '{3}', '{0,40}', '{20,}', '{2,300}'))}"
        if kind == 3:
            return f"({again(depth + 1)})" * pick((2, 5, 30))
        if kind == 4:
            return "|".join(f".*{again(5)}.*" for _ in range(pick((2, 6, 12))))
        return again(5)


def bodies_of(schema, numbers):
    """Where a request may have a schema, chosen by the seed. Bytes, so that what is asked is the same as what is watched."""
    drawn = {"temperature": 1, "seed": numbers.randrange(1000), "stream": numbers.random() < 0.5}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    messages = [{"role": "user", "content": "Tell me"}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}] * numbers.choice((1, 1, 3))
    return numbers.choice((
        ("/v1/completions", {"prompt": "a", "max_tokens": 400, "response_format": form, **drawn}),
        ("/v1/completions", {"prompt": "a", "max_tokens": 400, "n": 4, "response_format": form, **drawn}),
        ("/v1/chat/completions", {"messages": messages, "max_tokens": 400, "response_format": form, **drawn}),
        ("/v1/chat/completions", {"messages": messages, "max_tokens": 400, "tools": tools[:1], "tool_choice": "required", **drawn}),
        ("/v1/responses", {"input": "a", "max_output_tokens": 400, "store": False, "text": {"format": {
            "type": "json_schema", "name": "x", "schema": schema}}, **drawn}),
    ))


def attack(run):
    target = run.target(*run.world(), "--max-tokens", 600)  # masks of 65,536 tokens
    watched = 0.7 if run.short else 3.0  # how long an accepted text is watched

    def bound_of(body):
        """JSON is read before it is known how large the schema is."""
        return run.slow(1 + len(json.dumps(body)) / (4 << 20))

    def one(path, body):
        data = raw_http.request_bytes("POST", path, json.dumps(body).encode(), {"Connection": "close"})
        answer_bound = bound_of(body)
        begin = time.monotonic()
        with raw_http.connect(target.port) as connection:
            try:
                answers = raw_http.exchange(connection, data, watched)
            except Slow:
                answers = None
        if answers is not None:
            expect(answers, "an answer", "the end of the connection")
            answer = check_answer(answers[0])
            expect(answer.status < 500, "an answer below 500", answer)
            run.figure("answer_s" if answer.status == 200 else "refusal_s", round(answer.seconds, 3))
            return
        # Not refused in time: it must be in work, which a queue of texts shows, or else it is being compiled yet.
        while time.monotonic() < begin + 20:
            now = target.metrics()
            if now["running"] + now["queued"] <= target.streams:
                break
            if time.monotonic() > begin + max(answer_bound, watched):
                break
            time.sleep(0.05)
        target.idle(run.slow(2))

    def refused_in_time(path, body):
        """What is no schema to be kept to is refused within a second; what is accepted has begun by then."""
        answer_bound = bound_of(body)
        answer = check_answer(target.ask("POST", path, {**body, "max_tokens": 1, "max_output_tokens": 1, "stream": False},
                                         timeout=answer_bound + 5))
        expect(answer.status < 500, "an answer below 500", answer)
        run.figure("first_token_s", round(answer.seconds, 3))
        expect(answer.seconds < answer_bound, f"an answer of one token within {answer_bound} s", answer)

    def case(name, schema, place=None):
        path, body = place or bodies_of(schema, run.numbers)

        def check():
            refused_in_time(path, body)
            one(path, body)

        run.case(f"{name}, {path}: {json.dumps(schema)[:100]}", check, target)

    def completion(schema):
        return "/v1/completions", {"prompt": "a", "max_tokens": 400, "seed": 1, "stream": True, "response_format": {
            "type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}

    everything = list(fixed())
    for name, schema in everything[:3]:
        case(name, schema, completion(schema))
    for name, schema in run.numbers.sample(everything[3:], 3) if run.short else everything[3:]:
        case(name, schema, completion(schema))

    def large_number():
        body = json.dumps(completion({"type": "integer", "minimum": 17})[1]).replace("17", "1" * (1 << 20 if run.short else 15 << 20))
        target.refused("POST", "/v1/completions", body.encode(), timeout=run.slow(5))

    run.case("a schema's number of 15 MB", large_number, target)
    for i in run.by_seed():
        case(f"by the seed, {i}", Generator(run.numbers).schema())

    def counted():
        target.ask("POST", *completion({"type": "string"}), timeout=30)
        longest = target.metrics()["longest_step_seconds"]
        expect(longest > 0, "that longest_step_seconds counts steps with masks", longest)

    run.case("longest_step_seconds", counted, target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
