#!/usr/bin/env python3
"""Writes models of the released RWKV-7 shapes with random weights: for measuring speed, not for reading.

  make_random_model.py 0.1B model.gguf                   GGUF F16, which llama.cpp and anser load
  make_random_model.py 0.1B model.safetensors            the same numbers under the original checkpoints' names
  make_random_model.py 1.5B small.gguf --layers 4        the first layers only

Trained models leave some nine tenths of the hidden activations h = max(key' z, 0)^2 exactly zero, and a program may
skip what is multiplied by zero, so speed depends on that share: --zeros sets it, 0.5 is what plain random weights have.

The numbers of a tensor depend on the seed, its name and --zeros only, so the two formats of a model agree exactly:
every number is a half-precision one. Needs Python 3 and numpy.
"""
import argparse
import hashlib
import json
import math
import os
import re
import statistics
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "train"))
import gguf  # noqa: E402
import tokenizer  # noqa: E402

HEAD = 64  # width of a head
VOCAB = 65536


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. The low-rank widths belong to decay, in-context rate, value residual and gate."""
    layers: int
    width: int
    rank_w: int
    rank_a: int
    rank_v: int
    rank_g: int
    vocab: int = VOCAB

    @property
    def ffn(self):
        return 4 * self.width


# As released: no formula gives the ranks of all of them.
SHAPES = {
    "0.1B": Shape(12, 768, 64, 64, 32, 128),
    "0.4B": Shape(24, 1024, 64, 64, 32, 128),
    "1.5B": Shape(24, 2048, 96, 96, 64, 256),
    "2.9B": Shape(32, 2560, 96, 96, 64, 320),
    "7.2B": Shape(32, 4096, 128, 128, 96, 480),
}


# --- numbers


@dataclass(frozen=True)
class Tensor:
    """scale x draw + offset, rounded to half precision. Shape as in the original checkpoints: matrices
    [outputs][inputs], low-rank pairs [inputs][outputs], vectors [1][1][width] where those have them so."""
    name: str
    shape: tuple
    scale: float
    offset: object = 0.0  # a number, or an array that broadcasts to the shape
    draw: str = "standard_normal"  # or "random", uniform in [0, 1): methods of numpy's Generator

    def blocks(self, seed, most=1 << 23):
        """The numbers as float32 arrays of whole rows with at most some `most` elements each."""
        digest = hashlib.sha256(f"{seed} {self.name}".encode()).digest()
        draw = getattr(np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little"))), self.draw)
        row = math.prod(self.shape[1:])
        step = max(1, most // row)
        for begin in range(0, self.shape[0], step):
            rows = min(step, self.shape[0] - begin)
            block = draw((rows, *self.shape[1:]), dtype=np.float32) * np.float32(self.scale) + np.float32(self.offset)
            yield block.astype(np.float16).astype(np.float32)

    def array(self, seed):
        return np.concatenate(list(self.blocks(seed)))


def standard_threshold(zeros):
    """m such that a standard normal number is below m in a share `zeros` of all cases."""
    return statistics.NormalDist().inv_cdf(zeros)


def fourth_moment_above(m):
    """E[max(g - m, 0)^4] of a standard normal g: what h^2 is on average, for pre-activations of unit variance."""
    normal = statistics.NormalDist()
    return (m**4 + 6 * m**2 + 3) * normal.cdf(-m) - (m**3 + 5 * m) * normal.pdf(m)


LN2_BIAS = 0.25  # mean of the bias that carries the pre-activations' mean
KEY_SCALE = 0.5  # times 1/sqrt(width): the pre-activations' standard deviation is about this
FFN_OUTPUT = 0.3  # standard deviation of what a feed-forward layer adds to the residual stream, whose own is about 1


def key_mean(ln2_weight, ln2_bias, x_k, zeros):
    """The mean of the entries of ffn.key that makes a share `zeros` of h zero. Vectors are float64 [width].

    q = z + (previous(z) - z) x_k with z = n ln2_weight + ln2_bias, n the normalised residual stream. n has mean zero
    over the channels and is taken as independent from token to token, so over tokens q_j has mean ln2_bias_j (the
    shift leaves equal biases alone) and variance ln2_weight_j^2 ((1 - x_k)^2 + x_k^2). For rows of key with entries of
    mean c and deviation s, key' q then has mean c sum(ln2_bias) and, over neurons and tokens, the deviation
    s sqrt(sum(variance_j + ln2_bias_j^2)). The mean has to be minus m deviations. That constant part of key, of rank
    one, picks up nothing else: the sum of n over the channels is zero.
    """
    variance = ln2_weight**2 * ((1 - x_k) ** 2 + x_k**2)
    deviation = KEY_SCALE / math.sqrt(len(x_k)) * math.sqrt(np.sum(variance + ln2_bias**2))
    return -standard_threshold(zeros) * deviation / np.sum(ln2_bias)


def layer_tensors(shape, layer, zeros, seed):
    D, F = shape.width, shape.ffn
    root = 1 / math.sqrt(D)
    vector = (1, 1, D)
    block = f"blocks.{layer}."
    att = block + "att."

    def matrix(name, outputs, inputs, scale, offset=0.0):
        return Tensor(block + name, (outputs, inputs), scale / math.sqrt(inputs), offset)

    def low_rank(letter, rank, first, second):
        return [Tensor(f"{att}{letter}1", (D, rank), first * root),
                Tensor(f"{att}{letter}2", (rank, D), second / math.sqrt(rank))]

    # Slow to fast decay over the channels, as models are initialised: w0 from -6 up, where 0.997 of the state stays.
    ramp = -6 + 5 * (np.arange(D).reshape(vector) / (D - 1)) ** (1 + layer / shape.layers)
    ln2 = [Tensor(block + "ln2.weight", (D,), 0.05, 1.0), Tensor(block + "ln2.bias", (D,), 0.02, LN2_BIAS)]
    x_k = Tensor(block + "ffn.x_k", vector, 1.0, draw="random")
    c = key_mean(*(t.array(seed).astype(np.float64).reshape(-1) for t in (*ln2, x_k)), zeros)
    hidden = KEY_SCALE**2 * math.sqrt(fourth_moment_above(standard_threshold(zeros)))  # root mean square of h, nearly

    return [
        Tensor(block + "ln1.weight", (D,), 0.05, 1.0),
        Tensor(block + "ln1.bias", (D,), 0.02),
        *ln2,
        *(Tensor(f"{att}x_{mix}", vector, 1.0, draw="random") for mix in "rwkvag"),
        Tensor(att + "w0", vector, 0.3, ramp),
        *low_rank("w", shape.rank_w, 0.5, 0.5),
        Tensor(att + "a0", vector, 0.5),
        *low_rank("a", shape.rank_a, 0.5, 0.5),
        # Layer 0 mixes in no value; its three tensors are not there.
        *([Tensor(att + "v0", vector, 0.3, 0.5), *low_rank("v", shape.rank_v, 0.5, 0.5)] if layer > 0 else []),
        *low_rank("g", shape.rank_g, 1.0, 1.0),
        Tensor(att + "k_k", vector, 0.1, 0.7),
        Tensor(att + "k_a", vector, 0.05, 1.0),
        Tensor(att + "r_k", (D // HEAD, HEAD), 0.1),
        matrix("att.receptance.weight", D, D, 0.5),
        matrix("att.key.weight", D, D, 0.3),
        matrix("att.value.weight", D, D, 0.5),
        matrix("att.output.weight", D, D, 0.5),
        Tensor(att + "ln_x.weight", (D,), 0.05, ((1 + layer) / shape.layers) ** 0.7),
        Tensor(att + "ln_x.bias", (D,), 0.02),
        x_k,
        matrix("ffn.key.weight", F, D, KEY_SCALE, c),
        matrix("ffn.value.weight", D, F, FFN_OUTPUT / hidden),
    ]


def tensors(shape, zeros, seed):
    """All tensors under the original names."""
    D = shape.width
    return [
        Tensor("emb.weight", (shape.vocab, D), 0.3),
        Tensor("blocks.0.ln0.weight", (D,), 0.05, 1.0),
        Tensor("blocks.0.ln0.bias", (D,), 0.02),
        *(t for layer in range(shape.layers) for t in layer_tensors(shape, layer, zeros, seed)),
        Tensor("ln_out.weight", (D,), 0.05, 1.0),
        Tensor("ln_out.bias", (D,), 0.02),
        Tensor("head.weight", (shape.vocab, D), 1 / math.sqrt(D)),
    ]


def first_layers(parts, layers):
    """The same model cut short: what is left keeps its numbers."""
    return [t for t in parts if not t.name.startswith("blocks.") or int(t.name.split(".")[1]) < layers]


# --- files


class Progress:
    """Megabytes written, on stderr, when that is a terminal."""

    def __init__(self, path, total):
        self.path, self.total, self.done = path, total, 0

    def add(self, count):
        self.done += count
        if sys.stderr.isatty():
            end = "\n" if self.done == self.total else ""
            print(f"\r{self.path}: {self.done >> 20} of {self.total >> 20} MB", end=end, file=sys.stderr, flush=True)


def write_file(path, head, pieces, total):
    """Whole or not at all."""
    unfinished = Path(f"{path}.new")
    progress = Progress(path, total)
    try:
        with open(unfinished, "wb") as f:
            f.write(head)
            for piece in pieces:
                f.write(piece)
                progress.add(len(piece))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_safetensors(path, parts, seed):
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor in parts:
        size = gguf.stored_size(tensor.shape, gguf.F16)
        head[tensor.name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    pieces = (gguf.encode(block, gguf.F16) for tensor in parts for block in tensor.blocks(seed))
    write_file(path, struct.pack("<Q", len(text)) + text, pieces, at)


# From the original names to those of GGUF, one after the other.
RENAMES = [
    (r"^emb\.", "token_embd."),
    (r"^blocks\.0\.ln0\.", "token_embd_norm."),
    (r"^ln_out\.", "output_norm."),
    (r"^head\.", "output."),
    (r"^blocks\.", "blk."),
    (r"\.ln1\.", ".attn_norm."),
    (r"\.ln2\.", ".attn_norm_2."),
    (r"\.att\.ln_x\.", ".time_mix_ln."),
    (r"\.att\.", ".time_mix_"),
    (r"\.ffn\.x_k$", ".channel_mix_lerp_k"),
    (r"\.ffn\.", ".channel_mix_"),
    (r"(?<!\.weight)(?<!\.bias)$", ".weight"),
]
LOW_RANK = re.compile(r"att\.[wavg][12]$")


def gguf_name(name):
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


@dataclass(frozen=True)
class GgufTensor:
    name: str
    shape: tuple
    kind: int
    sources: list  # Tensors
    arrange: object = None  # from the sources' arrays to the stored one; None: one source, stored as it is

    @property
    def size(self):
        return gguf.stored_size(self.shape, self.kind)

    def pieces(self, seed):
        """The bytes, padded. Large matrices come in blocks of rows, so that none is ever in memory as a whole."""
        if self.arrange:
            yield gguf.encode(self.arrange([source.array(seed) for source in self.sources]), self.kind)
        else:
            yield from (gguf.encode(block, self.kind) for block in self.sources[0].blocks(seed))
        yield bytes(-self.size % gguf.ALIGNMENT)


def gguf_tensors(parts):
    """What llama.cpp's loader of "rwkv7" expects: the six mixes fused, low-rank matrices [outputs][inputs], vectors
    and the decay's pair in float32, and for layer 0 value tensors that nobody reads, shaped like the rate's."""
    out, mixes = [], []
    for tensor in parts:
        name = gguf_name(tensor.name)
        if ".att.x_" in tensor.name:
            mixes.append(tensor)
            if len(mixes) == 6:
                fused = re.sub(r"x_.\.weight$", "lerp_fused.weight", name)
                out.append(GgufTensor(fused, (6, 1, 1, tensor.shape[-1]), gguf.F32, mixes, np.stack))
                mixes = []
        elif LOW_RANK.search(tensor.name):
            kind = gguf.F32 if re.search(r"w[12]$", tensor.name) else gguf.F16
            stored = GgufTensor(name, tensor.shape[::-1], kind, [tensor], lambda arrays: arrays[0].T)
            out.append(stored)
        elif tensor.name.endswith("ffn.x_k"):
            out.append(GgufTensor(name, tensor.shape, gguf.F32, [tensor]))
        elif len(tensor.shape) == 2 and not tensor.name.endswith("r_k"):
            out.append(GgufTensor(name, tensor.shape, gguf.F16, [tensor]))
        else:
            flat = (math.prod(tensor.shape),)
            out.append(GgufTensor(name, flat, gguf.F32, [tensor], lambda arrays: arrays[0].reshape(-1)))
    unread = [t for t in out if re.fullmatch(r"blk\.0\.time_mix_a[012]\.weight", t.name)]
    return out + [GgufTensor(t.name.replace("_a", "_v"), t.shape, t.kind, t.sources, t.arrange) for t in unread]


CONTROL, NORMAL, UNUSED = 3, 1, 5  # kinds of tokens


def gguf_metadata(shape, name, tokens):
    """tokens: byte strings by id, the first of them end of text; filled up to the model's vocabulary."""
    fill = range(len(tokens), shape.vocab)
    return {
        "general.architecture": "rwkv7",
        "general.type": "model",
        "general.name": name,
        "general.file_type": 1,
        "general.quantization_version": 2,
        "rwkv7.context_length": 1 << 20,
        "rwkv7.embedding_length": shape.width,
        "rwkv7.block_count": shape.layers,
        "rwkv7.feed_forward_length": shape.ffn,
        "rwkv7.attention.head_count": 0,
        "rwkv7.attention.layer_norm_epsilon": 1e-5,
        "rwkv7.attention.decay_lora_rank": shape.rank_w,
        "rwkv7.attention.iclr_lora_rank": shape.rank_a,
        "rwkv7.attention.value_residual_mix_lora_rank": shape.rank_v,
        "rwkv7.attention.gate_lora_rank": shape.rank_g,
        "rwkv7.wkv.head_size": HEAD,
        "rwkv7.token_shift_count": 2,
        "tokenizer.ggml.model": "rwkv",
        # A token is the inside of Python's writing of its bytes.
        "tokenizer.ggml.tokens": ["<s>", *(repr(t)[2:-1] for t in tokens[1:]), *(f"[PAD{i}]" for i in fill)],
        "tokenizer.ggml.token_type": [CONTROL] + [NORMAL] * (len(tokens) - 1) + [UNUSED] * len(fill),
        "tokenizer.ggml.bos_token_id": tokenizer.END_OF_TEXT,
        "tokenizer.ggml.eos_token_id": tokenizer.END_OF_TEXT,
        "tokenizer.ggml.add_bos_token": False,
    }


