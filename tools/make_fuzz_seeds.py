#!/usr/bin/env python3
"""Writes the seeds of the file readers' fuzz targets, the same bytes each time.

Usage: tools/make_fuzz_seeds.py [FOLDER]     (default: tests/fuzz/seeds)

Each seed is a small file that is right, or nearly so, since a fuzzer finds broken ones by itself.
"""

import json
import math
import struct
import sys
from pathlib import Path


# --- safetensors


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    two = {"a.weight": entry("F32", [2, 3], 0, 24), "b": entry("BF16", [4], 24, 32)}
    return {
        "two": safetensors({"__metadata__": {"format": "pt"}, **two}, bytes(32)),
        "empty": safetensors({}),
        "types": safetensors(
            {t: entry(t, [1], 8 * i, 8 * i + n) for i, (t, n) in enumerate(
                [("F64", 8), ("F16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1),
                 ("BOOL", 1), ("F8_E4M3", 1)])}, bytes(72)),
        "scalar_and_none": safetensors({"s": entry("F32", [], 0, 4), "z": entry("F32", [0, 5], 4, 4)},
                                       bytes(4)),
        "overlap": safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6)),
        "padded": safetensors(json.dumps(two).encode() + b"    ", bytes(32)),
        "other_fields": safetensors({"a": {**entry("U8", [1], 0, 1), "note": [{"x": None}]}}, b"\1"),
        "nested": safetensors(b'{"a":' + b"[" * 40 + b"]" * 40 + b"}"),
        "too_long": safetensors(b"{}", length=1 << 30),
        "git_lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "web_page": b"\n<!DOCTYPE html><html></html>",
    }


# --- GGUF


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pair(key, kind, value):
    return string(key) + struct.pack("<I", kind) + value


def gguf(pairs, tensors, data=b"", version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    for name, dims, kind, offset in tensors:
        out += string(name) + struct.pack("<I", len(dims))
        out += b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)
    return out + bytes(-len(out) % alignment) + data


def gguf_seeds():
    def array(kind, count, body):
        return struct.pack("<IQ", kind, count) + body

    pairs = [
        pair("general.architecture", 8, string("rwkv7")),
        pair("rwkv7.block_count", 4, struct.pack("<I", 2)),
        pair("rwkv7.attention.layer_norm_epsilon", 6, struct.pack("<f", 1e-5)),
        pair("flag", 7, b"\1"),
        pair("tokens", 9, array(8, 2, string("<s>") + string("\\x00"))),
        pair("types", 9, array(5, 2, struct.pack("<ii", 3, 1))),
        pair("scores", 9, array(6, 1, struct.pack("<f", 0.5))),
        pair("lists", 9, array(9, 2, array(0, 1, b"\7") + array(7, 0, b""))),
    ]
    numbers = [pair(f"n{kind}", kind, bytes(size))
               for kind, size in enumerate([1, 1, 2, 2, 4, 4, 4, 1]) if size]
    numbers += [pair(f"n{kind}", kind, bytes(8)) for kind in (10, 11, 12)]
    quantised = [(f"q{kind}", [256, 1], kind, 320 * i)
                 for i, kind in enumerate([2, 3, 6, 7, 8, 12, 13, 14])]
    repacked = [(f"q{kind}", [256, 1], kind, 160 * i) for i, kind in enumerate([10, 11, 20, 23])]
    # The second part of a split model, and a first one without tensors.
    part = [pair("split.no", 2, struct.pack("<H", 1)), pair("split.count", 2, struct.pack("<H", 2)),
            pair("split.tensors.count", 5, struct.pack("<i", 1))]
    aligned = [pair("general.alignment", 4, struct.pack("<I", 64))]
    return {
        "model": gguf(pairs, [("token_embd.weight", [4, 2], 0, 0), ("h", [3], 1, 32)], bytes(64)),
        "version2": gguf(pairs[:1], [("b", [2, 1, 1, 6], 30, 0)], bytes(32), version=2),
        "numbers": gguf(numbers, []),
        "quantised": gguf([], quantised, bytes(2560)),
        "repacked": gguf([], repacked, bytes(640)),
        "part": gguf(part, [("b", [4], 0, 0)], bytes(16)),
        "first_part": gguf(pairs[:1] + part, []),
        "unfused": gguf(pairs[:1], [("blk.0.time_mix_lerp_r.weight", [4], 0, 0),
                                    ("blk.0.time_mix_w0", [4], 0, 32)], bytes(64)),
        "aligned": gguf(aligned, [("a", [1], 0, 0), ("b", [1], 24, 64)], bytes(65), alignment=64),
        "other_types": gguf([], [("iq", [256], 21, 0), ("f64", [1], 28, 0), ("unknown", [256], 99, 0)],
                            bytes(8)),
        "overlap": gguf([], [("a", [16], 0, 0), ("b", [1], 0, 32)], bytes(64)),
        "many": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60),
        "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    }


