#!/usr/bin/env python3
"""Writes text with the step form, to judge a model by reading.

  sample.py MODEL.gguf -p "Once upon a time"
  sample.py RUN/checkpoint.pt --vocab vocab.txt -p "The goose" --temperature 0
"""
import argparse
import sys

import torch

import rwkv7
import tokenizer
import weights


def choose(logits, temperature, top_p, random):
    """One id; temperature 0 is greedy. Top-p cuts the untempered distribution, as RWKV samplers do."""
    if temperature == 0:
        return int(logits.argmax())
    p = torch.softmax(logits.double(), -1)
    ordered, ids = p.sort(descending=True)
    kept = int((ordered.cumsum(-1) < top_p).sum()) + 1  # the one that crosses the line stays
    p = ordered[:kept] ** (1 / temperature)
    return int(ids[torch.multinomial(p / p.sum(), 1, generator=random)])


def generate(w, coder, prompt, count, temperature, top_p, seed, begin):
    random = torch.Generator().manual_seed(seed)
    step = rwkv7.Stepper(w, torch.float32)
    ids = ([tokenizer.END_OF_TEXT] if begin else []) + coder.encode(prompt.encode())
    for i in ids:
        logits = step(i)
    out = []
    for _ in range(count):
        out.append(choose(logits, temperature, top_p, random))
        if out[-1] == tokenizer.END_OF_TEXT:
            break
        logits = step(out[-1])
    return coder.decode(out).decode(errors="replace")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--vocab", help="needed for a checkpoint")
    args.add_argument("-p", "--prompt", action="append", help="may be given several times")
    args.add_argument("-n", type=int, default=100)
    args.add_argument("--temperature", type=float, default=0.8)
    args.add_argument("--top-p", type=float, default=0.8)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--no-begin", action="store_true", help="do not put end of text before the prompt")
    args = args.parse_args()
    w, coder = weights.load(args.model, args.vocab)
    with torch.no_grad():
        for prompt in args.prompt or ["Once upon a time"]:
            text = generate(w, coder, prompt, args.n, args.temperature, args.top_p, args.seed, not args.no_begin)
            sys.stdout.write(f"[{prompt}]{text}\n\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
