"""Writes and reads GGUF version 3: the small part of it that a model of ours needs.

A file is a header, key-value pairs, one entry per tensor (name, dimensions innermost first, type, offset), padding to
32 bytes, and the tensors' bytes, each padded to 32.
"""
import struct

import numpy as np

F32, F16, Q8_0 = 0, 1, 8
ALIGNMENT = 32
Q8_0_BLOCK = 32  # weights that share one scale
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", _U32, value)
    if isinstance(value, float):
        return struct.pack("<If", _F32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
    return struct.pack(f"<IIQ{len(value)}i", _ARRAY, _I32, len(value), *value)


def encode(array, kind):
    if kind == F32:
        return array.astype("<f4").tobytes()
    if kind == F16:
        return array.astype("<f2").tobytes()
    blocks = array.astype(np.float32).reshape(-1, Q8_0_BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    # Rounded by the exact scale, stored with the half-precision one: as the format's other writers do it.
    q = np.round(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0)).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.int8).reshape(-1, 2), q], 1).tobytes()


def decode(raw, shape, kind):
    if kind == F32:
        return np.frombuffer(raw, "<f4").reshape(shape).astype(np.float64)
    if kind == F16:
        return np.frombuffer(raw, "<f2").reshape(shape).astype(np.float64)
    blocks = np.frombuffer(raw, np.int8).reshape(-1, Q8_0_BLOCK + 2)
    scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float64)
    return (blocks[:, 2:] * scale).reshape(shape)


def stored_size(shape, kind):
    count = int(np.prod(shape))
    return {F32: count * 4, F16: count * 2, Q8_0: count // Q8_0_BLOCK * (Q8_0_BLOCK + 2)}[kind]


def write(path, metadata, tensors):
    """metadata {key: value}; tensors [(name, array in PyTorch's order of dimensions, kind)]."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    body = bytearray()
    for name, array, kind in tensors:
        dims = array.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(body))
        body += encode(array, kind)
        body += bytes(-len(body) % ALIGNMENT)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGNMENT) + body)


def read(path):
    """(metadata, {name: float64 array}, {name: kind})"""
    with open(path, "rb") as f:
        raw = f.read()
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, raw, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return raw[at - size:at].decode()

    def value(kind):
        if kind == _STRING:
            return text()
        if kind == _ARRAY:
            item, count = take("IQ")
            return [value(item) for _ in range(count)]
        return take(_SCALARS[kind])

    magic, version, tensor_count, pair_count = take("4sIQQ")
    if magic != b"GGUF" or version != 3:
        raise ValueError(f"{path}: not a GGUF file of version 3")
    metadata = {}
    for _ in range(pair_count):
        key = text()
        metadata[key] = value(take("I"))
    entries = []
    for _ in range(tensor_count):
        name = text()
        shape = [take("Q") for _ in range(take("I"))][::-1]
        entries.append((name, shape, *take("IQ")))
    start = at + -at % ALIGNMENT
    arrays = {name: decode(raw[start + offset:start + offset + stored_size(shape, kind)], shape, kind)
              for name, shape, kind, offset in entries}
    return metadata, arrays, {name: kind for name, _, kind, _ in entries}