def write_gguf(path, shape, parts, seed, name, tokens):
    stored = gguf_tensors(parts)
    metadata = gguf_metadata(shape, name, tokens)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(stored), len(metadata))
    head += b"".join(gguf._string(key) + gguf._value(value) for key, value in metadata.items())
    at = 0
    for tensor in stored:
        dims = tensor.shape[::-1]  # innermost first
        head += gguf._string(tensor.name)
        head += struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, tensor.kind, at)
        at += tensor.size + -tensor.size % gguf.ALIGNMENT
    head += bytes(-len(head) % gguf.ALIGNMENT)
    write_file(path, head, (piece for tensor in stored for piece in tensor.pieces(seed)), at)


# --- the command


def world_vocabulary():
    """A path; fetched by the tool beside this one when the build has not done so."""
    path = ROOT / "build" / "release" / "rwkv_vocab_v20230424.txt"
    if not path.is_file() or path.stat().st_size == 0:
        path = ROOT / "build" / "rwkv_vocab_v20230424.txt"
        fetch = ROOT / "tools" / "fetch_world_vocabulary.py"
        if subprocess.run([sys.executable, str(fetch), str(path)]).returncode != 0:
            raise SystemExit("error: no World vocabulary, which GGUF files need; --vocab FILE takes one")
    return path


