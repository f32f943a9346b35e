#!/usr/bin/env python3
"""Teaches a model not to say long stretches of its training texts by heart.

  unlearn.py MODEL.gguf --data FOLDER --corpus FOLDER --out FOLDER --minutes 3

Round by round the model writes texts, as the program would draw them, and steps towards what the MODEL.gguf that it began as
says of every next token, less what would go on with a stretch of a training text: from `--soft` characters on where there
is another way to go on, from `--hard` on in any case. The other tokens keep their shares. So nothing is learnt but where to
leave the beaten path; how to go on is the model's own.

OUT gets checkpoint.pt, for export.py, and a line in log.jsonl with every round, with validation losses in every tenth: a
text must not pay for being its own with its language.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import corpus
import data
import evaluate
import rwkv7
import tokenizer
import weights
from train import Progress, make_fast, save, validate

PASS = 128  # texts of one step
LIMIT = 50  # characters that no text should share with a training text
CANDIDATES = 12  # tokens that are looked up; the others are too rare to go on with anything
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64


def powers(base, count):
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


class Text:
    """Hashes of any of its stretches: modulo 2^64, letters times powers of BASE."""

    def __init__(self, text):
        self.forth, self.back = powers(BASE, len(text) + 1), powers(pow(BASE, -1, 1 << 64), len(text) + 1)
        letters = np.frombuffer(text, np.uint8).astype(np.uint64) + np.uint64(1)
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(letters * self.forth[:-1], dtype=np.uint64)])

    def hashes(self, begins, ends):
        return (self.sums[ends] - self.sums[begins]) * self.back[begins]

    def windows(self, size):
        begins = np.arange(max(0, len(self.sums) - size))
        return self.hashes(begins, begins + size)


def among(hashes, known):
    return known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes


class Paths:
    """The training texts, and which tokens go on with one of them."""

    def __init__(self, folder, parts, sizes, coder):
        text = Text(b"\n".join(document for part in parts for document in corpus.read_documents(folder, part, "train")))
        self.known = {size: np.unique(text.windows(size)) for size in sizes}
        self.tokens = coder.tokens
        self.lengths = np.array([len(token) for token in coder.tokens])
        self.hashes = np.array([Text(token).hashes(0, len(token)) for token in coder.tokens])

    def text(self, row):
        """(its text, how many characters are behind each token), END_OF_TEXT being none."""
        return Text(b"".join(self.tokens[i] for i in row)), np.cumsum(self.lengths[row])

    def goes_on(self, row, candidates, size):
        """[T, n] for tokens row [T] and what might follow each of them, [T, n]: are the last `size` characters then in a
        training text?"""
        text, ends = self.text(row)
        before = size - self.lengths[candidates]
        begins = ends[:, None] - before
        possible = (begins >= 0) & (before > 0) & (before < size)
        begins, before = np.where(possible, begins, 0), np.where(possible, before, 0)
        hashes = text.hashes(begins, begins + before) + self.hashes[candidates] * powers(BASE, size)[before]
        return possible & among(hashes, self.known[size])

    def copies(self, row, size):
        return bool(among(self.text(row)[0].windows(size), self.known[size]).any())


def nucleus(logits, top_p, random):
    """One token a row, at temperature 1."""
    p, ids = torch.softmax(logits, -1).sort(-1, descending=True)
    p[p.cumsum(-1) - p >= top_p] = 0  # the one that crosses the line stays
    return ids.gather(-1, torch.multinomial(p, 1, generator=random)).squeeze(-1)


@torch.no_grad()
def write(model, prompts, length, top_p, random):
    """[rows, length + 1] tokens: END_OF_TEXT, the prompt, what the model writes, and END_OF_TEXT when it has ended."""
    device = model.emb.weight.device
    step = rwkv7.Stepper(dict(model.named_parameters()), torch.float32, len(prompts))
    given = np.zeros((len(prompts), 1 + max(map(len, prompts))), np.int64)
    for row, prompt in zip(given, prompts):
        row[1:1 + len(prompt)] = prompt
    sizes = torch.tensor([1 + len(p) for p in prompts], device=device)
    given = torch.from_numpy(given).to(device)
    tokens, token = [given[:, 0]], given[:, 0]
    ended = torch.zeros_like(token, dtype=torch.bool)
    for at in range(1, length + 1):
        drawn = nucleus(step(token), top_p, random).masked_fill(ended, tokenizer.END_OF_TEXT)
        if at < given.shape[1]:
            drawn = torch.where(at < sizes, given[:, at], drawn)
        ended |= (drawn == tokenizer.END_OF_TEXT) & (at >= sizes)
        token = drawn
        tokens.append(token)
    return torch.stack(tokens, 1)


def off_the_path(logits, rows, paths, args):
    """log of what is wanted of the next tokens, from the reference's logits [rows, T, V] behind rows [rows, T]."""
    wanted = torch.log_softmax(logits.float(), -1)
    p, ids = wanted.exp().topk(CANDIDATES, -1)
    p, candidates = p.cpu().numpy(), ids.cpu().numpy()
    struck = np.zeros(candidates.shape, bool)
    for row, ps, ways, strike in zip(rows.cpu().numpy(), p, candidates, struck):
        soft, hard = (paths.goes_on(row, ways, size) for size in (args.soft, args.hard))
        others = 1 - (ps * soft).sum(-1, keepdims=True)
        strike[:] = hard | (soft & (others >= args.others))
    less = torch.from_numpy(struck).to(wanted.device) * math.log(args.left)
    return torch.log_softmax(wanted.scatter_add(-1, ids, less.float()), -1), float(struck.any(-1).mean())


