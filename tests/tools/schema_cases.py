"""Schemas of our own, by what is asked of them: each compiles, and what is written satisfies it, or is refused by a message that
says why. Values are written as JSON; where the text matters (1.0, 1e18), a schema is a text."""

from dataclasses import dataclass, field

DRAFT4 = "http://json-schema.org/draft-04/schema#"
DRAFT7 = "http://json-schema.org/draft-07/schema#"
NOTHING = "no text|nothing"  # what is said where nothing satisfies a schema


@dataclass
class Case:
    schema: object
    may_compile: bool
    says: str = ""  # where it may be refused: an expression that the message has
    right: list = field(default_factory=list)  # texts that can be written
    wrong: list = field(default_factory=list)  # texts that cannot
    order: list = field(default_factory=list)  # names in the order in which they are written
    seen: list = field(default_factory=list)  # values, all of which come in a hundred texts


def ok(schema, right=(), wrong=(), order=(), seen=()):
    """It compiles."""
    return Case(schema, True, "", list(right), list(wrong), list(order), list(seen))


def refused(schema, says):
    return Case(schema, False, says)


def either(schema, says, wrong=()):
    """Obeyed, or refused by name."""
    return Case(schema, True, says, [], list(wrong))


def text(**words):
    return {"type": "string", **words}


def integer(**words):
    return {"type": "integer", **words}


def number(**words):
    return {"type": "number", **words}


def array(items=None, **words):
    return {"type": "array", **({} if items is None else {"items": items}), **words}


def an_object(properties=None, **words):
    return {"type": "object", **({} if properties is None else {"properties": properties}), **words}


def closed(properties, **words):
    return an_object(properties, additionalProperties=False, **words)


def record(values, **words):
    """Any names."""
    return an_object(additionalProperties=values, **words)


A, B = {"a": integer()}, {"b": integer()}
NODE = closed({"value": integer(), "next": {"$ref": "#/$defs/node"}}, required=["value"])


def tree(root, **node):
    return {"$defs": {"node": {**NODE, **node}}, **root}


def linked(**beside):
    """A list whose reference to itself has words beside it."""
    return tree({"$ref": "#/$defs/node"}, properties={"value": integer(), "next": {"$ref": "#/$defs/node", **beside}})


