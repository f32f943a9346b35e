#!/usr/bin/env python3
"""Trains a model for a given wall-clock time.

  train.py --data FOLDER --out FOLDER --minutes 85

The learning rate and the mix of the corpus follow the elapsed share of the time, not the step, because on a shared
machine only the time is known beforehand. It writes OUT/checkpoint.pt every few minutes, goes on from there when
started again with --resume, and notes every validation in OUT/log.jsonl.
"""
import argparse
import json
import math
import os
import time

import torch

import data
import rwkv7
from optimizer import Optimizers


def rate_scale(done, step, warm_up, floor=0.02):
    """Linear warm-up in steps, level for 40 % of the time, then a cosine down to `floor`."""
    falling = max(0.0, (done - 0.4) / 0.6)
    return min(1.0, (step + 1) / warm_up) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, falling))))


class Clock:
    """Seconds of training, without those spent before the first full step and in validation, over all resumes."""

    def __init__(self, minutes, seconds=0.0):
        self.total, self.before, self.since = minutes * 60, seconds, None

    def run(self):
        self.since = time.monotonic()

    def pause(self):
        self.before, self.since = self.seconds(), None

    def seconds(self):
        return self.before + (time.monotonic() - self.since if self.since else 0)

    def done(self):
        return self.seconds() / self.total


def make_model(args):
    ranks = dict(zip("wavg", args.ranks))
    return rwkv7.Model(args.vocab_size, args.layers, args.width, ranks)


@torch.no_grad()
def validate(loss_of, sets, rows):
    """Nats a token for each part."""
    losses = {}
    for name, (tokens, targets) in sets.items():
        batches = [(tokens[i:i + rows], targets[i:i + rows]) for i in range(0, len(tokens), rows)]
        losses[name] = round(sum(loss_of(*batch).item() for batch in batches) / len(batches), 4)
    return losses


def save(path, content):
    torch.save(content, path + ".new")
    os.replace(path + ".new", path)


def parse():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--data", required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--minutes", type=float, default=85)
    args.add_argument("--resume", action="store_true")
    args.add_argument("--vocab-size", type=int, default=2048)
    args.add_argument("--layers", type=int, default=6)
    args.add_argument("--width", type=int, default=192)
    args.add_argument("--ranks", type=int, nargs=4, default=[32, 32, 32, 64], help="of decay, rate, value mix, gate")
    args.add_argument("--rows", type=int, default=16)
    args.add_argument("--length", type=int, default=256)
    args.add_argument("--muon-rate", type=float, default=0.02)
    args.add_argument("--adam-rate", type=float, default=3e-3)
    args.add_argument("--decay", type=float, default=0.05)
    args.add_argument("--warm-up", type=int, default=100)
    args.add_argument("--threads", type=int, default=0)
    args.add_argument("--device", default="cpu", help="with cuda use --plain")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--plain", action="store_true", help="chunked recurrence in PyTorch, no compiled operator")
    args.add_argument("--eager", action="store_true", help="no torch.compile")
    args.add_argument("--float32", action="store_true", help="no bfloat16 matrix products")
    args.add_argument("--save-every", type=float, default=4, help="minutes")
    return args.parse_args()


def main():
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "checkpoint.pt")
    model, step, clock = make_model(args).to(args.device), 0, Clock(args.minutes)
    optimizers = Optimizers(model, args.muon_rate, args.adam_rate, args.decay)
    if args.resume and os.path.exists(path):
        old = torch.load(path, map_location=args.device)
        model.load_state_dict(old["model"])
        optimizers.restore(old["optimizers"])
        step, clock = old["step"], Clock(args.minutes, old["seconds"])
    mix = data.Mix(args.data, args.length, args.seed + step)
    sets = data.validation(args.data, args.length, 2 * args.rows)
    if not args.plain:
        import wkv_cpu
        rwkv7.TimeMix.wkv = staticmethod(wkv_cpu.wkv)
    if not args.eager:
        # Compiled a block at a time: blocks 1 to L-1 share one compilation.
        for block in model.blocks:
            block.compile(dynamic=False)
        model.cross_entropy = torch.compile(model.cross_entropy, dynamic=False)

    def loss_of(tokens, targets):
        tokens, targets = (torch.from_numpy(x).to(args.device) for x in (tokens, targets))
        with torch.autocast(args.device, torch.bfloat16, enabled=not args.float32):
            return model.loss(tokens, targets)

    print(f"{sum(p.numel() for p in model.parameters())} parameters, {args.rows} x {args.length} tokens a step", flush=True)
    last_save, mean, norm, window = clock.seconds(), None, 0.0, (0.0, step)
    while clock.done() < 1:
        tokens, targets = mix.batch(args.rows, clock.done())
        loss = loss_of(tokens, targets)
        loss.backward()
        norm = optimizers.step(rate_scale(clock.done(), step, args.warm_up))
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"loss {value} at step {step}")
        mean = value if mean is None else mean + 0.02 * (value - mean)
        step += 1
        if clock.since is None:  # the first step compiles
            clock.run()
            window = (clock.seconds(), step)
        if step % 20 == 0:
            speed = (step - window[1]) * args.rows * args.length / max(1e-9, clock.seconds() - window[0])
            window = (clock.seconds(), step)
            print(f"step {step} {clock.seconds():.0f} s loss {value:.3f} mean {mean:.3f} norm {norm:.2f} {speed:.0f} tokens/s",
                  flush=True)
        finished = clock.done() >= 1
        if finished or clock.seconds() - last_save > args.save_every * 60:
            clock.pause()
            note = {"step": step, "tokens": step * args.rows * args.length, "seconds": round(clock.seconds()),
                    "train": round(mean, 4), "valid": validate(loss_of, sets, args.rows),
                    "passes": [round(p.passes(), 2) for p in mix.parts]}
            print(json.dumps(note), flush=True)
            with open(os.path.join(args.out, "log.jsonl"), "a") as f:
                f.write(json.dumps(note) + "\n")
            save(path, {"model": model.state_dict(), "shape": model.shape, "optimizers": optimizers.state(),
                        "step": step, "seconds": clock.seconds(), "note": note})
            last_save = clock.seconds()
            if not finished:
                clock.run()
                window = (clock.seconds(), step)


if __name__ == "__main__":
    main()