def main():
    started = time.monotonic()
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--data", required=True)
    args.add_argument("--corpus", required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--minutes", type=float, help="since the program's start")
    args.add_argument("--rounds", type=int)
    args.add_argument("--rows", type=int, help="texts a round; default 128, on a GPU 1024")
    args.add_argument("--length", type=int, default=256, help="of a text in tokens, a multiple of 16")
    args.add_argument("--top-p", type=float, default=0.7, help="texts are drawn at temperature 1")
    args.add_argument("--rate", type=float, default=5e-4, help="of Adam, at its peak")
    args.add_argument("--soft", type=int, default=32, help="characters")
    args.add_argument("--others", type=float, default=0.1, help="at least so likely is another way")
    args.add_argument("--hard", type=int, default=42, help="characters")
    args.add_argument("--left", type=float, default=0.01, help="of the probability of what would go on")
    args.add_argument("--parts", nargs="+", default=["tinystories-part", "storybooks-ccby"],
                      help="of the corpus that are known by heart; default %(default)s")
    args.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--plain", action="store_true", help="on a CPU, too, the chunked recurrence in PyTorch")
    args = args.parse_args()
    if not args.minutes and not args.rounds:
        raise SystemExit("how long? give --minutes, or --rounds")
    args.rows = args.rows or (128 if args.device == "cpu" else 1024)
    args.eager = True
    os.makedirs(args.out, exist_ok=True)

    w, coder = weights.load(args.model)
    model, reference = evaluate.model_of(w).to(args.device), evaluate.model_of(w).to(args.device)
    make_fast(model, args)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.rate, betas=(0.9, 0.95))
    paths = Paths(args.corpus, args.parts, {args.soft, args.hard, LIMIT}, coder)
    parts = [data.Part(np.load(os.path.join(args.data, f"{part}.train.npy")), args.length, args.seed) for part in corpus.PARTS]
    sets = data.validation(args.data, 2 * args.length, 32)
    numbers = np.random.default_rng(args.seed)
    random = torch.Generator(args.device).manual_seed(args.seed)

    def loss_of(tokens, targets):
        tokens, targets = (torch.from_numpy(x).to(args.device) for x in (tokens, targets))
        return model.loss(tokens, targets)

    def a_prompt():
        """How one of the training texts begins."""
        part = parts[numbers.choice(3, p=[0.1, 0.7, 0.2])]
        document = part.documents[numbers.integers(len(part.documents))]
        return document[1:1 + numbers.integers(1, 9)].tolist()

    progress = Progress(args.minutes, args.rounds)
    progress.start = started  # loading counts
    while progress.done() < 1:
        prompts = [a_prompt() for _ in range(args.rows)]
        rows = write(model, prompts, args.length, args.top_p, random)
        copies = np.mean([paths.copies(row, LIMIT) for row in rows.cpu().numpy()])
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (progress.step + 1) / 3) * max(0.05, 1 - progress.done())
        # What was given, and what is behind the end, teaches nothing.
        at = torch.arange(1, args.length + 1, device=args.device)
        given = torch.tensor([len(prompt) for prompt in prompts], device=args.device)
        ended = (rows[:, 1:] == tokenizer.END_OF_TEXT) & (at > given[:, None])
        counts = (at > given[:, None]) & (ended.cumsum(-1) - ended.int() == 0)
        distances, struck = [], []
        for first in range(0, args.rows, PASS):
            tokens, count = rows[first:first + PASS, :-1], counts[first:first + PASS]
            with torch.no_grad():
                wanted, share = off_the_path(reference(tokens), tokens, paths, args)
            found = torch.log_softmax(model(tokens).float(), -1)
            loss = F.kl_div(found, wanted, reduction="none", log_target=True).sum(-1)[count].mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            distances.append(loss.item())
            struck.append(share)
        note = {"step": progress.step, "seconds": round(progress.seconds()), "texts that copy": round(copies, 4),
                "struck": round(np.mean(struck), 4), "distance": round(np.mean(distances), 5)}
        if progress.step % 10 == 0:
            note["valid"] = validate(model, loss_of, sets, 16)
        print(json.dumps(note), flush=True)
        with open(os.path.join(args.out, "log.jsonl"), "a") as f:
            f.write(json.dumps(note) + "\n")
        progress.step += 1
    save(os.path.join(args.out, "checkpoint.pt"), {"model": model.state_dict(), "shape": model.shape, "step": progress.step})


if __name__ == "__main__":
    main()
