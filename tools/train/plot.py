#!/usr/bin/env python3
"""Draws a run's log: validation of every part and the training loss, over tokens.

  plot.py RUN/log.jsonl --out ../../docs/images/training.svg [--anneals A/log.jsonl B/log.jsonl ...]

Anneals are runs that began from its best weights; they are drawn dashed, from there.
"""
import argparse
import json

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {"pg-children": "#4477aa", "tinystories-part": "#cc6677", "storybooks-ccby": "#228833"}


def read_log(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("log")
    args.add_argument("--anneals", nargs="+", default=[], metavar="LOG")
    args.add_argument("--out", required=True, help=".svg or .png")
    args.add_argument("--title", default="")
    args = args.parse_args()
    notes, anneals = read_log(args.log), [read_log(path) for path in args.anneals]
    best = min(notes, key=lambda n: sum(n["valid"].values()))
    # The same text however often it is drawn: no date, ids that do not change.
    plt.rcParams.update({"svg.hashsalt": "anser", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7, 4))
    tokens = [n["tokens"] / 1e6 for n in notes]
    for part in notes[-1]["valid"]:
        losses = [n["valid"][part] for n in notes]
        axes.plot(tokens, losses, color=COLOURS.get(part), label=f"{part}, held out")
        axes.annotate(f"{losses[-1]:.2f}", (tokens[-1], losses[-1]), xytext=(4, 0), textcoords="offset points",
                      va="center", color=COLOURS.get(part))
        for anneal in anneals:
            path = [best] + [{**n, "tokens": best["tokens"] + n["tokens"]} for n in anneal]
            axes.plot([n["tokens"] / 1e6 for n in path], [n["valid"][part] for n in path], color=COLOURS.get(part),
                      linestyle="--", linewidth=0.8)
    axes.plot(tokens, [n["train"] for n in notes], color="#999999", linestyle=":", label="training, the mix of its time")
    if anneals:
        axes.plot([], [], color="#666666", linestyle="--", linewidth=0.8, label="anneals from its best weights, held out")
    axes.set(xlabel="million tokens", ylabel="loss in nats a token", title=args.title)
    axes.set_ylim(top=min(6.0, max(max(n["valid"].values()) for n in notes) + 0.2))
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(args.out, metadata={"Date": None} if args.out.endswith(".svg") else None, dpi=120)


if __name__ == "__main__":
    main()
