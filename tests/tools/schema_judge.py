"""Whether what a schema's grammar lets be written satisfies the schema: PyPI's jsonschema judges random texts of draw_texts."""
import contextlib
import functools
import json
import os
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import jsonschema
import referencing

ROOT = Path(__file__).resolve().parents[2]
DRAW_TEXTS = os.environ.get("ANSER_DRAW_TEXTS", str(ROOT / "build" / "release" / "tests" / "draw_texts"))
# All formats that any draft knows, each as the newest does: old drafts' own checkers know fewer.
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER


class Drawer:
    """A process of draw_texts; questions are answered one by one."""

    def __enter__(self):
        self.process = subprocess.Popen([DRAW_TEXTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def ask(self, schema, **more):
        """`schema` is a text, or what is to be written as one; `more`: see draw_texts.cpp."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.process.stdin.write(json.dumps({"schema": text, **more}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"draw_texts ended with {self.process.wait()} at the schema {text[:2000]}")
        answer = json.loads(line)
        answer["texts"] = [text.encode("latin-1") for text in answer.get("texts", [])]
        return answer

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def readings(text):
    """JSON as RFC 8259 has it. Where a name comes twice in one object readers differ: with its first value, and its last."""
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    def first(pairs):
        return dict(reversed(pairs))

    found = [json.loads(text, parse_constant=refuse, object_pairs_hook=hook) for hook in (dict, first)]
    return found if found[0] != found[1] else found[:1]


def multiple_of(validator, divisor, instance, _schema):
    """Exact, of the numbers as they are written: in binary fractions 0.07 is no multiple of 0.01."""
    if validator.is_type(instance, "number") and (Fraction(repr(instance)) / Fraction(repr(divisor))).denominator != 1:
        yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {divisor}")


@functools.cache
def exact(kind):
    return jsonschema.validators.extend(kind, {"multipleOf": multiple_of})


def with_null(schema):
    """`nullable` is OpenAPI's word, which jsonschema does not know."""
    if isinstance(schema, list):
        return [with_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    words = {}
    for word, one in schema.items():
        if word in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas") and isinstance(one, dict):
            words[word] = {name: with_null(inner) for name, inner in one.items()}
        else:
            words[word] = one if word in ("enum", "const", "default", "examples") else with_null(one)
    if words.get("nullable") is not True:
        return words
    kept = {word: words.pop(word) for word in ("$schema", "$id", "$defs", "definitions", "nullable") if word in words}
    return {**kept, "anyOf": [{"type": "null"}, words]}


def validator_of(schema):
    """As `$schema` says, or the newest draft. It fetches nothing."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return exact(kind)(with_null(schema), format_checker=FORMATS, registry=referencing.Registry())


@contextlib.contextmanager
def soon(seconds):
    """Else TimeoutError: Python's patterns may take an age."""
    def end(_signal, _frame):
        raise TimeoutError(f"not judged within {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fault_of(validator, text):
    """Why a text (bytes) is not right, in a few words; None where it is. TimeoutError where that cannot be said soon."""
    try:
        values = readings(text)
    except (ValueError, RecursionError) as error:  # also where it is no UTF-8
        return f"it is no JSON: {error}"
    with soon(seconds=3):
        for value in values:
            for error in validator.iter_errors(value):
                where = "/".join(map(str, error.absolute_schema_path))
                return f"{error.message[:300]} (#/{where[-200:]})"
    return None
