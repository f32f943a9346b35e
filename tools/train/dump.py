#!/usr/bin/env python3
"""Golden vectors for the engine's tests: a GGUF's own weights, as stored, run by the step form in float64.

  dump.py models/default.gguf --out models/default.golden.json

Per prompt: its ids, at its last position the largest logits, the sum and the maximum, and the ids of the greedy
continuation with the smallest lead of a winner over the second (a near tie may fall the other way in float32). For the
first prompt all logits. A continuation goes on through an end of text, so that all have the same length.
"""
import argparse
import hashlib
import json

import torch

import rwkv7
import tokenizer
import weights

# (text, whether end of text goes before it)
PROMPTS = (("Once upon a time", True), ("The meaning of life is", True), ("The little goose looked at the", False))


def golden(w, coder, prompt, begin, count):
    step = rwkv7.Stepper(w, torch.float64)
    ids = ([tokenizer.END_OF_TEXT] if begin else []) + coder.encode(prompt.encode())
    for i in ids:
        logits = step(i)
    top, top_ids = logits.topk(8)
    first, out, leads = logits, [], []
    for _ in range(count):
        best = logits.topk(2)
        out.append(int(best.indices[0]))
        leads.append(float(best.values[0] - best.values[1]))
        logits = step(out[-1])
    return first, {
        "prompt": prompt,
        "prompt_ids": ids,
        "top_ids": top_ids.tolist(),
        "top_logits": top.tolist(),
        "logits_sum": float(first.sum()),
        "logits_max": float(first.max()),
        "continuation_ids": out,
        "continuation_text": coder.decode(out).decode(errors="replace"),
        "smallest_lead": min(leads),
        "smallest_lead_at": leads.index(min(leads)),
    }


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--out", required=True)
    args.add_argument("-n", type=int, default=64)
    args = args.parse_args()
    w, coder = weights.load(args.model)
    with open(args.model, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    cases, full = [], None
    with torch.no_grad():
        for prompt, begin in PROMPTS:
            logits, case = golden(w, coder, prompt, begin, args.n)
            if full is None:
                full = case["logits"] = [round(x, 9) for x in logits.tolist()]
            cases.append(case)
            print(f"{prompt!r}: {case['continuation_text']!r}, smallest lead {case['smallest_lead']:.2e}")
    with open(args.out, "w") as f:
        json.dump({"model_sha256": digest, "arithmetic": "float64, one token at a time",
                   "stops_at_end_of_text": False, "cases": cases}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
