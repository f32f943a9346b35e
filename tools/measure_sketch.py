#!/usr/bin/env python3
"""How many groups of 16 weights change their order (src/model/model_sketch.h) when weights change by
a share of their size, for types of the weights before and after. Needs numpy.

Weights are Gaussian, in blocks of 32 whose largest one sets the scale, as in Q8_0 and Q4_0.
"""
import numpy as np


def rounded(weights, bits, scale=1.0):
    if bits == 16:
        return weights.astype(np.float16).astype(np.float64)
    levels = 2 ** (bits - 1)
    largest = np.take_along_axis(weights, np.abs(weights).argmax(1)[:, None], 1)
    step = largest / -levels * scale
    return np.clip(np.round(weights / step), -levels, levels - 1) * step


def changed_share(a, b):
    a, b = a.reshape(-1, 16), b.reshape(-1, 16)
    changed = np.zeros(len(a), bool)
    for i in range(16):
        for j in range(i):
            changed |= np.sign(a[:, i] - a[:, j]) * np.sign(b[:, i] - b[:, j]) < 0
    return changed.mean()


def main():
    random = np.random.default_rng(1)
    before = random.normal(size=(100_000, 32))
    noise = random.normal(size=before.shape)
    # Another program may choose another scale.
    pairs = [(16, 16), (16, 8), (8, 8), (16, 4), (8, 4), (4, 4)]
    print("change   " + "  ".join(f"{a:>2}, {b:>2} bits" for a, b in pairs))
    for change in (0, 0.001, 0.003, 0.01, 0.02, 0.05):
        after = before + change * noise
        shares = [changed_share(rounded(before, a, 0.97 if a == b else 1), rounded(after, b))
                  for a, b in pairs]
        print(f"{100 * change:4.1f} %   " + "  ".join(f"{share:11.5f}" for share in shares))


if __name__ == "__main__":
    main()
