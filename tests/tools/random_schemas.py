"""Schemas put together at random of all keywords, and how one that shows a fault is made small."""

TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"]
NAMES = ["a", "b", "c", "ab"]
NUMBERS = [0, 1, 2, 3, 5, 10, -1, -5, 0.5, 1.5, -0.25, 100]
TEXTS = ["a", "b", "ab", "abc", "", "x1", "2024-01-01", "ü"]
PATTERNS = ["^a", "b$", "[0-9]", "^[a-c]*$", "^[a-z]+$", "a|b", "^.{2,3}$", "^\\d+$",
            "^(ab)+$", "\\S", "^[^a]*$", "^x?y*$", "^a.*b$"]
FORMATS = ["date", "uuid", "email", "time", "date-time", "ipv4", "ipv6", "hostname", "uri", "duration"]
DEPTH = 3


class Maker:
    def __init__(self, random):
        self.random = random

    def schema(self):
        made = self.part(0)
        if "$ref" in str(made):
            made = {**made, "$defs": {"p": self.part(2), "q": self.part(1)}}
        return made

    def value(self, depth=0):
        kind = self.random.randrange(8 if depth < 2 else 6)
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        if kind == 7:
            return {self.random.choice(NAMES): self.value(depth + 1) for _ in range(self.random.randrange(3))}
        return self.random.choice([[None], [True, False], NUMBERS, NUMBERS, TEXTS, TEXTS][kind])

    def values(self, most):
        return [self.value() for _ in range(self.random.randrange(1, most))]

    def part(self, depth):
        """An object at the top, mostly; a boolean now and then within."""
        choose = self.random
        if depth > DEPTH:
            return choose.choice([{"type": choose.choice(TYPES[2:])}, {"enum": self.values(4)}, {"const": self.value(2)}])
        if depth > 0 and choose.random() < 0.06:
            return choose.choice([True, False, {}])
        made = {}
        for _ in range(choose.choice([1, 1, 2, 2, 3, 4])):
            made.update(choose.choice(self.WORDS)(self, depth + 1))
        return made

    def parts(self, depth, most):
        return [self.part(depth) for _ in range(self.random.randrange(1, most))]

    def types(self, _depth):
        return {"type": self.random.sample(TYPES, 2) if self.random.random() < 0.2 else self.random.choice(TYPES)}

    def bound(self, _depth):
        return {self.random.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]): self.random.choice(NUMBERS)}

    def count(self, _depth):
        word = self.random.choice(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"])
        return {word: self.random.randrange(4)}

    def of_text(self, _depth):
        return self.random.choice([{"pattern": self.random.choice(PATTERNS)}, {"format": self.random.choice(FORMATS)}])

    def listed(self, _depth):
        return self.random.choice([{"enum": self.values(5)}, {"const": self.value()}])

    def multiple(self, _depth):
        return {"multipleOf": self.random.choice([1, 2, 3, 5, 0.5, 10])}

    def items(self, depth):
        return self.random.choice([{"items": self.part(depth)}, {"prefixItems": self.parts(depth, 3)}, {"uniqueItems": True},
                                   {"contains": self.part(depth)}])

    def properties(self, depth):
        return {"properties": {name: self.part(depth) for name in self.random.sample(NAMES, self.random.randrange(1, 4))}}

    def required(self, _depth):
        return {"required": self.random.sample(NAMES, self.random.randrange(1, 3))}

    def others(self, depth):
        return self.random.choice([
            {"additionalProperties": self.random.random() < 0.5}, {"additionalProperties": self.part(depth)},
            {"propertyNames": self.random.choice([{"pattern": self.random.choice(PATTERNS)}, self.part(depth)])},
            {"patternProperties": {self.random.choice(PATTERNS): self.part(depth)}},
            {"dependentRequired": {self.random.choice(NAMES): [self.random.choice(NAMES)]}},
            {"dependentSchemas": {self.random.choice(NAMES): self.part(depth)}}])

    def logic(self, depth):
        word = self.random.choice(["anyOf", "oneOf", "oneOf", "allOf", "not", "if"])
        if word == "if":
            return {"if": self.part(depth), self.random.choice(["then", "else"]): self.part(depth)}
        return {word: self.part(depth) if word == "not" else self.parts(depth, 4)}

    def reference(self, _depth):
        return {"$ref": self.random.choice(["#/$defs/p", "#/$defs/q"])}

    WORDS = [types, types, types, types, bound, count, count, of_text, listed, listed, multiple, items, items, properties,
             properties, required, others, others, logic, logic, logic, reference]


def smaller(schema):
    """Schemas with a little less in them."""
    if isinstance(schema, list):
        for place in range(len(schema)):
            yield schema[:place] + schema[place + 1:]
        for place, inner in enumerate(schema):
            yield from (schema[:place] + [less] + schema[place + 1:] for less in smaller(inner))
    if isinstance(schema, dict):
        for word in schema:
            yield {other: inner for other, inner in schema.items() if other != word}
        for word, inner in schema.items():
            yield from ({**schema, word: less} for less in smaller(inner))


def smallest(schema, is_faulty):
    """A part of a schema from which nothing can be taken without losing the fault."""
    while True:
        schema, before = next((less for less in smaller(schema) if isinstance(less, dict) and is_faulty(less)), schema), schema
        if schema is before:
            return schema
