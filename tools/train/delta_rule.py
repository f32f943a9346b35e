#!/usr/bin/env python3
"""What the eraser is for: an inventory game, learnt with the delta rule and without it.

  delta_rule.py --out FOLDER                         trains both forms over all seeds, measures, writes FOLDER/results.json
  delta_rule.py --plot FOLDER/results.json --image delta-rule.svg
  delta_rule.py --show 3                             prints games as text
  delta_rule.py --check                              the game against an independent replay; the add-only form

A game is a line of words: `sword 1` sets, `use potion 3` subtracts, `potion ?` asks for the value at this place. The
answer is what the model has to predict at `?`; it is not part of the text, or every question would write the value
again. docs/delta-rule.md explains the rest and holds the results.
"""
import argparse
import bisect
import json
import math
import os
import random
import time
from collections import namedtuple

import numpy as np
import torch

import rwkv7

ITEMS = """sword potion torch rope shield arrow bread key lamp map coin gem ring cloak boots helmet axe bow dagger
    scroll herb apple flask horn drum cup bell book candle feather shell stone""".split()
VALUES = 20  # 0 to 19; a number is one word
WORDS = ITEMS + [str(n) for n in range(VALUES)] + ["use", "?"]
ID = {word: i for i, word in enumerate(WORDS)}
ZERO = ID["0"]

FORMS = {"delta": True, "add-only": False}  # erase
TRAINING = "layers", "width", "ranks", "rows", "length", "items", "use_share", "steps", "rate", "adam_share"
KINDS = "first", "overwritten", "used"
# Lower bounds: words between the number last written and the "?", and sets of the item so far less one.
DISTANCES = 1, 8, 32, 128, 256, 512, 1024, 2048
OVERWRITES = 0, 1, 2, 4, 8, 16, 32

# at: place of the "?". answer: the value there. stale: the value before the item's last change, None if that was its
# first. distance: words from the last changed number to the "?". sets: so far, the first included. used: since the last set.
Question = namedtuple("Question", "at answer stale distance sets used")


class Item:
    def __init__(self):
        self.value, self.stale, self.at = None, None, None
        self.sets, self.used, self.asleep_until = 0, 0, 0


def play(rng, length, count, use_share):
    """(words [length], questions) of one game with `count` items, all set once at its beginning.

    Of what follows 40 % asks for any item. The rest changes an item that is awake; each third change sends its item to
    sleep, for a time drawn evenly on a logarithmic scale up to 4096 words, but a quarter of the items is always awake.
    So what rests must be kept while its neighbours are replaced, and any number of overwrites comes with any distance.
    The rules do not know `length`: a short game is the beginning of a long one.
    """
    names = rng.sample(ITEMS, count)
    items = {name: Item() for name in names}
    words, questions = [], []

    def change(name, use):
        item = items[name]
        item.stale = item.value
        if use:
            amount = rng.randint(1, item.value)
            words.extend(("use", name, str(amount)))
            item.value, item.used = item.value - amount, item.used + 1
        else:
            item.value = rng.choice([n for n in range(VALUES) if n != item.value])
            words.extend((name, str(item.value)))
            item.sets, item.used = item.sets + 1, 0
        item.at = len(words) - 1

    for name in names:
        change(name, use=False)
    while len(words) < length:
        if rng.random() < 0.4:
            name = rng.choice(names)
            item = items[name]
            words.extend((name, "?"))
            at = len(words) - 1
            questions.append(Question(at, item.value, item.stale, at - item.at, item.sets, item.used))
            continue
        order = sorted(names, key=lambda n: items[n].asleep_until)
        awake = [n for n in order if items[n].asleep_until <= len(words)]
        name = rng.choice(awake if len(awake) * 4 >= count else order[:math.ceil(count / 4)])
        change(name, use=bool(items[name].value) and rng.random() < use_share)
        if rng.random() < 1 / 3:
            items[name].asleep_until = len(words) + int(math.exp(rng.uniform(math.log(16), math.log(4096))))
    return words[:length], [q for q in questions if q.at < length]


def tensors(games):
    """Tokens [B, T] and, at each "?", the token of the answer; -100, which the loss leaves out, elsewhere."""
    tokens = torch.tensor([[ID[w] for w in words] for words, _ in games])
    targets = torch.full_like(tokens, -100)
    for row, (_, questions) in enumerate(games):
        for q in questions:
            targets[row, q.at] = ZERO + q.answer
    return tokens, targets