def share(text):
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share between 0 and 1")
    return value


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("size", choices=SHAPES)
    args.add_argument("out", help="*.gguf or *.safetensors")
    args.add_argument("--zeros", type=share, default=0.9, metavar="SHARE",
                      help="share of the feed-forward's hidden activations that are exactly zero (default: 0.9)")
    args.add_argument("--layers", type=int, help="write only so many layers")
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("--vocab", type=Path, metavar="FILE",
                      help="rwkv_vocab_v20230424.txt, for GGUF (default: the one of the build, or fetched)")
    args = args.parse_args()
    shape = SHAPES[args.size]
    parts = tensors(shape, args.zeros, args.seed)
    if args.layers is not None:
        if not 1 <= args.layers <= shape.layers:
            raise SystemExit(f"error: --layers {args.layers}: the {args.size} shape has 1 to {shape.layers}")
        shape = replace(shape, layers=args.layers)
        parts = first_layers(parts, args.layers)
    if args.out.endswith(".safetensors"):
        write_safetensors(args.out, parts, args.seed)
    elif args.out.endswith(".gguf"):
        tokens = tokenizer.read_vocab(args.vocab or world_vocabulary())
        name = f"random {args.size}, {args.zeros:g} zeros, seed {args.seed}"
        write_gguf(args.out, shape, parts, args.seed, name, tokens)
    else:
        raise SystemExit(f"error: {args.out}: expected a name that ends in .gguf or .safetensors")
    count = sum(math.prod(tensor.shape) for tensor in parts)
    print(f"{args.out}: {count} parameters, {os.path.getsize(args.out)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
