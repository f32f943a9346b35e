#!/usr/bin/env python3
"""Trains a model, on a CPU or a GPU, for a time or for a number of steps.

  train.py --data FOLDER --out FOLDER --minutes 116      as far as the time allows
  train.py --data FOLDER --out FOLDER --steps 5000

Learning rate and mix of the corpus follow the share that is done. With --minutes that is the time since the start, all of
it: on a shared machine only the time is known beforehand, and a machine that is lent for nine minutes takes it back then.

OUT gets checkpoint.pt every ten minutes, from which --resume goes on, best.pt, the weights whose validation losses were
lowest in sum, a line in log.jsonl with each (plot.py draws them) and the same prompts continued, in samples.txt. DATA is
what data.py made.
"""
import argparse
import json
import math
import os
import sys
import time

import torch

import data
import rwkv7
import sample
import tokenizer
import weights
from optimizer import CHOICES

PROMPTS = "Once upon a time", "The meaning of life is", "One day, a little goose"


def rate_scale(done, step, warm_up, level, floor):
    """Linear warm-up in steps, the peak until `level` is done, then a cosine down to `floor`."""
    falling = max(0.0, (done - level) / (1 - level))
    return min(1.0, (step + 1) / warm_up) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, falling))))


class Progress:
    """What is done, 0 to 1, of the minutes or of the steps, over all resumes; whichever ends first ends it."""

    def __init__(self, minutes, steps, step=0, seconds=0.0):
        self.total, self.steps, self.step = minutes * 60 if minutes else math.inf, steps or math.inf, step
        self.start = time.monotonic() - seconds

    def seconds(self):
        return time.monotonic() - self.start

    def done(self):
        return max(self.seconds() / self.total, self.step / self.steps)


def build(args):
    """(model, optimizer, its checkpoint or None)"""
    shape = {"vocab": len(tokenizer.read_vocab(os.path.join(args.data, "vocab.txt"))), "layers": args.layers,
             "D": args.width, "ranks": dict(zip("wavg", args.ranks))}
    path, old = os.path.join(args.out, "checkpoint.pt"), None
    if args.resume and os.path.exists(path):
        old = torch.load(path, map_location=args.device)
        if old["shape"] != shape:
            raise SystemExit(f"{path} holds the shape {old['shape']}, but {shape} is wanted")
        if old["optimizer"] != args.optimizer:
            raise SystemExit(f"{path} was trained with --optimizer {old['optimizer']}, not {args.optimizer}")
    model = rwkv7.Model(**shape, dropout=args.dropout)
    if old:
        model.load_state_dict(old["model"])
    elif args.init:
        w = weights.load(args.init)[0]
        model.load_state_dict({name: w[name].float().view(p.shape) for name, p in model.named_parameters()})
    model.to(args.device)
    optimizer = CHOICES[args.optimizer](model, **({"rate": args.rate} if args.rate else {}))
    if old:
        optimizer.restore(old["optimizers"])
    return model, optimizer, old


def make_fast(model, args):
    """Takes what this machine and this PyTorch have: everything here computes the same as without."""
    if args.device == "cpu" and not args.plain:
        try:
            import wkv_cpu
            rwkv7.TimeMix.wkv = staticmethod(wkv_cpu.wkv)
        except Exception as error:  # no compiler, or a PyTorch before 2.4
            print(f"the recurrence could not be compiled ({error}); its slower plain form will do", file=sys.stderr)
    if not args.eager and hasattr(torch, "compile"):
        import torch._dynamo as dynamo
        dynamo.config.suppress_errors = True  # where there is no compiler, as it is
        # Compiled a block at a time: blocks 1 to L-1 share one compilation.
        for block in model.blocks:
            block.compile(dynamic=False)
        model.cross_entropy = torch.compile(model.cross_entropy, dynamic=False)


@torch.no_grad()
def validate(model, loss_of, sets, rows):
    """Nats a token for each part."""
    model.eval()
    losses = {}
    for name, (tokens, targets) in sets.items():
        batches = [(tokens[i:i + rows], targets[i:i + rows]) for i in range(0, len(tokens), rows)]
        losses[name] = round(sum(loss_of(*batch).item() for batch in batches) / len(batches), 4)
    model.train()
    return losses


@torch.no_grad()
def write_samples(path, model, coder, step):
    w = {name: p.detach().float().cpu() for name, p in model.named_parameters()}
    with open(path, "a", encoding="utf-8") as f:
        for prompt in PROMPTS:
            text = sample.generate(w, coder, prompt, 80, temperature=0.8, top_p=0.8, seed=1, begin=True)
            f.write(f"step {step}: [{prompt}]{text}\n\n")


def save(path, content):
    torch.save(content, path + ".new")
    os.replace(path + ".new", path)


