#!/usr/bin/env python3
"""What is written satisfies the schema, and Pydantic's types read it back: random texts of grammars, judged by PyPI's packages.

As a program it looks at all public schemas with as many texts each as one likes, or at random ones, and says what it found:
    PYTHONPATH=build/schema-packages python3 tests/tools/test_schemas.py --texts 100
    PYTHONPATH=build/schema-packages python3 tests/tools/test_schemas.py --random 600 --seed 7
"""
import argparse
import collections
import json
import lzma
import os
import random
import re
import sys
import time
import unittest
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

try:
    import fqdn, isoduration, rfc3339_validator, rfc3987  # noqa: E401, F401: formats are not checked without them
    import jsonschema
    import pydantic
except ImportError:
    raise unittest.SkipTest("jsonschema is not installed (tools/setup.sh schemas)")

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pydantic_types  # noqa: E402
import random_schemas  # noqa: E402
import schema_cases  # noqa: E402
from schema_judge import ROOT, Drawer, fault_of, validator_of  # noqa: E402

TEXTS = 100
PUBLIC = Path(os.environ.get("ANSER_TEST_DATA", ROOT.parent / "shared" / "testdata")) / "schemas.jsonl.xz"
WORKERS = min(2, os.cpu_count() or 1)

# Types whose schemas do not say what Pydantic wants: of these some texts are read back, or none can be expected to be.
SOMETIMES = {"Decimal", "condecimal", "dict[int, str]", "PastDate", "ByteSize"}
NEVER = {"FilePath", "complex", "ImportString"}


class OurSchemas(unittest.TestCase):
    """schema_cases.py."""

    def test_each_is_obeyed_or_refused_as_it_says(self):
        with Drawer() as drawer:
            for group, cases in schema_cases.CASES.items():
                with self.subTest(group):
                    problems = [f"{json.dumps(case.schema)[:300]}: {problem}" for case in cases
                                for problem in problems_of(drawer, case)]
                    self.assertFalse(problems, "\n" + "\n".join(problems))


def problems_of(drawer, case):
    yield from mistakes_in(case)
    answer = drawer.ask(case.schema, texts=TEXTS, seed=1, instances=case.right + case.wrong)
    error = answer.get("error")
    if error is not None:
        if not case.says:
            yield f"it is refused: {error}"
        elif not re.search(case.says, error):
            yield f"the refusal does not speak of {case.says}: {error}"
        return
    if not case.may_compile:
        yield f"it is not refused; {answer['texts'][0]} could be written"
        return
    if len(answer["texts"]) != TEXTS:
        yield f"of {TEXTS} texts {answer['endless']} had no end, and {answer['stuck']} could neither end nor go on"
    yield from problems_of_texts(case, answer["texts"])
    for text, accepted in zip(case.right + case.wrong, answer["accepted"]):
        if accepted != (text in case.right):
            yield f"{text} {'can' if accepted else 'cannot'} be written"


def judge_of(case):
    return validator_of(json.loads(case.schema) if isinstance(case.schema, str) else case.schema)


def mistakes_in(case):
    for text in case.right + case.wrong:
        fault = fault_of(judge_of(case), text.encode())
        if (fault is None) != (text in case.right):
            yield f"this test is wrong: {text} is {'right' if fault is None else fault}"


def problems_of_texts(case, texts):
    validator = judge_of(case)
    for text in texts:
        fault = fault_of(validator, text)
        if fault is not None:
            yield f"{text[:300]} was written: {fault}"
            return
        names = list(json.loads(text)) if case.order else []
        if [name for name in names if name in case.order] != [name for name in case.order if name in names]:
            yield f"{text[:300]} was written, with names in another order than {case.order}"
            return
    values = [json.dumps(json.loads(text)) for text in texts] if case.seen else []
    for value in case.seen:
        if json.dumps(value) not in values:
            yield f"{value!r} was never written"