CASES = {
    "types beside enum and const": [
        refused({"type": "string", "enum": [1, 2]}, NOTHING),
        refused({"allOf": [{"type": "string"}, {"type": "integer"}], "enum": ["a", 1]}, NOTHING),
        refused({"allOf": [{"type": "string"}, {"type": "integer"}, {"enum": ["a", 1]}]}, NOTHING),
        refused({"allOf": [{"type": "string"}, {"type": "integer"}], "const": "a"}, NOTHING),
        refused({"allOf": [{"type": "object"}, {"type": "array"}], "const": {}}, NOTHING),
        refused(
            {"$defs": {"s": {"type": "string"}}, "$ref": "#/$defs/s", "type": "integer", "enum": [1, "a"]}, NOTHING
        ),
        refused({"allOf": [{"type": "string"}, {"type": "integer"}]}, NOTHING),
        refused({"anyOf": [{"type": "string"}], "type": "integer", "enum": [1, "a"]}, NOTHING),
        refused({"type": "integer", "const": "a"}, NOTHING),
        refused({"type": "null", "const": False}, NOTHING),
        refused({"enum": [], "type": "string"}, NOTHING + "|enum"),
        refused({"enum": ["a"], "const": "b"}, NOTHING),
        refused({"allOf": [{"enum": [1, 2]}, {"enum": [3]}]}, NOTHING),
        refused({"allOf": [{"const": 1}, {"const": 2}]}, NOTHING + "|const"),
        refused(integer(const=1.5), NOTHING),
        refused(text(enum=["a", "b"], minLength=2), NOTHING),
        ok({"type": "string", "enum": [1, "a"]}, ['"a"'], ["1"]),
        ok({"type": ["string", "null"], "enum": [1, "a", None, True]}, ['"a"', "null"], ["1", "true"]),
        ok(
            {"allOf": [{"type": ["string", "null"]}, {"type": ["integer", "null"]}], "enum": [1, "a", None]},
            ["null"],
            ["1", '"a"'],
        ),
        ok({"allOf": [{"type": ["string", "null"]}, {"type": ["integer", "null"]}]}, ["null"], ['""', "1"]),
        ok(
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "enum": ["a", 1, True, None]},
            ['"a"', "1"],
            ["true", "null"],
        ),
        ok({"allOf": [{"type": "number"}, {"type": "integer"}], "enum": [1, 1.5, "a"]}, ["1"], ["1.5", '"a"']),
        ok({"allOf": [{"enum": [1, 2, "x"]}, {"enum": [2, "x", 3]}]}, ["2", '"x"'], ["1", "3"]),
        ok({"enum": ["a", "bbb", 1], "minLength": 2}, ['"bbb"', "1"], ['"a"']),
        ok({"enum": ["a", "bbb", 1], "maxLength": 2}, ['"a"', "1"], ['"bbb"']),
        ok({"enum": ["ab", "bb", None], "pattern": "^a"}, ['"ab"', "null"], ['"bb"']),
        ok({"enum": [1, 2, 3, "a"], "minimum": 2, "exclusiveMaximum": 3}, ["2", '"a"'], ["1", "3"]),
        ok({"enum": [1, 2, 3, 4, 2.5], "multipleOf": 2}, ["2", "4"], ["1", "2.5"]),
        ok({"enum": [[], [1], [1, 2]], "minItems": 1, "maxItems": 1}, ["[1]"], ["[]"]),
        ok(
            {"enum": ["2024-02-30", "2024-02-28"], "format": "date", "type": "string"},
            ['"2024-02-28"'],
            ['"2024-02-30"'],
        ),
        either({"enum": [{"a": 1}, {"b": 1}, {}], "required": ["a"]}, "required", ["{}", '{"b":1}']),
        either({"enum": [{"a": 1}, {"a": "x"}], "properties": {"a": {"type": "string"}}}, "properties", ['{"a":1}']),
        either(
            {"type": "object", "enum": [{"c": 2}, {}], "propertyNames": {"format": "email"}},
            "propertyNames|format|enum",
            ['{"c":2}'],
        ),
        either(
            {"enum": [["ü"], ["P1D"]], "prefixItems": [{"format": "duration"}]}, "prefixItems|format|enum", ['["ü"]']
        ),
        ok({"enum": [1, "1", True, None, [], {}, 0.5]}, seen=[1, "1", True, None, [], {}, 0.5]),
        ok({"const": {"a": [1, {"b": None}], "c": 'ü\n"\\'}}, seen=[{"a": [1, {"b": None}], "c": 'ü\n"\\'}]),
        ok('{"type":"integer","const":1.0}'),
        ok('{"const":1.0}'),
        ok('{"type":"number","const":1e2}'),
        ok('{"type":"integer","enum":[1.0,2.5,3e0]}', wrong=["2.5"]),
        ok('{"type":"integer","const":1e2}'),
        ok('{"allOf":[{"const":1.0},{"const":1}]}'),
        ok('{"allOf":[{"enum":[1.0,2]},{"enum":[1,2.0]}]}'),
        ok('{"const":-0.0}'),
        ok('{"enum":[1e300,-1.5e-7]}'),
        ok({"const": "a", "type": "string", "title": "kind", "default": "a"}, ['"a"']),
        ok({"const": None}, ["null"]),
        ok({"const": False}, ["false"]),
        ok(closed({"kind": text(enum=[1]), "b": integer()}), ["{}", '{"b":1}'], ['{"kind":1}']),
        refused(closed({"kind": text(enum=[1])}, required=["kind"]), NOTHING),
    ],
    "bounds of numbers": [
        ok(
            integer(minimum=-9007199254740991, maximum=9007199254740991),
            ["9007199254740991", "0", "-9007199254740991"],
            ["9007199254740992", "-9007199254740992"],
        ),
        ok(integer(exclusiveMinimum=0, maximum=9007199254740991), ["1"], ["0", "9007199254740992", "-1"]),
        ok(
            integer(minimum=1234567890123456, maximum=1234567890123458), ["1234567890123457"], ["1234567890123459", "1"]
        ),
        ok(number(minimum=-1234567890.123456, maximum=1234567890.123456), ["1234567890.123456"], ["1234567890.123457"]),
        ok(number(minimum=0.1234567890123456), ["0.1234567890123456"], ["0.1234567890123455", "0"]),
        ok(integer(minimum=-2147483648, maximum=2147483647), ["-2147483648", "2147483647"], ["2147483648"]),
        ok(integer(minimum=0, maximum=4294967295), wrong=["-1", "4294967296"]),
        ok(integer(minimum=-9223372036854775808, maximum=9223372036854775807)),
        ok(integer(minimum=0, maximum=18446744073709551615), wrong=["-1"]),
        ok(integer(maximum=9223372036854775807)),
        ok(integer(minimum=-9223372036854775808)),
        ok('{"type":"number","maximum":1e18}', ["1"], ["1e19", "9e99"]),
        ok('{"type":"number","minimum":-1e18}', ["1"], ["-1e19", "-9e99"]),
        ok('{"type":"number","minimum":0,"maximum":1e18}', ["1"], ["-1", "9e99"]),
        ok('{"type":"number","maximum":1e20}', ["1"], ["9e99"]),
        ok('{"type":"number","maximum":1e17}', wrong=["9e99"]),
        ok('{"type":"number","minimum":-1.7976931348623157e308,"maximum":1.7976931348623157e308}', ["1"]),
        ok('{"type":"number","minimum":-1e-20}', ["0"], ["-1"]),
        ok('{"type":"integer","minimum":-1e18,"maximum":1e18}', ["5"]),
        either('{"type":"number","minimum":1e18}', "minimum", ["1", "1e17"]),
        either('{"type":"integer","minimum":1000000000000000000}', "minimum", ["1", "999999999999999999"]),
        either('{"type":"number","exclusiveMinimum":1e18}', "exclusiveMinimum", ["1", "1000000000000000000"]),
        either('{"type":"number","maximum":-1e18}', "maximum", ["1", "-1"]),
        either('{"type":"number","minimum":1e30,"maximum":2e30}', "minimum", ["1", "9e30"]),
        either('{"type":"number","minimum":1e-30}', "minimum", ["0", "-1"]),
        either('{"type":"number","exclusiveMinimum":0,"maximum":1e-20}', "maximum|nothing", ["0", "1"]),
        ok(number(exclusiveMinimum=0, exclusiveMaximum=1), ["0.5"], ["0", "1", "1.0", "0.0", "-0.5"]),
        ok(number(minimum=0, maximum=1), ["0", "1"], ["1.1", "-0.1", "2"]),
        ok(number(minimum=0.1, maximum=0.1), ["0.1"], ["0.2"]),
        ok(number(exclusiveMinimum=-1.5, maximum=1e3), ["1000"], ["-1.5", "1001"]),
        ok(number(minimum=1e-7), wrong=["0"]),
        ok(integer(exclusiveMinimum=0, exclusiveMaximum=2), ["1"], ["0", "2"]),
        ok(integer(minimum=0.5, maximum=2.5), ["1", "2"], ["0", "3"]),
        ok(integer(minimum=2, exclusiveMinimum=5, maximum=7), ["6", "7"], ["2", "5"]),
        ok(integer(minimum=-5, maximum=-3), ["-4"], ["4", "-6"]),
        ok({"minimum": 3}, wrong=["2"]),
        ok({"type": ["integer", "string"], "minimum": 3}, ['""', "3"], ["2"]),
        either(
            {"$schema": DRAFT4, "type": "number", "minimum": 0, "exclusiveMinimum": True},
            "exclusiveMinimum",
            ["0", "-1"],
        ),
        either(
            {"$schema": DRAFT4, "type": "integer", "maximum": 3, "exclusiveMaximum": True}, "exclusiveMaximum", ["3"]
        ),
        ok({"allOf": [integer(minimum=1), integer(maximum=3), {"minimum": 2}]}, ["2", "3"], ["1", "4"]),
        refused(integer(minimum=2, maximum=1), NOTHING),
        refused('{"type":"integer","minimum":1e18,"exclusiveMaximum":19}', NOTHING + "|minimum"),
        refused(integer(exclusiveMinimum=8977181183548803003, maximum=696298873117394125), NOTHING + "|exclusiveMinimum"),
        refused(integer(exclusiveMinimum=-9, exclusiveMaximum=-8349547786980885476), NOTHING + "|exclusiveMaximum"),
        refused(integer(minimum=0.1, maximum=0.9), NOTHING),
        refused(number(exclusiveMinimum=1, maximum=1), NOTHING),
        refused(integer(exclusiveMinimum=1, exclusiveMaximum=2), NOTHING),
        ok({"enum": [5, 1000000000000000000], "minimum": 10}, wrong=["5"]),
    ],
    "multipleOf": [
        ok(integer(multipleOf=5), ["0", "10", "-15"], ["1", "12"]),
        ok(integer(multipleOf=1), ["3"]),
        ok(number(multipleOf=1), ["3"], ["3.5"]),
        ok(integer(multipleOf=7), ["14", "0"], ["15"]),
        ok(integer(multipleOf=12, minimum=0, maximum=100), ["96"], ["97", "108", "-12"]),
        ok(integer(multipleOf=100), ["200"], ["50"]),
        ok(number(multipleOf=10), ["20"], ["25"]),
        ok(number(multipleOf=0.5), ["0.5", "2"], ["0.25"]),
        ok(number(multipleOf=0.25, minimum=0, maximum=1), ["0.75"], ["0.8", "1.25"]),
        ok(number(multipleOf=0.01), ["0.25", "1"], ["0.001"]),
        ok(number(multipleOf=0.1, minimum=0, exclusiveMaximum=1), ["0.5"], ["0.35", "1"]),
        ok(integer(multipleOf=2, exclusiveMinimum=0), ["2"], ["0", "3"]),
        ok('{"type":"integer","multipleOf":1.0}', ["3"]),
        ok(integer(multipleOf=2.5), ["5"], ["2", "7"]),
        either(number(multipleOf=0.3), "multipleOf", ["0.4"]),
        either(number(multipleOf=1.5), "multipleOf", ["2"]),
        either(integer(multipleOf=1000003), "multipleOf", ["5"]),
        either(number(multipleOf=1e-9), "multipleOf"),
        either('{"type":"integer","multipleOf":1e20}', "multipleOf", ["5"]),
        ok({"allOf": [integer(multipleOf=2), integer(multipleOf=3)]}, ["6"], ["2", "3"]),
        ok({"multipleOf": 3, "type": ["integer", "null"]}, ["3", "null"], ["4"]),
        refused(integer(multipleOf=10, minimum=1, maximum=9), NOTHING + "|multipleOf"),
        refused(integer(multipleOf=0), "multipleOf"),
        refused(integer(multipleOf=-2), "multipleOf"),
        refused(integer(multipleOf="2"), "multipleOf"),
    ],
    "lengths and patterns": [
        ok(text(minLength=2, maxLength=4), ['"ab"', '"üüüü"', '"\\n\\""'], ['"a"', '"abcde"']),
        ok(text(maxLength=0), ['""'], ['"a"']),
        ok(text(minLength=1000, maxLength=1000)),
        ok(text(maxLength=100000)),
        refused(text(minLength=3, maxLength=2), NOTHING),
        ok(text(pattern="^[a-z]+$", maxLength=5), ['"abc"'], ['"abcdef"', '""', '"A"']),
        ok(text(pattern="^[a-z]*$", minLength=3, maxLength=5), ['"abc"'], ['"ab"', '"abcdef"']),
        ok(text(pattern="^[a-z0-9-]+$", minLength=1, maxLength=253), ['"a-1"'], ['""', '"a_"']),
        ok(text(pattern="[0-9]", maxLength=8), ['"a1"'], ['"a"', '"123456789"']),
        ok(text(pattern="^\\S+$", maxLength=64), wrong=['"a b"', '""']),
        ok(text(pattern="^[äöü€😀]+$", minLength=2, maxLength=3), ['"äö😀"'], ['"ä"', '"äöü€"']),
        ok(text(pattern='^["\\\\/\\n]+$', maxLength=3), ['"\\"\\\\\\n"'], ['"\\"\\"\\"\\""']),
        ok(text(pattern="^a|b$", maxLength=3), ['"ax"', '"xb"'], ['"xx"']),
        ok(text(pattern="^(ab|cde)+$", minLength=4, maxLength=6), ['"abab"', '"abcde"'], ['"ab"', '"abababab"']),
        ok(text(pattern="^x", minLength=3), wrong=['"xy"', '"axx"']),
        ok(text(pattern="^.*$", maxLength=10), ['""']),
        ok(text(pattern="^\\d{3}-\\d{4}$", minLength=1), ['"123-4567"']),
        ok(text(pattern=".", minLength=2, maxLength=2)),
        refused(text(pattern="^a{10}$", maxLength=5), NOTHING),
        refused(text(pattern="^a?$", minLength=2), NOTHING),
        ok({"allOf": [text(pattern="^[a-z]+$"), {"maxLength": 3}]}, ['"abc"'], ['"abcd"', '"1"']),
        ok({"allOf": [text(minLength=2), text(maxLength=3), text(minLength=1)]}, ['"ab"'], ['"a"', '"abcd"']),
        either({"allOf": [text(pattern="a"), text(pattern="b")]}, "pattern", ['"a"', '"b"']),
        either(
            {"allOf": [text(pattern="^[a-f]+$"), text(pattern="^[d-z]+$")], "maxLength": 4}, "pattern", ['"a"', '"z"']
        ),
        *(
            ok(text(pattern=pattern), right, wrong)
            for pattern, right, wrong in [
                ("^\\S+$", ['"a"'], ['"a b"', '"\\u001f"', '"\\u0085"']),
                ("^[^\\s]+$", ['"a"'], ['"\\t"', '"\\u001c"']),
                ("^\\W+$", ['"-"'], ['"a"', '"é"']),
                ("^\\D+$", ['"a"'], ['"1"', '"٣"']),
                ("^[^\\w]+$", ['"-"'], ['"é"', '"_"']),
                ("^\\w+$", ['"a_1"'], ['"-"']),
                ("^\\s$", ['" "'], ['"a"']),
                ("^[^a-z]$", ['"A"'], ['"a"']),
                ("^.$", ['"a"'], ['"\\n"', '"ab"']),
                ("^$", ['""'], ['"a"']),
                ("", ['"x"'], []),
                ("^(?:a|b)c?d*e+f{2}g{1,}h{0,2}$", ['"aceffg"'], ['"ac"']),
                ("^a+?b$", ['"aab"'], ['"b"']),
                ("^[\\w.+-]+@[\\w-]+\\.[\\w.]+$", ['"a@b.c"'], ['"a"']),
                ("^\\d{4}-\\d{2}$", ['"2024-01"'], ['"2024-1"']),
                ("\\.json$", ['"a.json"'], ['"a.jso"']),
                ("^https?://", ['"http://x"'], ['"ftp://"']),
                ("^\\/[a-z\\/]*$", ['"/a/"'], ['"a"']),
                ("^[\\-\\]\\^]+$", ['"-]^"'], ['"a"']),
                ("^\\u0041\\x42$", ['"AB"'], ['"A"']),
                ("^\\{\\}\\[\\]$", ['"{}[]"'], []),
                ("^(red|green|blue)$", ['"red"'], ['"reds"']),
                ("^#(?:[0-9a-fA-F]{3}){1,2}$", ['"#fff"'], ['"#ff"']),
                ("^\\$\\{[A-Z_]+\\}$", ['"${A_B}"'], ['"A"']),
                ("^[\\t\\n\\r]$", ['"\\t"'], ['" "']),
                ("^[\\s\\S]{2}$", ['"ab"'], ['"a"']),
            ]
        ),
        either(text(pattern="^$|(^x$)"), "pattern", ['"y"']),
        either(text(pattern="^(?!a)[a-z]+$"), "pattern", ['"ab"']),
        either(text(pattern="^(?=.*\\d)[a-z\\d]{4,8}$"), "pattern", ['"abcd"']),
        either(text(pattern="\\bfoo\\b"), "pattern", ['"xfoo"']),
        either(text(pattern="^(a)\\1$"), "pattern", ['"a"']),
        refused(text(pattern="("), "pattern"),
        refused(text(pattern="[a"), "pattern"),
        refused(text(pattern="a{2,1}"), "pattern|nothing|no text"),
    ],
    "formats": [
        *(
            ok(text(format=name), right, wrong)
            for name, right, wrong in [
                ("uuid", ['"123e4567-e89b-12d3-a456-426614174000"'], ['""', '"123e4567"']),
                ("email", ['"a@example.com"'], ['""', '"a"']),
                ("date", ['"2024-02-28"'], ['"2023-02-29"', '"0000-01-01"', '"2024-13-01"']),
                ("time", ['"12:00:00Z"'], ['"25:00:00Z"', '"noon"']),
                (
                    "date-time",
                    ['"2024-02-28T12:00:00Z"'],
                    ['"2023-02-29T12:00:00Z"', '"0000-01-01T00:00:00Z"', '"2024-01-01"'],
                ),
                ("duration", ['"P1D"', '"PT1H"'], ['"P"', '"1D"', '"PT"', '""']),
                ("ipv4", ['"127.0.0.1"'], ['"256.0.0.1"', '"1.2.3"']),
                ("ipv6", ['"::1"', '"2001:db8:0:0:0:0:0:1"'], ['"1::2::3"', '":"', '"1.2.3.4"', '""']),
                ("uri", ['"https://example.com/a"'], ['""', '"a b"', '"//a"']),
                ("hostname", ['"example.com"'], ['"-a"', '"a_b"', '"a..b"']),
            ]
        ),
        *(
            either(text(format=name), name)
            for name in [
                "idn-email",
                "idn-hostname",
                "iri",
                "iri-reference",
                "uri-reference",
                "uri-template",
                "json-pointer",
                "relative-json-pointer",
                "regex",
            ]
        ),
        ok(text(format="uuid4"), ['"123e4567-e89b-42d3-a456-426614174000"']),
        ok(integer(format="int32"), ["5"]),
        ok(number(format="double"), ["5.5"]),
        ok(text(format="password"), ['"x"']),
        ok(text(format="binary"), ['"x"']),
        ok(text(format="byte")),
        ok(text(format="something-of-ours"), ['"x"']),
        ok({"format": "date"}),
        ok({"type": ["string", "null"], "format": "date"}, ["null", '"2024-01-01"'], ['"x"']),
        ok({"anyOf": [text(format="date-time"), {"type": "null"}]}, ["null"], ['"x"']),
        ok({"type": "integer", "format": "date"}, ["1"]),
        ok(text(format="date", maxLength=10), ['"2024-01-01"']),
        ok(text(format="date", minLength=1), ['"2024-01-01"'], ['""']),
        ok(text(format="uri", minLength=1, maxLength=2083), ['"https://example.com/"'], ['""']),
        ok(text(format="email", maxLength=20), wrong=['"a"']),
        ok(text(format="hostname", maxLength=10), ['"a.example"'], ['"aaaaaaaaaaa"']),
        ok(text(format="uuid", minLength=36, maxLength=36)),
        ok(text(format="date-time", maxLength=20), ['"2024-01-01T00:00:00Z"'], ['"2024-01-01T00:00:00.1Z"']),
        ok(text(format="ipv6", maxLength=5), ['"::1"']),
        refused(text(format="date", maxLength=5), NOTHING),
        refused(text(format="uuid", minLength=37), NOTHING),
        ok(text(format="date", pattern="^2024-"), ['"2024-02-28"'], ['"2023-01-01"', '"2024-02-30"']),
        ok(text(format="date-time", pattern="Z$"), ['"2024-01-01T00:00:00Z"'], ['"2024-01-01T00:00:00+01:00"']),
        ok(text(format="email", pattern="@example\\.com$"), ['"a@example.com"'], ['"a@b.com"']),
        ok(text(format="uri", pattern="^https://"), ['"https://example.com"'], ['"http://example.com"', '"https:// "']),
        ok(
            text(format="uuid", pattern="^[0-9a-f-]+$"),
            ['"123e4567-e89b-12d3-a456-426614174000"'],
            ['"123E4567-e89b-12d3-a456-426614174000"', '"0-0"'],
        ),
        ok(text(format="ipv4", pattern="^10\\."), ['"10.0.0.1"'], ['"11.0.0.1"']),
        ok(text(format="hostname", pattern="\\.org$"), ['"a.org"'], ['"a.com"']),
        ok(text(format="time", pattern="^1"), ['"12:00:00Z"'], ['"02:00:00Z"']),
        ok(text(format="duration", pattern="^PT"), ['"PT1H"'], ['"P1D"']),
        ok(text(format="ipv6", pattern="^2001:"), wrong=['"::1"']),
        refused(text(format="date", pattern="^x"), NOTHING),
        refused(text(format="date-time", pattern="^[^\\s]+ [^\\s]+$"), NOTHING),
        # As zod writes them.
        ok(
            text(
                format="uuid",
                pattern="^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
                "|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$",
            )
        ),
        ok(
            text(
                format="date",
                pattern="^(?:(?:\\d\\d[2468][048]|\\d\\d[13579][26]|\\d\\d0[48]|[02468][048]00|[13579][26]00)-02-29"
                "|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"
                "|(?:02)-(?:0[1-9]|1\\d|2[0-8])))$",
            ),
            ['"2024-02-28"'],
        ),
        ok(
            text(
                format="ipv4",
                pattern="^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])$",
            )
        ),
        either(
            text(
                format="email",
                pattern="^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
            ),
            "pattern",
        ),
        ok({"allOf": [text(format="date"), text(pattern="^20")]}, ['"2024-01-01"'], ['"1999-01-01"']),
        ok({"allOf": [text(format="date"), text(format="date")]}, ['"2024-01-01"']),
        either({"allOf": [text(format="date"), text(format="uuid")]}, "format|" + NOTHING),
        ok(
            closed(
                {
                    "when": text(format="date-time"),
                    "id": text(format="uuid"),
                    "to": array(text(format="email"), maxItems=2),
                },
                required=["when", "id", "to"],
            )
        ),
    ],
    "objects": [
        ok(
            closed({"a": integer(), "b": text()}, required=["a"]),
            ['{"a":1}', '{"a":1,"b":""}'],
            ["{}", '{"a":""}', '{"a":1,"c":1}'],
            ["a", "b"],
        ),
        ok(an_object({"a": integer()}, required=["b"]), ['{"b":1}', '{"a":1,"b":{}}'], ["{}", '{"a":1}'], ["a", "b"]),
        ok(record(integer()), ["{}", '{"x":1}'], ['{"x":""}']),
        ok(an_object({"a": text()}, additionalProperties=integer()), ['{"a":"","z":1}'], ['{"a":1}', '{"z":""}']),
        ok({"type": "object"}, ["{}"]),
        ok(an_object({"a": False, "b": True}), ["{}", '{"b":[]}'], ['{"a":1}']),
        refused(an_object({"a": False}, required=["a"]), NOTHING),
        refused(closed({}, required=["a"]), NOTHING),
        ok(closed({}), ["{}"], ['{"a":1}']),
        ok(record(integer(), minProperties=1), ['{"a":1}'], ["{}"]),
        ok(record(integer(), maxProperties=2), ["{}", '{"a":1,"b":2}'], ['{"a":1,"b":2,"c":3}']),
        ok(record(integer(), minProperties=2, maxProperties=2), ['{"a":1,"b":2}'], ['{"a":1}', '{"a":1,"a":2}']),
        ok(
            closed({"a": integer(), "b": integer(), "c": integer()}, minProperties=2),
            ['{"a":1,"c":1}'],
            ["{}", '{"b":1}'],
            ["a", "b", "c"],
        ),
        ok(
            closed({"a": integer(), "b": integer(), "c": integer()}, maxProperties=1),
            ["{}", '{"b":1}'],
            ['{"a":1,"b":1}'],
        ),
        ok(
            closed({"a": integer(), "b": integer(), "c": integer()}, required=["b"], minProperties=2, maxProperties=2),
            ['{"a":1,"b":1}'],
            ['{"b":1}', '{"a":1,"c":1}'],
        ),
        ok(
            an_object({"a": integer()}, additionalProperties=text(), minProperties=2),
            ['{"a":1,"x":""}'],
            ["{}", '{"a":1}'],
        ),
        ok(closed({"a": integer(), "b": integer()}, required=["a", "b"], minProperties=1), ['{"a":1,"b":1}'], ["{}"]),
        ok({"type": "object", "maxProperties": 0}, ["{}"], ['{"a":1}']),
        ok({"type": "object", "minProperties": 1}, wrong=["{}"]),
        ok({"minProperties": 1}, wrong=["{}"]),
        refused(closed({"a": integer()}, minProperties=2), NOTHING),
        refused(record(integer(), minProperties=2, maxProperties=1), NOTHING),
        refused(closed({"a": integer(), "b": integer()}, required=["a", "b"], maxProperties=1), NOTHING),
        ok(
            {"allOf": [record(integer(), minProperties=1), {"maxProperties": 2}]},
            ['{"a":1}'],
            ["{}", '{"a":1,"b":2,"c":3}'],
        ),
    ],
    "propertyNames": [
        ok(record(integer(), propertyNames={"type": "string"}), ['{"x":1}'], ['{"x":""}']),
        ok(record(integer(), propertyNames={}), ['{"x":1}']),
        ok(record(integer(), propertyNames=text(pattern="^[a-z]+$")), ["{}", '{"ab":1}'], ['{"A":1}', '{"":1}']),
        ok(record(integer(), propertyNames={"pattern": "^x-"}), ['{"x-a":1}'], ['{"a":1}']),
        ok(record(True, propertyNames={"enum": ["a", "b"]}), ['{"a":1}'], ['{"c":1}']),
        ok(
            record(integer(), propertyNames={"$ref": "#/$defs/n"}, **{"$defs": {"n": text(enum=["a", "b"])}}),
            ['{"b":1}'],
            ['{"c":1}'],
        ),
        ok(
            record(integer(), propertyNames={"format": "uuid"}),
            ['{"123e4567-e89b-12d3-a456-426614174000":1}'],
            ['{"c":1}'],
        ),
        ok(record(integer(), propertyNames={"format": "date"}), ['{"2024-01-01":1}'], ['{"2024-02-30":1}']),
        ok(record(integer(), propertyNames={"minLength": 2, "maxLength": 3}), ['{"ab":1}'], ['{"a":1}', '{"abcd":1}']),
        ok(record(integer(), propertyNames={"const": "a"}), ["{}", '{"a":1}'], ['{"b":1}']),
        ok(record(integer(), propertyNames=False), ["{}"], ['{"b":1}']),
        ok(record(integer(), propertyNames={"enum": [1, 2]}), ["{}"], ['{"1":1}']),
        ok(record(integer(), propertyNames=integer()), ["{}"], ['{"1":1}']),
        ok(
            closed({"a": integer(), "B": integer()}, propertyNames={"pattern": "^[a-z]$"}),
            ["{}", '{"a":1}'],
            ['{"B":1}'],
        ),
        ok(
            an_object({"a": integer()}, additionalProperties=text(), propertyNames={"maxLength": 2}),
            ['{"a":1,"zz":""}'],
            ['{"zzz":""}'],
        ),
        refused(an_object({"B": integer()}, required=["B"], propertyNames={"pattern": "^[a-z]$"}), NOTHING),
        ok(record(integer(), propertyNames={"pattern": "^[a-z]+$", "maxLength": 4}), ['{"ab":1}'], ['{"abcde":1}']),
        ok(record(integer(), propertyNames={"enum": ["a", "b"]}, minProperties=1), ['{"a":1}'], ["{}"]),
        either(
            record(integer(), propertyNames={"enum": ["a", "b"]}, minProperties=2),
            "minProperties|propertyNames",
            ["{}", '{"a":1}'],
        ),
        either(
            record(integer(), propertyNames={"pattern": "^k"}, minProperties=2, maxProperties=3),
            "Properties|propertyNames",
            ["{}", '{"k":1}'],
        ),
        either(
            record(integer(), propertyNames={"anyOf": [{"const": "a"}, {"pattern": "^x"}]}),
            "propertyNames",
            ['{"b":1}'],
        ),
        ok(an_object(required=["ab"], propertyNames={"maxLength": 2}), ['{"ab":1}'], ['{"ab":1,"abc":1}']),
        refused(an_object(required=["ab"], propertyNames={"format": "date"}), NOTHING + "|propertyNames"),
        either(
            record(integer(), propertyNames={"enum": ["a", "2024-01-01"], "format": "date"}),
            "propertyNames",
            ['{"a":1}'],
        ),
        refused(record(integer(), propertyNames=3), "propertyNames"),
    ],
    "lists": [
        ok(array(integer(), minItems=2, maxItems=3), ["[1,2]"], ["[1]", "[1,2,3,4]", '["",""]']),
        ok(array(), ["[]"]),
        ok(array(integer(), maxItems=0), ["[]"], ["[1]"]),
        ok(array(False), ["[]"], ["[1]"]),
        refused(array(False, minItems=1), NOTHING),
        refused(array(integer(), minItems=3, maxItems=2), NOTHING),
        ok({"type": "array", "prefixItems": [integer(), text()], "items": False}, ['[1,""]'], ['[1,"",2]', '["",1]']),
        ok(
            {"type": "array", "prefixItems": [integer(), text()], "minItems": 2, "maxItems": 2},
            ['[1,""]'],
            ["[1]", '[1,"",2]'],
        ),
        ok({"type": "array", "prefixItems": [integer()], "items": text(), "minItems": 2}, ['[1,""]'], ["[1]", "[1,2]"]),
        ok(
            {"$schema": DRAFT7, "type": "array", "items": [integer(), text()], "additionalItems": False},
            ['[1,""]'],
            ['[1,"",2]', '["",1]'],
        ),
        ok(
            {
                "$schema": DRAFT7,
                "type": "array",
                "items": [integer(), text()],
                "additionalItems": {"type": "boolean"},
                "minItems": 3,
            },
            ['[1,"",true]'],
            ['[1,"",2]', '[1,""]'],
        ),
        ok(
            {"$schema": DRAFT7, "type": "array", "items": [integer(), text()], "minItems": 2, "maxItems": 2},
            ['[1,""]'],
            ['[1,"",2]', "[1,2]"],
        ),
        ok({"$schema": DRAFT7, "type": "array", "items": [integer(), text()]}, ['[1,""]'], ["[1,2]", '[""]']),
        ok({"$schema": DRAFT4, "items": [integer()], "additionalItems": True}, wrong=['[""]']),
        ok({"$schema": DRAFT7, "type": "array", "items": [], "additionalItems": integer()}, ["[1]"], ['[""]']),
        ok({"$schema": DRAFT7, "type": "array", "items": integer(), "additionalItems": False}, ["[1,2]"], ['[""]']),
        ok({"$schema": DRAFT7, "type": "array", "additionalItems": False}, ["[]"]),
        ok(
            {
                "$schema": DRAFT7,
                "type": "array",
                "items": [integer(), {"$ref": "#"}],
                "additionalItems": False,
                "minItems": 1,
                "maxItems": 2,
            },
            wrong=["[]", "[1,2]"],
        ),
        ok({"allOf": [array(integer(), minItems=1), {"maxItems": 2}]}, ["[1]"], ["[]", "[1,2,3]"]),
    ],
    "uniqueItems": [
        ok(array(integer(), uniqueItems=True), ["[]", "[1]"], ["[1,1]", "[1,2,1]"]),
        ok(array(integer(), uniqueItems=True, maxItems=3), ["[3]"], ["[1,1]", "[1,2,3,4]"]),
        ok(array(text(), uniqueItems=True), ["[]", '["a"]'], ['["a","a"]', '["a","\\u0061"]']),
        ok(array({"enum": ["a", "b", "c"]}, uniqueItems=True), ['["a","c"]'], ['["a","a"]']),
        ok(array({"enum": ["a", "b", "c"]}, uniqueItems=True, minItems=3), wrong=['["a","b","b"]', '["a","b"]']),
        ok(array({"enum": ["a", "b"]}, uniqueItems=True, minItems=1, maxItems=1), ['["a"]'], ["[]"]),
        ok(array({"type": "boolean"}, uniqueItems=True, minItems=2), wrong=["[true,true]", "[true]"]),
        ok(array(number(), uniqueItems=True), ["[1]"], ["[1,1.0]", "[0,-0]", "[1,1e0]"]),
        ok(
            array({"$ref": "#/$defs/c"}, uniqueItems=True, **{"$defs": {"c": text(enum=["x", "y"])}}),
            ['["x","y"]'],
            ['["x","x"]'],
        ),
        ok('{"type":"array","uniqueItems":true,"items":{"enum":[1,1.0,true,"1"]}}', wrong=["[1,1.0]", "[1,1]"]),
        ok(array(integer(minimum=1, maximum=3), uniqueItems=True, minItems=2), wrong=["[1,1]", "[1]"]),
        ok(array(integer(), uniqueItems=False), ["[1,1]"]),
        either(array(text(format="uuid"), uniqueItems=True, minItems=2), "uniqueItems", ["[]"]),
        either(array({"anyOf": [integer(), text()]}, uniqueItems=True), "uniqueItems", ["[1,1]"]),
        either(
            array(closed({"id": integer()}, required=["id"]), uniqueItems=True), "uniqueItems", ['[{"id":1},{"id":1}]']
        ),
        either(array(uniqueItems=True), "uniqueItems", ["[1,1]", '[{"a":1,"b":2},{"b":2,"a":1}]']),
        either(array(array(integer()), uniqueItems=True), "uniqueItems", ["[[],[]]"]),
        either(
            {
                "type": "array",
                "prefixItems": [integer(), integer()],
                "items": False,
                "minItems": 2,
                "uniqueItems": True,
            },
            "uniqueItems",
            ["[1,1]"],
        ),
        either(
            array({"enum": [f"word{i}" for i in range(60)]}, uniqueItems=True, minItems=5),
            "uniqueItems",
            ['["word1","word1","word2","word3","word4"]'],
        ),
        either(
            array({"type": ["integer", "null"]}, uniqueItems=True, minItems=2, maxItems=2),
            "uniqueItems",
            ["[null,null]"],
        ),
        refused(array({"type": "boolean"}, uniqueItems=True, minItems=3), NOTHING + "|uniqueItems"),
        refused(array({"const": 1}, uniqueItems=True, minItems=2), NOTHING + "|uniqueItems"),
    ],
    "oneOf": [
        ok({"oneOf": [integer(), number()]}, ["1.5"], ["1", "2.0"]),
        ok({"oneOf": [number(), integer()]}, ["1.5"], ["1"]),
        ok({"oneOf": [integer(minimum=0), integer(maximum=10)]}, ["11", "-1"], ["0", "5", "10"]),
        ok({"oneOf": [number(maximum=1), number(minimum=0)]}, ["2", "-2"], ["0", "0.5", "1"]),
        ok({"oneOf": [text(maxLength=5), text(minLength=3)]}, ['"ab"', '"abcdef"'], ['"abc"', '"abcde"']),
        ok({"oneOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, ['"a"', '"c"'], ['"b"']),
        ok({"oneOf": [{"const": "a"}, text()]}, ['"b"'], ['"a"']),
        ok({"oneOf": [text(), text(enum=["a"]), {"type": "null"}]}, ['"b"', "null"], ['"a"']),
        ok({"oneOf": [text(pattern="^a"), text(pattern="b$")]}, ['"ax"', '"xb"'], ['"ab"', '"xx"']),
        either({"oneOf": [text(format="date"), text(pattern="^2024")]}, "oneOf|format", ['"2024-01-01"']),
        ok({"oneOf": [integer(), text(), {"type": "null"}]}, ["1", '""', "null"], ["true"]),
        ok({"oneOf": [True, False]}, ["1"]),
        ok(
            {
                "oneOf": [
                    closed({"kind": {"const": "a"}, "x": integer()}, required=["kind"]),
                    closed({"kind": {"const": "b"}, "x": text()}, required=["kind"]),
                ]
            },
            ['{"kind":"a","x":1}', '{"kind":"b","x":""}'],
            ['{"kind":"a","x":""}'],
        ),
        ok(
            {"oneOf": [closed(A, required=["a"]), closed(B, required=["b"])]},
            ['{"a":1}', '{"b":1}'],
            ["{}", '{"a":1,"b":1}'],
        ),
        ok({"oneOf": [{"type": "array", "items": integer(), "minItems": 1}, integer()]}, ["[1]", "1"], ["[]"]),
        ok({"oneOf": [closed(A), {"type": "null"}]}, ["{}", "null"]),
        ok({"oneOf": [{"type": ["string", "null"]}, {"type": ["integer", "null"]}]}, ['""', "1"], ["null"]),
        ok({"oneOf": [integer(multipleOf=2), integer(multipleOf=3)]}, ["2", "3"], ["6", "0", "5"]),
        either({"oneOf": [{"type": "array"}, {"type": "string"}, {"minLength": 3}]}, "oneOf", ["[]", '"abc"', "[1]"]),
        either({"oneOf": [{"minItems": 0}, {"type": "string"}, {"maxLength": 1}]}, "oneOf", ['"a"', '"aa"', "[]"]),
        either({"oneOf": [{"const": 3, "prefixItems": []}, {}], "type": "number"}, "oneOf", ["3", "3.0"]),
        either({"oneOf": [{"enum": [True], "minProperties": 0}, {"type": "boolean"}]}, "oneOf", ["true"]),
        either(
            {"oneOf": [{"type": "object"}, {"type": "integer", "enum": [0]}, {"properties": {}}]},
            "oneOf",
            ["0", "0.0", "0e-8", "{}"],
        ),
        either({"oneOf": [{"anyOf": [{"enum": [0.5]}]}, {"type": "number", "maximum": 0.5}]}, "oneOf", ["0.5", "0.50"]),
        either({"oneOf": [{"required": ["b"], "exclusiveMaximum": 0.5}, {"exclusiveMinimum": 2}]}, "oneOf", ["null"]),
        either({"oneOf": [closed(A), closed(B)]}, "oneOf", ["{}"]),
        either({"oneOf": [an_object(A), an_object(B)]}, "oneOf", ["{}", '{"a":1,"b":1}']),
        either(closed({**A, **B}, oneOf=[{"required": ["a"]}, {"required": ["b"]}]), "oneOf", ["{}", '{"a":1,"b":1}']),
        either({"oneOf": [array(integer()), array(text())]}, "oneOf", ["[]"]),
        either({"oneOf": [record(integer()), closed(A, required=["a"])]}, "oneOf", ['{"a":1}']),
        either({"oneOf": [an_object({"kind": {"const": "a"}}), an_object({"kind": {"const": "b"}})]}, "oneOf", ["{}"]),
        either(
            {"oneOf": [closed({"x": integer()}, required=["x"]), closed({"x": number()}, required=["x"])]},
            "oneOf",
            ['{"x":1}'],
        ),
        either(
            {
                "oneOf": [{"$ref": "#/$defs/p"}, {"$ref": "#/$defs/q"}],
                "$defs": {"p": closed({"n": {"$ref": "#"}}), "q": closed({"n": {"$ref": "#"}, "m": integer()})},
            },
            "oneOf",
            ["{}"],
        ),
        either({"oneOf": [{}, text()]}, "oneOf", ['""']),
        either({"oneOf": [{"not": text()}, text()]}, "not|oneOf"),
        refused({"oneOf": [text(), text()]}, NOTHING + "|oneOf"),
        refused({"oneOf": [True, True]}, NOTHING + "|oneOf"),
        refused(
            {"oneOf": [integer(), integer(minimum=1), integer(maximum=5)], "minimum": 2, "maximum": 4},
            NOTHING + "|oneOf",
        ),
        ok(array({"oneOf": [integer(), number(minimum=5)]}, maxItems=3), ["[1,5.5]"], ["[5]", "[4.5]"]),
        ok(
            {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]},
            ['"a"', '"b"'],
            ['"c"'],
        ),
    ],
    "anyOf and allOf": [
        ok({"anyOf": [integer(), text()]}, ["1", '""'], ["null"]),
        ok({"anyOf": [closed(A), {"type": "null"}], "default": None}, ["{}", "null"]),
        ok(
            {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **closed({**A, **B})},
            ['{"a":1}', '{"b":1}', '{"a":1,"b":1}'],
            ["{}"],
        ),
        ok(
            {"allOf": [an_object(A, required=["a"]), an_object(B, required=["b"])]},
            ['{"a":1,"b":1}'],
            ['{"a":1}'],
            ["a", "b"],
        ),
        ok(
            {"allOf": [an_object(B, required=["b"]), an_object(A, required=["a"])]}, ['{"b":1,"a":1}'], order=["b", "a"]
        ),
        ok({"allOf": [an_object(A, required=["a"])], **an_object({"c": integer()}, required=["c"])}, order=["a", "c"]),
        ok({**an_object({"c": integer()}, required=["c"]), "allOf": [an_object(A, required=["a"])]}, order=["c", "a"]),
        ok(
            {
                "$defs": {"base": an_object({"z": integer(), "id": integer()}, required=["z", "id"])},
                "allOf": [{"$ref": "#/$defs/base"}, an_object({"a": integer()}, required=["a"])],
            },
            order=["z", "id", "a"],
        ),
        ok(
            {
                "$defs": {"base": an_object({"z": integer()}, required=["z"])},
                "type": "object",
                "allOf": [
                    {"$ref": "#/$defs/base"},
                    {"properties": {"b": integer(), "a": integer()}, "required": ["a", "b"]},
                ],
            },
            order=["z", "b", "a"],
        ),
        ok(
            {
                "allOf": [{"properties": {"a": integer(minimum=1)}}, {"properties": {"a": integer(maximum=3)}}],
                "type": "object",
                "required": ["a"],
            },
            ['{"a":2}'],
            ['{"a":4}', '{"a":0}'],
        ),
        ok({"allOf": [{"anyOf": [integer(), text()]}, {"type": "integer"}]}, ["1"], ['""']),
        ok({"allOf": [{"anyOf": [integer(), text()]}, {"anyOf": [text(), {"type": "null"}]}]}, ['""'], ["1", "null"]),
        ok({"allOf": [{}]}),
        ok({"allOf": [True, text()]}, ['""'], ["1"]),
        refused({"allOf": [False, text()]}, NOTHING),
        refused({"anyOf": [False]}, NOTHING),
        refused({"anyOf": []}, "anyOf"),
        refused({"allOf": {}}, "allOf"),
        ok({"allOf": [closed(A), closed({**A, **B})]}, ["{}", '{"a":1}'], ['{"b":1}']),
        ok({"allOf": [record(number()), record(integer())]}, ['{"x":1}'], ['{"x":1.5}']),
    ],
    "references": [
        ok(linked(), ['{"value":1}', '{"value":1,"next":{"value":2}}'], ["{}", '{"value":1,"next":{}}']),
        ok(linked(description="the next one", title="Next", default=None), ['{"value":1,"next":{"value":2}}']),
        ok(linked(type="object"), ['{"value":1,"next":{"value":2}}'], ['{"value":1,"next":null}']),
        ok(linked(required=["value"]), ['{"value":1,"next":{"value":2}}'], ['{"value":1,"next":{}}']),
        ok(linked(required=["next"]), ['{"value":1}'], ['{"value":1,"next":{"value":1}}']),
        ok(linked(nullable=True), ['{"value":1}', '{"value":1,"next":{"value":2}}'], ["{}"]),
        ok(
            linked(maxProperties=1),
            ['{"value":1,"next":{"value":2}}'],
            ['{"value":1,"next":{"value":2,"next":{"value":3}}}'],
        ),
        ok(
            linked(properties={"value": integer(minimum=5)}),
            ['{"value":1,"next":{"value":5}}'],
            ['{"value":1,"next":{"value":4}}'],
        ),
        ok(linked(additionalProperties=False), ['{"value":1}'], ['{"value":1,"next":{"value":5}}']),
        ok(linked(minProperties=1), ['{"value":1,"next":{"value":5}}']),
        ok(linked(allOf=[{"required": ["value"]}]), ['{"value":1,"next":{"value":5}}']),
        ok(linked(anyOf=[{"required": ["value"]}, {"required": ["next"]}]), ['{"value":1,"next":{"value":5}}']),
        ok(
            tree(
                {"$ref": "#/$defs/node"},
                properties={
                    "value": integer(),
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}], "default": None},
                },
            ),
            ['{"value":1,"next":null}'],
        ),
        ok(
            tree(
                {"$ref": "#/$defs/node"},
                properties={"value": integer(), "next": {"allOf": [{"$ref": "#/$defs/node"}], "description": "x"}},
            ),
            ['{"value":1,"next":{"value":5}}'],
        ),
        ok(
            tree(
                {"$ref": "#/$defs/node"},
                properties={
                    "value": integer(),
                    "next": {"allOf": [{"$ref": "#/$defs/node"}, {"required": ["value"]}], "nullable": True},
                },
            ),
            ['{"value":1,"next":{"value":5}}'],
        ),
        ok(tree({"$ref": "#/$defs/node", "required": ["next"]}), ['{"value":1,"next":{"value":5}}'], ['{"value":1}']),
        ok(tree({"$ref": "#/$defs/node", "type": "object"}), ['{"value":1}']),
        ok(
            {
                "components": {
                    "schemas": {
                        "Node": closed(
                            {"v": integer(), "kids": array({"$ref": "#/components/schemas/Node"})}, required=["v"]
                        )
                    }
                },
                "$ref": "#/components/schemas/Node",
            },
            ['{"v":1,"kids":[{"v":2}]}'],
            ['{"v":1,"kids":[1]}'],
        ),
        ok(closed({"kids": array({"$ref": "#"}), "v": integer()}), ['{"kids":[{"v":1}]}']),
        ok(closed({"kids": array({"$ref": "#", "type": "object"}), "v": integer()}), ['{"kids":[{"v":1}]}']),
        ok(
            closed({"kids": array({"$ref": "#", "required": ["v"]}), "v": integer()}),
            ['{"kids":[{"v":1}]}'],
            ['{"kids":[{}]}'],
        ),
        ok(
            {
                "definitions": {
                    "a": closed({"b": {"$ref": "#/definitions/b", "required": ["a"]}}),
                    "b": closed({"a": {"$ref": "#/definitions/a", "minProperties": 0}}),
                },
                "$ref": "#/definitions/a",
            },
            ["{}", '{"b":{"a":{}}}'],
            ['{"b":{}}'],
        ),
        ok(
            {
                "$defs": {
                    "base": an_object({"id": integer(), "parent": {"$ref": "#/$defs/full"}}, required=["id"]),
                    "full": {"allOf": [{"$ref": "#/$defs/base"}, an_object({"name": text()}, required=["name"])]},
                },
                "$ref": "#/$defs/full",
            },
            ['{"id":1,"name":""}', '{"id":1,"parent":{"id":2,"name":""},"name":""}'],
            ['{"id":1}', '{"id":1,"parent":{"id":2},"name":""}'],
        ),
        ok(
            {
                "$defs": {
                    "json": {
                        "anyOf": [
                            text(),
                            number(),
                            {"type": "boolean"},
                            {"type": "null"},
                            array({"$ref": "#/$defs/json"}),
                            record({"$ref": "#/$defs/json"}),
                        ]
                    }
                },
                "$ref": "#/$defs/json",
            },
            ['[{"a":null}]'],
        ),
        ok(
            {
                "$defs": {"a/b": integer(), "c~d": text(), "e%f": {"type": "null"}},
                "anyOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/c~0d"}, {"$ref": "#/$defs/e%25f"}],
            },
            ["1", '""', "null"],
            ["true"],
        ),
        ok(
            {"properties": {"a": integer(), "b": {"$ref": "#/properties/a"}}, "type": "object"},
            ['{"a":1,"b":2}'],
            ['{"b":""}'],
        ),
        ok(
            {
                "$schema": DRAFT7,
                "definitions": {"s": text()},
                "type": "object",
                "properties": {"a": {"$ref": "#/definitions/s", "maxLength": 3}},
            },
            ['{"a":"b"}'],
            ['{"a":1}'],
        ),
        ok(
            {
                "$defs": {"e": text(enum=["a", "b"])},
                "type": "object",
                "properties": {"x": {"$ref": "#/$defs/e", "default": "a", "description": "d"}},
                "required": ["x"],
            },
            ['{"x":"a"}'],
            ['{"x":"c"}'],
        ),
        refused({"$ref": "#"}, "circle"),
        refused({"allOf": [{"$ref": "#"}]}, "circle"),
        refused({"anyOf": [{"$ref": "#"}, text()]}, "circle"),
        refused({"$ref": "#/$defs/none"}, "none"),
        refused(closed({"a": {"$ref": "#"}}, required=["a"]), NOTHING),
        refused({"$ref": "https://example.com/other.json"}, "example.com"),
        either({"$defs": {"x": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"}, "here", ['""']),
    ],
    "nullable": [
        ok(text(nullable=True), ['""'], ["1"]),
        ok(text(nullable=False), ['""'], ["null"]),
        ok(an_object({"a": integer(nullable=True)}, required=["a"]), ['{"a":1}'], ['{"a":""}']),
        ok(text(nullable=True, enum=["a", None]), ['"a"'], ['"b"']),
        ok(
            {"nullable": True, "allOf": [{"$ref": "#/$defs/s"}], "$defs": {"s": text(maxLength=2)}}, ['"ab"'], ['"abc"']
        ),
        ok({"type": ["string", "null"]}, ['""', "null"], ["1"]),
    ],
    "annotations": [
        ok(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://example.com/a",
                "$comment": "c",
                "title": "t",
                "description": "d",
                "default": 3,
                "examples": [1],
                "deprecated": True,
                "readOnly": True,
                "writeOnly": False,
                "type": "integer",
            },
            ["1"],
            ['""'],
        ),
        ok(
            {
                "type": "integer",
                "frobnicate": {"a": 1},
                "self": {"vendor": "x"},
                "_format": "uri",
                "javaType": "X",
                "propertyOrder": 3,
                "links": [],
                "x-a": 1,
                "example": 3,
            },
            ["1"],
            ['""'],
        ),
        ok(
            an_object({"a": integer(sliderMin=0, visible=True)}, esriDocumentation="x", required=["a"]),
            ['{"a":1}'],
            ["{}"],
        ),
        ok(text(contentEncoding="base64", contentMediaType="image/png")),
        ok(
            an_object({"type": text(), "enum": integer(), "$ref": text(), "not": integer()}, required=["type"]),
            ['{"type":"","not":1}'],
            ["{}"],
        ),
        ok({"definitions": {"unused": {"type": "string", "frobnicate": 1}}, "type": "integer"}, ["1"]),
        ok(
            {"type": "object", "discriminator": {"propertyName": "a"}, "xml": {}, "externalDocs": {}, "properties": A},
            ["{}"],
        ),
        ok(True),
        ok({}),
        refused(False, NOTHING),
    ],
    "assertions that are obeyed or refused by name": [
        either({"not": {"allOf": [{"const": 1}]}, "maximum": 1}, "not", ["1", "1.0", "1e0"]),
        either({"not": {"multipleOf": 5}}, "not", ["5", "0", "10.0"]),
        either({"type": "integer", "not": {"multipleOf": 2}}, "not", ["4", "0"]),
        either(
            {"not": {"$ref": "#/$defs/q"}, "type": "string", "$defs": {"q": {"enum": ["", "a"]}}},
            "not",
            ['""', '"a"', '"\\u0061"'],
        ),
        either({"type": "integer", "not": {"enum": [0], "minItems": 1}}, "not", ["0", "-0"]),
        either({"not": {"required": ["x"]}}, "not", ["1", "null", '{"x":1}']),
        either({"not": {"enum": [0.5]}, "type": "number"}, "not", ["0.50", "5e-1"]),
        either({"type": "object", "not": {"required": ["a"]}}, "not", ['{"a":1}']),
        either({"type": "object", "not": {"properties": {"a": {"const": 1}}, "required": ["a"]}}, "not", ['{"a":1}']),
        either({"if": {"enum": [[]], "minLength": 1}, "then": {"const": {}}}, "if", ["[]"]),
        either({"if": {"multipleOf": 3}, "then": {"type": "object"}}, "if|then", ["3", "6", "0"]),
        either(array(contains={}, maxItems=0), "contains|" + NOTHING, ["[]"]),
        either(
            {"type": "array", "contains": {"const": 1}, "prefixItems": [text()], "items": integer()},
            "contains|" + NOTHING,
            ["[]", '[""]', "[1]"],
        ),
        either({"not": text()}, "not", ['""']),
        either({"type": "string", "not": {"const": "a"}}, "not", ['"a"']),
        either({"if": text(), "then": {"minLength": 1}}, "if", ['""']),
        either(an_object({**A, **B}, dependentRequired={"a": ["b"]}), "dependentRequired", ['{"a":1}']),
        either({"$schema": DRAFT7, **an_object({**A, **B}, dependencies={"a": ["b"]})}, "dependencies", ['{"a":1}']),
        either(an_object(A, dependentSchemas={"a": {"required": ["b"]}}), "dependentSchemas", ['{"a":1}']),
        either(
            {"type": "object", "patternProperties": {"^x": integer()}, "additionalProperties": False},
            "patternProperties",
            ['{"a":1}', '{"x":""}'],
        ),
        either(
            {"type": "object", "patternProperties": {"^x": integer()}, "properties": {"xa": {"minimum": 3}}},
            "patternProperties",
            ['{"xa":2}'],
        ),
        either(array(contains=integer(), items={}), "contains", ["[]"]),
        either(array(contains=integer(), minContains=2), "contains|minContains", ["[1]"]),
        either(an_object(A, unevaluatedProperties=False), "unevaluatedProperties", ['{"b":1}']),
        either({"type": "array", "prefixItems": [integer()], "unevaluatedItems": False}, "unevaluatedItems", ["[1,2]"]),
        either({"$dynamicRef": "#x", "$defs": {"x": {"$dynamicAnchor": "x", "type": "integer"}}}, "dynamic", ['""']),
    ],
    "malformed words, also where they would not count": [
        *(
            refused(schema, word)
            for schema, word in [
                (text(minimum="x"), "minimum"),
                (integer(minLength=-1), "minLength"),
                (integer(maxLength="3"), "maxLength"),
                (text(required="a"), "required"),
                (text(required=[1]), "required"),
                (text(properties=[]), "properties"),
                (text(properties={"a": 3}), "a|properties"),
                (text(items=3), "items"),
                (integer(pattern=3), "pattern"),
                (integer(pattern="("), "pattern"),
                (integer(format=3), "format"),
                (integer(minItems=1.5), "minItems"),
                (integer(maxItems=-1), "maxItems"),
                (integer(uniqueItems="yes"), "uniqueItems"),
                (integer(minProperties=-1), "minProperties"),
                (integer(maxProperties="1"), "maxProperties"),
                (text(multipleOf=0), "multipleOf"),
                (text(exclusiveMinimum="1"), "exclusiveMinimum"),
                (text(additionalProperties=3), "additionalProperties"),
                (text(propertyNames=[]), "propertyNames"),
                (text(prefixItems={}), "prefixItems"),
                ({"type": "frob"}, "type"),
                ({"type": []}, "type|" + NOTHING),
                ({"type": 3}, "type"),
                ({"type": ["string", "frob"]}, "type"),
                ({"enum": 3}, "enum"),
                ({"enum": ["a"], "minLength": "x"}, "minLength"),
                ({"const": "a", "properties": 3}, "properties"),
                ({"anyOf": 3}, "anyOf"),
                ({"oneOf": [3]}, "oneOf|schema"),
                ({"$ref": 3}, "ref"),
                (3, "schema"),
                ([], "schema"),
                ('"a"', "schema"),
            ]
        )
    ],
}