def parse():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--data", required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--minutes", type=float, help="since the program's start, and before its last resume")
    args.add_argument("--steps", type=int)
    args.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt, if there is one")
    args.add_argument("--init", metavar="MODEL", help="begin with the weights of this GGUF, not with random ones")
    args.add_argument("--layers", type=int, default=6)
    args.add_argument("--width", type=int, default=256)
    args.add_argument("--ranks", type=int, nargs=4, default=[32, 32, 32, 64], help="of decay, rate, value mix, gate")
    args.add_argument("--rows", type=int, help="of a step; default 8, on a GPU 64")
    args.add_argument("--length", type=int, default=512, help="of a row in tokens, a multiple of 16")
    args.add_argument("--optimizer", choices=CHOICES, default="muon")
    args.add_argument("--rate", type=float, help="at its peak; default 0.02 for muon, 2e-3 for adam")
    args.add_argument("--dropout", type=float, default=0.0, help="of what a block adds; against learning by heart")
    args.add_argument("--early", type=float, nargs=3, default=[0.82, 0.12, 0.06], metavar="SHARE",
                      help="of pg-children, tinystories-part, storybooks-ccby at the beginning; default %(default)s")
    args.add_argument("--late", type=float, nargs=3, default=[0.45, 0.40, 0.15], metavar="SHARE",
                      help="from 80 %% on; default %(default)s")
    args.add_argument("--warm-up", type=int, default=100, help="steps")
    args.add_argument("--threads", type=int, default=0)
    args.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--plain", action="store_true", help="on a CPU, too, the chunked recurrence in PyTorch")
    args.add_argument("--eager", action="store_true", help="no torch.compile")
    args.add_argument("--float32", action="store_true", help="no bfloat16 matrix products")
    args.add_argument("--save-every", type=float, default=10, help="minutes")
    args = args.parse_args()
    if not args.minutes and not args.steps:
        raise SystemExit("how long? give --minutes, or --steps")
    args.rows = args.rows or (8 if args.device == "cpu" else 64)
    return args


def main():
    started = time.monotonic()
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    model, optimizer, old = build(args)
    progress = Progress(args.minutes, args.steps, *((old["step"], old["seconds"]) if old else ()))
    progress.start -= time.monotonic() - started  # loading counts
    if progress.done() >= 1:
        print(f"{args.out}/checkpoint.pt has {progress.step} steps and {progress.seconds():.0f} s: nothing is left to do",
              file=sys.stderr)
        return
    coder = tokenizer.Tokenizer(tokenizer.read_vocab(os.path.join(args.data, "vocab.txt")))
    mix = data.Mix(args.data, args.length, args.seed + progress.step, args.early, args.late)
    sets = data.validation(args.data, args.length, max(16, args.rows))
    make_fast(model, args)

    def loss_of(tokens, targets):
        tokens, targets = (torch.from_numpy(x).to(args.device) for x in (tokens, targets))
        with torch.autocast(args.device, torch.bfloat16, enabled=not args.float32):
            return model.loss(tokens, targets)

    best = old["best"] if old else {}  # the lowest sum of validation losses, and when samples were written

    def keep(mean):
        note = {"step": progress.step, "tokens": progress.step * args.rows * args.length,
                "seconds": round(progress.seconds()), "train": round(mean, 4),
                "valid": validate(model, loss_of, sets, args.rows), "passes": [round(p.passes(), 2) for p in mix.parts]}
        print(json.dumps(note), flush=True)
        with open(os.path.join(args.out, "log.jsonl"), "a") as f:
            f.write(json.dumps(note) + "\n")
        content = {"model": model.state_dict(), "shape": model.shape, "step": progress.step, "note": note}
        score = sum(note["valid"].values())
        if score < best.get("score", math.inf):
            best["score"] = score
            save(os.path.join(args.out, "best.pt"), content)
        save(os.path.join(args.out, "checkpoint.pt"),
             {**content, "optimizer": args.optimizer, "optimizers": optimizer.state(), "seconds": progress.seconds(),
              "best": best})
        if progress.done() >= 1 or progress.seconds() - best.get("sampled", 0) > 300:  # which takes some seconds
            best["sampled"] = progress.seconds()
            write_samples(os.path.join(args.out, "samples.txt"), model, coder, progress.step)

    print(f"{sum(p.numel() for p in model.parameters())} parameters, {args.rows} x {args.length} tokens a step on "
          f"{args.device}", flush=True)
    saved, mean, window = progress.seconds(), None, (progress.seconds(), progress.step)
    while progress.done() < 1:
        tokens, targets = mix.batch(args.rows, progress.done())
        loss = loss_of(tokens, targets)
        loss.backward()
        scale = rate_scale(progress.done(), progress.step, args.warm_up, optimizer.level, optimizer.floor)
        norm = optimizer.step(scale)
        # Stays on the device: to look at it is to wait for it, and a GPU is then idle until it has work again.
        loss = loss.detach()
        mean = loss if mean is None else mean.lerp(loss, 0.02)
        progress.step += 1
        due = progress.done() >= 1 or progress.seconds() - saved > args.save_every * 60
        if due or progress.step % 20 == 0:
            if not math.isfinite(mean.item()):
                raise SystemExit(f"the loss is {loss.item()} by step {progress.step}: the last checkpoint is from before it")
        if progress.step % 20 == 0:
            now = progress.seconds()
            speed = (progress.step - window[1]) * args.rows * args.length / (now - window[0])
            window = (now, progress.step)
            print(f"step {progress.step} {100 * progress.done():.0f} % {now:.0f} s loss {loss.item():.3f} "
                  f"mean {mean.item():.3f} norm {norm.item():.2f} {speed:.0f} tokens/s", flush=True)
        if due:
            keep(mean.item())
            saved = progress.seconds()


if __name__ == "__main__":
    main()
