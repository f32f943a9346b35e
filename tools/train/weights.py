"""The model as named tensors, in the original checkpoints' names, from and to the containers we use."""
import json
import struct

import numpy as np
import torch

import gguf
import tokenizer

MIXES = "rwkvag"  # order of the six token-shift vectors in the fused tensor
WHOLE = {
    "emb.weight": "token_embd.weight",
    "blocks.0.ln0.weight": "token_embd_norm.weight",
    "blocks.0.ln0.bias": "token_embd_norm.bias",
    "ln_out.weight": "output_norm.weight",
    "ln_out.bias": "output_norm.bias",
    "head.weight": "output.weight",
}
IN_BLOCK = {
    "ln1.weight": "attn_norm.weight",
    "ln1.bias": "attn_norm.bias",
    "ln2.weight": "attn_norm_2.weight",
    "ln2.bias": "attn_norm_2.bias",
    "att.receptance.weight": "time_mix_receptance.weight",
    "att.key.weight": "time_mix_key.weight",
    "att.value.weight": "time_mix_value.weight",
    "att.output.weight": "time_mix_output.weight",
    "att.ln_x.weight": "time_mix_ln.weight",
    "att.ln_x.bias": "time_mix_ln.bias",
    "ffn.x_k": "channel_mix_lerp_k.weight",
    "ffn.key.weight": "channel_mix_key.weight",
    "ffn.value.weight": "channel_mix_value.weight",
}
LOW_RANK = ("w1", "w2", "a1", "a2", "v1", "v2", "g1", "g2")  # stored the other way round in GGUF
VECTORS = ("w0", "a0", "v0", "k_k", "k_a", "r_k")


def _layers(w):
    return 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))


def shape_of(w):
    """What rwkv7.Model is made with, from the tensors."""
    vocab, D = w["emb.weight"].shape
    return {"vocab": vocab, "layers": _layers(w), "D": D, "ranks": {c: w[f"blocks.1.att.{c}1"].shape[1] for c in "wavg"}}


def to_gguf(w, matrix_kind):
    """[(name, array, kind)] for gguf.write from {name: float32 array}."""
    out = [(WHOLE[name], w[name], matrix_kind if w[name].ndim == 2 else gguf.F32) for name in WHOLE]
    for l in range(_layers(w)):
        old, new = f"blocks.{l}.", f"blk.{l}."
        for name, renamed in IN_BLOCK.items():
            array = w[old + name]
            kind = matrix_kind if array.ndim == 2 else gguf.F32
            out.append((new + renamed, array, kind))
        fused = np.stack([w[f"{old}att.x_{c}"].reshape(1, 1, -1) for c in MIXES])
        out.append((f"{new}time_mix_lerp_fused.weight", fused, gguf.F32))
        for name in VECTORS + LOW_RANK:
            # Block 0 has no value mix, but loaders of this format expect its tensors: copies of the rate's, unused.
            source = "a" + name[1] if l == 0 and name in ("v0", "v1", "v2") else name
            array = w[f"{old}att.{source}"]
            if name in VECTORS:
                array, kind = array.reshape(-1), gguf.F32
            else:
                array = array.T
                # In blocks too, if they fit: in a model this small the pairs are a tenth of the file.
                kind = matrix_kind if array.shape[-1] % gguf.Q8_0_BLOCK == 0 else gguf.F16
            out.append((f"{new}time_mix_{name}.weight", array, kind))
    return out


def from_gguf(arrays):
    """{name: float64 tensor} under the original names."""
    w = {name: arrays[renamed] for name, renamed in WHOLE.items()}
    layers = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("blk."))
    for l in range(layers):
        old, new = f"blocks.{l}.", f"blk.{l}."
        for name, renamed in IN_BLOCK.items():
            w[old + name] = arrays[new + renamed]
        for i, c in enumerate(MIXES):
            w[f"{old}att.x_{c}"] = arrays[f"{new}time_mix_lerp_fused.weight"][i]
        for name in VECTORS + LOW_RANK:
            if l == 0 and name in ("v0", "v1", "v2"):
                continue
            array = arrays[f"{new}time_mix_{name}.weight"]
            w[f"{old}att.{name}"] = array.T if name in LOW_RANK else array
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in w.items()}


def token_texts(tokens):
    """The vocabulary as GGUF's "rwkv" tokenizer wants it: the inside of Python's writing of the bytes."""
    return ["<s>"] + [repr(token)[2:-1] for token in tokens[1:]]


def tokens_from(texts):
    escapes = {"t": b"\t", "n": b"\n", "r": b"\r"}
    tokens = [b""]
    for text in texts[1:]:
        token, at = b"", 0
        while at < len(text):
            if text[at] != "\\":
                token += text[at].encode()
                at += 1
            elif text[at + 1] == "x":
                token += bytes([int(text[at + 2:at + 4], 16)])
                at += 4
            else:
                token += escapes.get(text[at + 1], text[at + 1].encode())
                at += 2
        tokens.append(token)
    return tokens


def load(path, vocab=None):
    """({name: tensor}, Tokenizer) from a .gguf, or from a checkpoint and its vocabulary file."""
    if path.endswith(".gguf"):
        metadata, arrays, _ = gguf.read(path)
        return from_gguf(arrays), tokenizer.Tokenizer(tokens_from(metadata["tokenizer.ggml.tokens"]))
    return torch.load(path, map_location="cpu")["model"], tokenizer.Tokenizer(tokenizer.read_vocab(vocab))


def write_safetensors(path, w, dtype):
    """{name: tensor} as raw safetensors; dtype "F32" or "BF16"."""
    raws, head, at = [], {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in w.items():
        tensor = tensor.detach().float().contiguous()
        raw = tensor.numpy().tobytes() if dtype == "F32" else tensor.bfloat16().view(torch.int16).numpy().tobytes()
        head[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        raws.append(raw)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(raws))