class Pydantic(unittest.TestCase):
    def test_types_read_back_what_their_schemas_let_be_written(self):
        problems, all_read = [], []
        with Drawer() as drawer:
            for name, kind in pydantic_types.TYPES.items():
                answer = drawer.ask(pydantic_types.schema_of(kind), texts=TEXTS, seed=1)
                if "error" in answer:
                    problems.append(f"{name}: {answer['error']}")
                    continue
                if name in NEVER:
                    continue
                unread = [fault for text in answer["texts"] if (fault := unread_because(kind, text)) is not None]
                if not unread:
                    all_read.append(name)
                elif name not in SOMETIMES or len(unread) == len(answer["texts"]):
                    problems.append(f"{name}: {len(unread)} of {len(answer['texts'])} texts are not read: {unread[0]}")
        self.assertFalse(problems, "\n" + "\n".join(problems))
        self.assertGreaterEqual(len(all_read), len(pydantic_types.TYPES) - len(SOMETIMES | NEVER))


def unread_because(kind, text):
    try:
        pydantic.TypeAdapter(kind).validate_json(json.dumps(json.loads(text)["value"]))
    except ValueError as error:
        return f"{text[:200]}: {str(error)[:200]!r}"
    return None


def faults_of_random_schemas(seed, seconds=float("inf"), most=None):
    """Of at most so many schemas; each that shows a fault made small, with the text."""
    maker, end, tried = random_schemas.Maker(random.Random(seed)), time.monotonic() + seconds, 0
    with Drawer() as drawer:
        while time.monotonic() < end and tried != most:
            tried += 1
            schema = maker.schema()
            if fault_of_schema(drawer, schema) is not None:
                schema = random_schemas.smallest(schema, lambda less: fault_of_schema(drawer, less) is not None)
                yield tried, f"{json.dumps(schema)}: {fault_of_schema(drawer, schema)}"


def fault_of_schema(drawer, schema):
    """The first of some texts that is wrong, or why there are none; None where all is right, or the schema is refused."""
    answer = drawer.ask(schema, texts=30, seed=1, seconds=2)
    if answer.get("stuck"):
        return "a text could neither end nor go on"
    try:
        validator = validator_of(schema)
        return next((f"{text[:200]} was written: {fault}" for text in answer["texts"]
                     if (fault := fault_of(validator, text)) is not None), None)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # while it is made small it may become one that is none, or a circle that a judge panics at
        return None


class RandomSchemas(unittest.TestCase):
    """random_schemas.py."""

    def test_what_is_written_satisfies_them(self):
        faults = [fault for _, fault in faults_of_random_schemas(seed=1, most=2500)]
        self.assertFalse(faults, "\n" + "\n".join(faults))


def public_schemas(every=1):
    """Line numbers, from 1, and what is in the lines."""
    with lzma.open(PUBLIC, "rt", encoding="utf-8") as lines:
        return [(number, json.loads(line)) for number, line in enumerate(lines, 1) if number % every == 0]


def in_order_of(schema, value):
    """The value with its names in the order in which the schema has them, roughly: as they would be written."""
    places = {}

    def note(part):
        for word, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            for name in inner if word == "properties" and isinstance(inner, dict) else ():
                places.setdefault(name, len(places))
            note(inner)

    def sort(part):
        if isinstance(part, dict):
            return {name: sort(part[name]) for name in sorted(part, key=lambda name: places.get(name, len(places)))}
        return [sort(inner) for inner in part] if isinstance(part, list) else part

    note(schema)
    return json.dumps(sort(value), ensure_ascii=False, separators=(",", ":"))


def looked_at(drawer, number, line, texts):
    """What was found about one public schema."""
    schema = line["schema"]
    kinds = [kind for kind in ("valid", "invalid") if kind in line]
    answer = drawer.ask(schema, texts=texts, seed=number, seconds=2,
                        instances=[in_order_of(schema, line[kind]) for kind in kinds])
    found = {"line": number, "seconds": answer["seconds"], "error": answer.get("error"), "texts": len(answer["texts"]),
             "faults": [], "unended": answer.get("endless", 0) + answer.get("stuck", 0),
             "accepted": dict(zip(kinds, answer.get("accepted", [])))}
    if found["error"] is None:
        try:
            validator = validator_of(schema)
            faults = ((text, fault_of(validator, text)) for text in answer["texts"])
            found["faults"] = [f"line {number}: {text[:300]} was written: {fault}" for text, fault in faults if fault]
            if found["accepted"].get("invalid") and not validator.is_valid(line["invalid"]):
                found["faults"].append(f"line {number}: what is invalid could be written: {json.dumps(line['invalid'])[:300]}")
        except Exception as error:  # schemas that are none, patterns that Python does not know, ...
            found["unjudged"] = f"line {number}: {error!r}"[:300]
    return found