def train(args, form, seed):
    """A model after args.steps steps; both forms see the same games from the same initial weights."""
    from optimizer import Muon

    torch.manual_seed(seed)
    model = rwkv7.Model(len(WORDS), args.layers, args.width, dict(zip("wavg", args.ranks)), erase=FORMS[form])
    optimizers = Muon(model, args.rate, decay=0.0, adam_rate=args.rate * args.adam_share)
    rng = random.Random(f"train {seed}")
    begin, mean = time.process_time(), None
    for step in range(args.steps):
        games = [play(rng, args.length, rng.randint(4, args.items), args.use_share) for _ in range(args.rows)]
        loss = model.loss(*tensors(games))
        loss.backward()
        falling = max(0.0, (step / args.steps - 0.4) / 0.6)
        optimizers.step(min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling))))
        mean = loss.item() if mean is None else mean + 0.05 * (loss.item() - mean)
        if (step + 1) % 50 == 0:
            print(f"{form} seed {seed} step {step + 1} loss {mean:.3f}, {time.process_time() - begin:.0f} s", flush=True)
    return model, {"loss": round(mean, 4), "cpu_seconds": round(time.process_time() - begin)}


def kind_of(q):
    return KINDS[2] if q.used else KINDS[1] if q.sets > 1 else KINDS[0]


def bucket(bounds, n):
    return max(bound for bound in bounds if bound <= n)


@torch.no_grad()
def half_lives(model, count, use_share):
    """Per layer, deciles over channels: words after which decay alone halves what a state holds, in one game."""
    found, wkv = [], rwkv7.TimeMix.wkv

    def listening(r, logw, k, v, a, b):
        found.append(-math.log(2) / logw.mean((0, 1)).flatten())
        return wkv(r, logw, k, v, a, b)

    rwkv7.TimeMix.wkv = staticmethod(listening)
    model(tensors([play(random.Random("half-lives"), 1024, count, use_share)])[0])
    rwkv7.TimeMix.wkv = staticmethod(wkv)
    return [[round(float(x), 1) for x in layer.quantile(torch.linspace(0.1, 0.9, 9))] for layer in found]


