#!/usr/bin/env python3
"""Includes point one way: base <- formats <- checkpoint; text, quant, checkpoint <- model <- cpu, cuda; text <- grammar; all these <- engine <- store <-
server <- cli.

JSON from outside is read by base/read_json.h alone. Also: public headers include only each other and the standard
library, and the files of the instruction sets nothing of the standard library but three headers that define no function.
Prints what breaks this and exits 1.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAY_INCLUDE = {
    "base": {"base"},
    "formats": {"base", "formats"},
    "text": {"base", "text"},
    "grammar": {"base", "text", "grammar"},
    # These belong together until what loads and saves has moved out of model.
    "checkpoint": {"base", "formats", "text", "quant", "model", "checkpoint"},
    "quant": {"base", "quant", "model/blocks.h"},
    "model": {"base", "formats", "checkpoint", "text", "quant", "model"},
    "cpu": {"base", "formats", "text", "quant", "model", "cpu"},
    "cuda": {"base", "formats", "text", "quant", "model", "cuda"},
    "scheduler": {"base", "scheduler"},  # the plan of a step; the rest is in engine still
    "engine": {"scheduler", "base", "formats", "text", "quant", "model", "grammar", "cpu", "cuda", "engine"},
}
MAY_INCLUDE["store"] = MAY_INCLUDE["engine"] | {"store"}
MAY_INCLUDE["server"] = MAY_INCLUDE["store"] | {"server"}
MAY_INCLUDE["cli"] = MAY_INCLUDE["server"] | {"cli"}
# What an instruction-set file may see: plain declarations, and a function that is always inlined; see
# src/cpu/isa/plain.h.
ISA_SYSTEM = {"cstdint", "cstddef", "cstring", "immintrin.h", "arm_neon.h"}
ISA_OWN = {"base/dtype.h", "base/exp_below_0.h", "model/blocks.h", "model/limits.h", "cpu/kernels.h"}

# JSON from outside is read in one way, which has the limits.
JSON_READER = pathlib.PurePath("src/base/read_json.h")
OTHER_JSON_READER = re.compile(r"\b(?:[jJ]son|Schema|ordered_json)::(?:parse|accept|sax_parse|from_\w+)\(|\bjson_sax\b")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1] == "<", match[2]


def check(path):
    relative = path.relative_to(ROOT)
    public, folder = relative.parts[0] == "include", relative.parts[1]
    isa = relative.parts[:3] == ("src", "cpu", "isa")
    if relative != JSON_READER:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if OTHER_JSON_READER.search(line):
                yield f"{relative}:{number}: JSON is read with {JSON_READER}, which has the limits"
    for number, system, name in includes(path):
        first = name.split("/")[0]
        if public:
            wrong = not name.startswith("anser/") and not (system and re.fullmatch(r"[a-z_]+", name))
        elif isa:
            wrong = name not in ISA_SYSTEM if system else not (name in ISA_OWN or name.startswith("cpu/isa/"))
        else:
            wrong = not system and first != "anser" and not MAY_INCLUDE[folder] & {first, name}
        if wrong:
            yield f"{relative}:{number}: {'a public header' if public else folder} may not include {name}"


def main():
    files = [p for top in ("include", "src") for p in sorted((ROOT / top).rglob("*")) if p.suffix in (".h", ".cpp", ".cu")]
    problems = [problem for path in files for problem in check(path)]
    print("\n".join(problems) if problems else f"includes: {len(files)} files, all point one way")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
