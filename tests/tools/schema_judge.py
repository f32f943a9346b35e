"""Whether what a schema's grammar lets be written satisfies the schema: PyPI's jsonschema judges random texts of draw_texts."""
import functools
import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

import jsonschema
import referencing

ROOT = Path(__file__).resolve().parents[2]
DRAW_TEXTS = os.environ.get("ANSER_DRAW_TEXTS", str(ROOT / "build" / "release" / "tests" / "draw_texts"))
# All formats that any draft knows, each as the newest does: old drafts' own checkers know fewer.
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER


class Repeated(ValueError):
    """A name that comes twice in one object."""


def read_strictly(text):
    """JSON as RFC 8259 has it; numbers are as far apart as their texts."""
    def members(pairs):
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise Repeated(next(name for name in names if names.count(name) > 1))
        return dict(pairs)

    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, object_pairs_hook=members, parse_constant=refuse)


def multiple_of(validator, divisor, instance, _schema):
    """In decimals: in binary fractions 0.07 is no multiple of 0.01."""
    if validator.is_type(instance, "number") and Decimal(repr(instance)) % Decimal(repr(divisor)) != 0:
        yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {divisor}")


@functools.cache
def exact(kind):
    return jsonschema.validators.extend(kind, {"multipleOf": multiple_of})


def validator_of(schema):
    """As `$schema` says, or the newest draft. It fetches nothing."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    return exact(kind)(schema, format_checker=FORMATS, registry=referencing.Registry())


class Drawer:
    """A process of draw_texts; answers come one by one."""

    def __enter__(self):
        self.process = subprocess.Popen([DRAW_TEXTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def ask(self, schema, **more):
        """`schema` is a text, or what is to be written as one; `instances` are texts."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.process.stdin.write(json.dumps({"schema": text, **more}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"draw_texts ended with {self.process.wait()} at {text[:2000]}")
        answer = json.loads(line)
        answer["texts"] = [text.encode("latin-1") for text in answer.get("texts", [])]
        return answer

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def fault_of(validator, text):
    """Why a text is not right, in a few words; None where it is."""
    try:
        value = read_strictly(text)
    except Repeated as error:
        return f"the name {error.args[0]!r} comes twice"
    except (ValueError, RecursionError) as error:  # also where it is no UTF-8
        return f"it is no JSON: {error}"
    error = next(validator.iter_errors(value), None)
    if error is None:
        return None
    where = "/".join(map(str, error.absolute_schema_path))
    return f"{error.message[:300]} (#/{where[-200:]})"