@torch.no_grad()
def measure(model, length, count, games, seed, use_share):
    """Per cell "kind/by/bucket" a table [games, 3] of questions asked, answered right, answered with the stale value."""
    rng = random.Random(f"test {length} {count} {seed}")
    cells = {}
    per_batch = max(1, 16384 // length)
    for first in range(0, games, per_batch):
        batch = [play(rng, length, count, use_share) for _ in range(min(per_batch, games - first))]
        logits = model(tensors(batch)[0])[:, :, ZERO:ZERO + VALUES]
        guesses = logits.argmax(-1).tolist()
        for i, (_, questions) in enumerate(batch):
            for q in questions:
                guess, kind = guesses[i][q.at], kind_of(q)
                tally = np.array([1, guess == q.answer, q.stale is not None and guess == q.stale])
                for by in ("all", f"distance/{bucket(DISTANCES, q.distance)}",
                           f"overwrites/{bucket(OVERWRITES, q.sets - 1)}"):
                    cells.setdefault(f"{kind}/{by}", np.zeros((games, 3), int))[first + i] += tally
    return cells


def interval(table, rng):
    """95 % interval of the share right: whole games are drawn again, because questions of one game are not independent."""
    draws = rng.integers(len(table), size=(1000, len(table)))
    asked, right, _ = table[draws].sum(1).T
    return [round(float(x), 4) for x in np.quantile(right[asked > 0] / asked[asked > 0], (0.025, 0.975))]


def summary(tables):
    """One cell over seeds: counts, recall, its interval over games, recall of every seed, share of stale among wrong."""
    table = np.concatenate(tables)
    asked, right, stale = (int(x) for x in table.sum(0))
    recall = lambda t: round(float(t[:, 1].sum() / max(1, t[:, 0].sum())), 4)
    return {"asked": asked, "right": right, "stale": stale, "recall": recall(table),
            "interval": interval(table, np.random.default_rng(1)), "seeds": [recall(t) for t in tables]}


def run(args):
    if not args.plain:
        import wkv_cpu

        rwkv7.TimeMix.wkv = staticmethod(wkv_cpu.wkv)
    os.makedirs(args.out, exist_ok=True)
    settings = {name: getattr(args, name) for name in TRAINING}
    results = {"settings": {**settings, "seeds": args.seeds, "test_words": args.test_words}, "training": {}, "tests": []}
    models = {}
    for seed in args.seeds:
        for form in args.forms:
            path = os.path.join(args.out, f"{form}-{seed}.pt")
            if os.path.exists(path):
                saved = torch.load(path)
                if saved["settings"] != settings:
                    raise SystemExit(f"{path} was trained with {saved['settings']}, now asked for are {settings}; "
                                     "take another --out")
                model = rwkv7.Model(**saved["shape"], erase=FORMS[form])
                model.load_state_dict(saved["model"])
                note = saved["note"]
            else:
                model, note = train(args, form, seed)
                torch.save({"model": model.state_dict(), "shape": model.shape, "settings": settings, "note": note}, path)
            note["half_lives"] = half_lives(model, args.items, args.use_share)
            models[form, seed] = model
            results["training"][f"{form}-{seed}"] = note
    for length, count in args.tests:
        for form in args.forms:
            games = max(16, args.test_words // length)
            tables = [measure(models[form, seed], length, count, games, seed, args.use_share) for seed in args.seeds]
            cells = {}
            for name in sorted(set().union(*tables)):
                cells[name] = summary([t[name] for t in tables if name in t])
            results["tests"].append({"form": form, "length": length, "items": count, "games": games * len(args.seeds),
                                     "cells": cells})
            line = ", ".join(f"{kind} {cells[f'{kind}/all']['recall']:.3f}" for kind in KINDS if f"{kind}/all" in cells)
            print(f"{form} length {length} items {count}: {line}", flush=True)
    path = os.path.join(args.out, "results.json")
    with open(path, "w") as f:
        json.dump(results, f, separators=(",", ":"))
    print(path)


def plot(results, image):
    import matplotlib

    matplotlib.use("svg" if image.endswith(".svg") else "agg")
    import matplotlib.pyplot as plt

    with open(results) as f:
        results = json.load(f)
    longest = max(test["length"] for test in results["tests"])
    count, trained = results["settings"]["items"], results["settings"]["length"]
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "delta-rule",
                         "axes.spines.top": False, "axes.spines.right": False})
    figure, panels = plt.subplots(1, 3, figsize=(11.5, 3.7), sharey=True, facecolor="white")
    contents = (("overwritten (dotted: set once)", ("overwritten", "first"), "distance", DISTANCES),
                ("subtracted from", ("used",), "distance", DISTANCES),
                ("overwritten", ("overwritten",), "overwrites", OVERWRITES[1:]))
    colours = {"delta": "#0b6e4f", "add-only": "#c0392b"}
    tests = [t for t in results["tests"] if (t["length"], t["items"]) == (longest, count)]
    for axes, (title, kinds, by, bounds) in zip(panels, contents):
        axes.set_title(title, fontsize=9)
        for test in tests:
            for kind in kinds:
                cells = [(i, test["cells"].get(f"{kind}/{by}/{bound}")) for i, bound in enumerate(bounds)]
                cells = [(i, cell) for i, cell in cells if cell and cell["asked"] >= 50]
                x, colour = [i for i, _ in cells], colours[test["form"]]
                axes.plot(x, [cell["recall"] for _, cell in cells], ":" if kind == "first" else "-", marker="o",
                          markersize=3, color=colour, label=test["form"] if kind != "first" else None)
                axes.fill_between(x, [min(cell["seeds"]) for _, cell in cells], [max(cell["seeds"]) for _, cell in cells],
                                  color=colour, alpha=0.15, lw=0)
        axes.axhline(1 / VALUES, color="#888888", lw=0.8, ls="--")
        last = f"{bounds[-1]}\u2013{longest - 1}" if by == "distance" else f"{bounds[-1]}+"
        names = [f"{x}" if y == x + 1 else f"{x}\u2013{y - 1}" for x, y in zip(bounds, bounds[1:])] + [last]
        axes.set_xticks(range(len(bounds)), names, rotation=35)
        if by == "distance":
            axes.set_xlabel("words between last change and question")
            axes.axvspan(bisect.bisect_left(DISTANCES, trained) - 0.5, len(DISTANCES) - 0.5, color="#eeeeee", zorder=0)
            axes.text(len(DISTANCES) - 0.6, 1.04, "longer than in training", ha="right", fontsize=8, color="#555555")
        else:
            axes.set_xlabel("overwrites of the item before the question")
    panels[0].set_ylim(0, 1.1)
    panels[0].set_ylabel("answers right")
    panels[2].text(len(OVERWRITES) - 2, 1 / VALUES + 0.015, "chance", ha="right", fontsize=8, color="#666666")
    panels[0].legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 0.08))
    figure.suptitle(f"Games of {longest} words with {count} items, trained on {trained} words", fontsize=10)
    figure.tight_layout()
    figure.savefig(image, metadata={"Date": None} if image.endswith(".svg") else None)