def looked_at_part(part, texts):
    warnings.simplefilter("ignore")
    with Drawer() as drawer:
        return [looked_at(drawer, number, line, texts) for number, line in part]


def look_at_public_schemas(every, texts):
    lines = public_schemas(every)
    parts = [lines[begin::16] for begin in range(16)]
    with ProcessPoolExecutor(WORKERS) as pool:
        return [found for part in pool.map(looked_at_part, parts, [texts] * len(parts)) for found in part]


@unittest.skipUnless(PUBLIC.is_file(), f"{PUBLIC} is not there")
class PublicSchemas(unittest.TestCase):
    """jsonschemabench."""

    def test_most_compile_soon_and_what_is_written_satisfies_them(self):
        found = look_at_public_schemas(every=4, texts=5)
        faults = [fault for one in found for fault in one["faults"]]
        self.assertFalse(faults, "\n" + "\n".join(faults))
        self.assertEqual([one["line"] for one in found if one["unended"]], [])
        # A few have patterns over which Python would think for years.
        self.assertLess(sum("unjudged" in one for one in found) / len(found), 0.01)
        compiled = sum(one["error"] is None for one in found)
        self.assertGreaterEqual(compiled / len(found), 0.84)
        # A compiler has half a second of its thread's time; machines for checks are slow and busy.
        self.assertLess(max(one["seconds"] for one in found), 5)


def cause_of(error):
    """The same for all schemas that are refused for one reason."""
    without_place = re.sub(r"^the schema at \S+: ", "", error)
    return re.sub(r"'[^']*[#^][^']*'", "'...'", re.sub(r"\d+", "N", without_place))[:150]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=100, help="of each schema (100)")
    parser.add_argument("--every", type=int, default=1, help="of how many schemas one is looked at (1: all)")
    parser.add_argument("--random", type=float, metavar="SECONDS", help="look at random schemas instead, for so long")
    parser.add_argument("--seed", type=int, default=1, help="of random schemas (1)")
    arguments = parser.parse_args()
    if arguments.random:
        for tried, fault in faults_of_random_schemas(arguments.seed, arguments.random):
            print(f"{tried}: {fault}", flush=True)
        return
    found = sorted(look_at_public_schemas(arguments.every, arguments.texts), key=lambda one: one["line"])
    compiled = [one for one in found if one["error"] is None]
    slowest = max(found, key=lambda one: one["seconds"])
    causes = collections.defaultdict(list)
    for one in found:
        if one["error"] is not None:
            causes[cause_of(one["error"])].append(one["line"])
    for cause, lines in sorted(causes.items(), key=lambda pair: len(pair[1])):
        print(f"{len(lines)} refused: {cause} (lines {lines[:3]})")
    for one in found:
        print(*one["faults"][:3], *([one["unjudged"]] if "unjudged" in one else []), sep="\n", end="\n" * bool(one["faults"]))
    print(f"{len(compiled)} of {len(found)} schemas compile ({100 * len(compiled) / len(found):.1f} %), the slowest, line "
          f"{slowest['line']}, in {slowest['seconds']:.3f} s; of {sum(one['texts'] for one in compiled)} texts "
          f"{sum(len(one['faults']) for one in compiled)} are wrong, {sum(one['unended'] for one in compiled)} had no end; "
          f"{sum('unjudged' in one for one in compiled)} schemas cannot be judged; of the valid instances "
          f"{sum(one['accepted'].get('valid', False) for one in compiled)} of "
          f"{sum('valid' in one['accepted'] for one in compiled)} could be written")


if __name__ == "__main__":
    main()
