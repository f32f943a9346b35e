"""RWKV-7 in numpy, for the tests of tools/: as slow as the equations in src/model/forward.h read.

  rwkv7_forward.py MODEL.safetensors [--tokens 12] [--seed 1]

prints, layer by layer, the share of the feed-forward's hidden activations that are exactly zero, over random tokens.
The file is one that make_random_model.py writes.
"""
import argparse
import json
import struct

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def previous(z):
    """Each token's predecessor; zeros before the first."""
    return np.concatenate([np.zeros_like(z[:1]), z[:-1]])


def time_mix(get, z, v_first):
    """What the attention layer adds to x, and its v of layer 0. get("w0") is a tensor; z is [tokens][width]."""
    T, D = z.shape
    r_k = get("r_k")
    heads, N = r_k.shape
    shift = previous(z) - z
    mix = {c: z + shift * get("x_" + c).reshape(-1) for c in "rwkvag"}

    def low_rank(c, inner):
        return inner(mix[c] @ get(c + "1")) @ get(c + "2")

    r, k, v = (mix[c] @ get(name + ".weight").T for c, name in (("r", "receptance"), ("k", "key"), ("v", "value")))
    w = np.exp(-np.exp(-0.5) * sigmoid(get("w0").reshape(-1) + low_rank("w", np.tanh)))
    a = sigmoid(get("a0").reshape(-1) + low_rank("a", lambda x: x))
    g = low_rank("g", sigmoid)
    if v_first is None:
        v_first = v
    else:
        v = v + (v_first - v) * sigmoid(get("v0").reshape(-1) + mix["v"] @ get("v1") @ get("v2"))

    kk = (k * get("k_k").reshape(-1)).reshape(T, heads, N)
    kk = kk / np.maximum(np.linalg.norm(kk, axis=-1, keepdims=True), 1e-12)
    k = k * (1 + (a - 1) * get("k_a").reshape(-1))
    r, w, k, v, a = (x.reshape(T, heads, N) for x in (r, w, k, v, a))
    S = np.zeros((heads, N, N), z.dtype)  # [value][key]
    y = np.empty_like(v)
    for t in range(T):
        erase = np.einsum("hij,hj->hi", S, kk[t])
        S = S * w[t][:, None, :] - erase[:, :, None] * (kk[t] * a[t])[:, None, :] + v[t][:, :, None] * k[t][:, None, :]
        y[t] = np.einsum("hij,hj->hi", S, r[t])
    y = layer_norm(y, 1, 0, 64e-5).reshape(T, D) * get("ln_x.weight") + get("ln_x.bias")
    y = y + ((r * k * r_k).sum(-1, keepdims=True) * v).reshape(T, D)
    return (y * g) @ get("output.weight").T, v_first


def hidden_activations(get, tokens):
    """h [tokens][ffn width] of one layer after the other. get(name) is a tensor under its original name."""
    x = layer_norm(get("emb.weight", tokens), get("blocks.0.ln0.weight"), get("blocks.0.ln0.bias"))
    v_first, layer = None, 0
    while True:
        p = f"blocks.{layer}."
        try:
            z = layer_norm(x, get(p + "ln1.weight"), get(p + "ln1.bias"))
        except KeyError:
            return
        added, v_first = time_mix(lambda name: get(p + "att." + name), z, v_first)
        x = x + added
        z = layer_norm(x, get(p + "ln2.weight"), get(p + "ln2.bias"))
        z = z + (previous(z) - z) * get(p + "ffn.x_k").reshape(-1)
        h = np.maximum(z @ get(p + "ffn.key.weight").T, 0) ** 2
        yield h
        x = x + h @ get(p + "ffn.value.weight").T
        layer += 1


def open_safetensors(path):
    """get(name, rows=None) for hidden_activations, of a file in half precision."""
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length)

    def get(name, rows=slice(None)):
        entry = head[name]
        begin, end = entry["data_offsets"]
        return data[begin:end].view("<f2").reshape(entry["shape"])[rows].astype(np.float32)

    return get


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--tokens", type=int, default=12)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    tokens = np.random.default_rng(args.seed).integers(1, 60000, args.tokens)
    print("layer  all but the first token   first token   rms of h")
    for layer, h in enumerate(hidden_activations(open_safetensors(args.model), tokens)):
        print(f"{layer:5} {(h[1:] == 0).mean():25.4f} {(h[0] == 0).mean():13.4f} {np.sqrt((h**2).mean()):10.3f}")


if __name__ == "__main__":
    main()