def replay(words, at):
    """(value, distance) asked at `at`, read backwards from there: a second opinion on play()."""
    name, taken, last = words[at - 1], 0, None
    for i in range(at - 2, 0, -1):
        if words[i - 1] != name or words[i] == "?":
            continue
        last = i if last is None else last
        if i > 1 and words[i - 2] == "use":
            taken += int(words[i])
        else:
            return int(words[i]) - taken, at - last
    raise AssertionError(f"{name} is asked for at word {at} and never set")


def check():
    rng = random.Random(1)
    kinds = {kind: 0 for kind in KINDS}
    for count, length in ((4, 256), (16, 256), (32, 512), (16, 2048)):
        for _ in range(10):
            words, questions = play(rng, length, count, 0.25)
            assert len(words) == length and all(word in ID for word in words)
            assert [q.at for q in questions] == [i for i, word in enumerate(words) if word == "?"]
            for q in questions:
                assert (q.answer, q.distance) == replay(words, q.at), (words[:q.at + 1], q)
                assert 0 <= q.answer < VALUES and q.stale != q.answer
                assert (q.stale is None) == (kind_of(q) == "first")
                kinds[kind_of(q)] += 1
            short = play(random.Random(length), 128, count, 0.25)
            assert short[0] == play(random.Random(length), length, count, 0.25)[0][:128]
    print("questions that an independent replay answers alike:", kinds)
    assert min(kinds.values()) > 100

    tokens, targets = tensors([play(rng, 64, 4, 0.25) for _ in range(2)])
    assert (targets[tokens == ID["?"]] >= ZERO).all() and (targets[tokens != ID["?"]] == -100).all()

    # Without erasing, the removal key counts for nothing and only sums are left; with it, it counts.
    for erase in FORMS.values():
        torch.manual_seed(1)
        model = rwkv7.Model(len(WORDS), 2, 64, dict(zip("wavg", (8, 8, 8, 8))), erase=erase)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.05)
            before = model(tokens)
            for block in model.blocks:
                block.att.k_k.copy_(torch.randn_like(block.att.k_k))
            change = (model(tokens) - before).abs().max().item()
        print(f"erase={erase}: another removal key changes logits by {change:.1e}")
        assert (change > 1e-3) == erase


def pair(text):
    length, count = text.split("x")
    return int(length), int(count)


def parse():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", help="folder; models already in it are not trained again")
    args.add_argument("--plot", metavar="RESULTS", help="results.json to plot into --image")
    args.add_argument("--image", default="delta-rule.svg")
    args.add_argument("--show", type=int, metavar="N", help="print N games")
    args.add_argument("--check", action="store_true")
    args.add_argument("--layers", type=int, default=2)
    args.add_argument("--width", type=int, default=64)
    args.add_argument("--ranks", type=int, nargs=4, default=[16, 16, 16, 16], help="of decay, rate, value mix, gate")
    args.add_argument("--rows", type=int, default=16)
    args.add_argument("--length", type=int, default=256, help="words of a game in training")
    args.add_argument("--items", type=int, default=16, help="most of a game in training, 4 the least")
    args.add_argument("--use-share", type=float, default=0.25, help="of the changes")
    args.add_argument("--steps", type=int, default=1500)
    args.add_argument("--rate", type=float, default=0.02, help="Muon's")
    args.add_argument("--adam-share", type=float, default=0.15, help="Adam's rate as a share of it")
    args.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    args.add_argument("--seeds", type=int, nargs="+", default=[1])
    args.add_argument("--tests", type=pair, nargs="+", metavar="LENGTHxITEMS",
                      default=[(256, 16), (1024, 16), (4096, 4), (4096, 16), (4096, 32)])
    args.add_argument("--test-words", type=int, default=65536, help="of the games of one test and seed together")
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--plain", action="store_true", help="chunked recurrence in PyTorch, no compiled operator")
    return args.parse_args()


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    if args.check:
        check()
    elif args.show:
        for i in range(args.show):
            words, questions = play(random.Random(i), 96, 5, args.use_share)
            answers = {q.at: f"? [{q.answer}]" for q in questions}
            print(" ".join(answers.get(at, word) for at, word in enumerate(words)), end="\n\n")
    elif args.plot:
        plot(args.plot, args.image)
    elif args.out:
        run(args)
    else:
        raise SystemExit("one of --out, --plot, --show, --check is needed")


if __name__ == "__main__":
    main()