# --- .pth


def zip_archive(entries, zip64=False):
    """Stored entries as torch.save lays them out: sizes only in the directory, data aligned."""
    out, directory = b"", b""
    for name, data in entries:
        raw, offset = name.encode(), len(out)
        padding = -(offset + 30 + len(raw) + 4) % 64
        extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 0, 0x0808, 0, 0, 0, 0, 0, 0, len(raw),
                           len(extra))
        out += raw + extra + data + struct.pack("<IIII", 0x08074B50, 0, len(data), len(data))
        large = struct.pack("<HHQQQ", 1, 24, len(data), len(data), offset) if zip64 else b""
        sizes = (0xFFFFFFFF,) * 2 if zip64 else (len(data), len(data))
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 0, 0x0808, 0, 0, 0, 0, *sizes,
                                 len(raw), len(large), 0, 0, 0, 0,
                                 0xFFFFFFFF if zip64 else offset) + raw + large
    start = len(out)
    out += directory
    if zip64:
        end64 = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(entries), len(entries),
                           len(directory), start)
        out += struct.pack("<IIQI", 0x07064B50, 0, end64, 1)
        return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF,
                                 0xFFFFFFFF, 0)
    return out + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(entries), len(entries),
                             len(directory), start, 0)


def unicode_op(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def int_tuple(values):
    return b"(" + b"".join(b"K" + bytes([v]) for v in values) + b"t"


def storage_op(kind, key, count):
    return (b"(" + unicode_op("storage") + b"ctorch\n" + kind.encode() + b"\n" + unicode_op(key)
            + unicode_op("cpu") + b"K" + bytes([count]) + b"tQ")


def tensor_op(storage, offset, shape, strides):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K" + bytes([offset])
            + int_tuple(shape) + int_tuple(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def dict_op(items):
    body = b"".join(unicode_op(name) + value for name, value in items)
    return b"ccollections\nOrderedDict\n)R(" + body + b"u"


def checkpoint(items, storages, zip64=False):
    entries = [("m/data.pkl", b"\x80\x02" + dict_op(items) + b"."), ("m/byteorder", b"little")]
    entries += [(f"m/data/{key}", data) for key, data in storages.items()]
    return zip_archive(entries + [("m/version", b"3\n")], zip64)


def pth_seeds():
    plain = tensor_op(storage_op("BFloat16Storage", "0", 6), 0, [2, 3], [3, 1])
    turned = tensor_op(storage_op("FloatStorage", "1", 6), 0, [3, 2], [1, 3])
    row = tensor_op(storage_op("FloatStorage", "1", 6), 3, [3], [1])
    parameter = (b"ctorch._utils\n_rebuild_parameter\n(" + row
                 + b"\x88ccollections\nOrderedDict\n)RtR")
    storages = {"0": bytes(12), "1": bytes(24)}
    untyped = (b"ctorch._utils\n_rebuild_tensor_v3\n(("
               + unicode_op("storage") + b"ctorch.storage\nUntypedStorage\n" + unicode_op("0")
               + unicode_op("cuda:0") + b"K\x0ctQK\0K\x03\x85K\x01\x85\x89}ctorch\nfloat32\n}tR")
    memo = b"\x80\x04\x95" + bytes(8) + b"}\x94(\x8c\x01a\x94" + plain + b"\x94\x8c\x01b\x94h\x02u."
    stack_global = b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R."
    evil = b"\x80\x02cos\nsystem\n" + unicode_op("true") + b"\x85R."
    numbers = (b"\x80\x02}(" + unicode_op("n") + b"(J\xff\xff\xff\xffM\1\1\x8a\2\0\x80G" + bytes(8)
               + b"N\x88\x89U\1s](K\1e]K\2a(K\3l}" + unicode_op("k") + b"K\1st" + b"u.")

    def pickled(data):
        return zip_archive([("m/data.pkl", data), ("m/data/0", bytes(12))])

    return {
        "plain": checkpoint([("a.weight", plain)], storages),
        "strides": checkpoint([("t", turned), ("row", row), ("p", parameter)], storages),
        "zip64": checkpoint([("a", plain), ("t", turned)], storages, zip64=True),
        "wrapped": checkpoint([("epoch", b"K\3"), ("state_dict", dict_op([("a", plain)]))], storages),
        "nested": checkpoint([("x", dict_op([("y", dict_op([("z", plain)]))]))], storages),
        "untyped": checkpoint([("u", untyped)], storages),
        "metadata": pickled(b"\x80\x02" + dict_op([("a", plain)]) + b"}" + unicode_op("_metadata")
                            + b"}sb."),
        "protocol4": pickled(memo),
        "stack_global": pickled(stack_global),
        "values": pickled(numbers),
        "unsafe": pickled(evil),
        "empty_archive": zip_archive([]),
    }


# --- what a store of states reads; the first byte says which (tests/fuzz/fuzz_state_store.cpp)


def state_record(**changes):
    record = {"anser_state": 1, "id": "0123456789abcdefghjkmnpqrs", "parent": None, "name": "a name",
              "tags": ["x"], "created": 1.5, "tokens": 0, "fingerprint": "0" * 16, "model": "m",
              "content": "0123456789abcdefghjkmnpqrs", "raw_bytes": 76, "stored_bytes": 0,
              "checksum": "0" * 16, "note": {"k": 1}}
    return (json.dumps({**record, **changes}, separators=(",", ":")) + "\n").encode()


def zstd(blocks, size):
    """A frame of raw and run-length blocks that states its size, below 64 KiB."""
    frame = struct.pack("<I", 0xFD2FB528)
    frame += struct.pack("<BB", 0x20, size) if size < 256 else struct.pack("<BH", 0x60, size - 256)
    for i, (kind, length, data) in enumerate(blocks):
        last = i + 1 == len(blocks)
        frame += (length << 3 | {"raw": 0, "run": 1}[kind] << 1 | last).to_bytes(3, "little") + data
    return frame


# One layer of width 1, two logits, three tokens.
STATE_1 = bytes.fromhex(
    "414e5345525354000100000000000000341200000000000003000000000000000100000001000000010000000100"
    "000002000000000000000000803f00000000000000000000803f000000402727804a11ae924c")

# The same of version 2, with two groups of weights and a text that ends within a character.
STATE_2 = bytes.fromhex(
    "414e5345525354000200000000000000341200000000000003000000000000000100000001000000010000000100"
    "00000200000000000000020000000000000002e4bd00000000000000803f00000000000000000000803f00000040"
    "1032547698badcfe0000000000000000d46a6d38511b3e6a")


def state_file_seeds():
    """State files, and tuned states of one layer of two heads of size 2 in a file of tensors."""
    def tuned(name="blocks.0.att.time_state", shape=(2, 2, 2)):
        count = math.prod(shape)
        return safetensors({name: entry("F32", list(shape), 0, 4 * count)}, struct.pack(f"<{count}f", *range(count)))

    return {"version_1": STATE_1, "version_2": STATE_2, "cut": STATE_2[:70], "header": STATE_2[:56],
            "other_layers": STATE_1[:32] + struct.pack("<I", 1 << 30) + STATE_1[36:],
            "tokens": STATE_1[:24] + b"\xff" * 8 + STATE_1[32:], "not_a_number": STATE_1[:60] + struct.pack("<f", math.nan) + STATE_1[64:],
            "tuned": tuned(), "tuned_of_other_shape": tuned(shape=(2, 3, 2)), "tuned_of_other_layer": tuned("blocks.7.att.time_state")}


def state_store_seeds():
    state, named = STATE_1, STATE_2

    def content(blocks, size, stated=None):
        return b"\2" + (size if stated is None else stated).to_bytes(3, "little") + zstd(blocks, size)

    return {
        "record": b"\0" + state_record() + b"xxh3 09a2e66697bba33c\n",
        "fork": b"\1" + state_record(id="zyxwvtsrqpnmkjhgfedcba9876", parent="0" * 26, note=[None, 1e3, "\u00e4"]),
        "bare": b"\1" + state_record(name=None, tags=[], model=None, note=None),
        "no_id": b"\1" + state_record(id="../../etc/passwd"),
        "later": b"\1" + state_record(anser_state=2),
        "large": b"\1" + state_record(raw_bytes=1 << 40, tokens=-1),
        "state": content([("raw", len(state), state)], len(state)),
        "named": content([("raw", len(named), named)], len(named)),
        "no_groups": content([("raw", 56, named[:56]), ("run", 8, b"\0"), ("raw", len(named) - 80, named[64:-16]),
                              ("raw", 8, named[-8:])], len(named) - 16),
        "two_blocks": content([("raw", 40, state[:40]), ("raw", len(state) - 40, state[40:])], len(state)),
        "zeros": content([("run", 1000, b"\0")], 1000),
        "short": content([("raw", 10, state[:10])], len(state)),
        "other_size": content([("raw", len(state), state)], len(state), 77),
    }


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).resolve().parent.parent / "tests/fuzz/seeds")
    for target, seeds in (("fuzz_safetensors", safetensors_seeds()), ("fuzz_gguf", gguf_seeds()),
                          ("fuzz_pth", pth_seeds()), ("fuzz_state_store", state_store_seeds()),
                          ("fuzz_state_file", state_file_seeds())):
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
