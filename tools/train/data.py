#!/usr/bin/env python3
"""Tokens on disk, and the rows a training step sees.

  data.py --corpus FOLDER --vocab vocab.txt --out FOLDER      tokenizes once: <part>.<split>.npy
                                                              and vocab.txt, so that OUT is all that training needs

Every document is stored behind an end-of-text token, so that the token means "a text begins" as well as "it ended".
"""
import argparse
import multiprocessing
import os
import shutil

import numpy as np

import corpus
import tokenizer


def tokenize(job):
    folder, vocab, part, split, out = job
    coder = tokenizer.Tokenizer(tokenizer.read_vocab(vocab))
    ids, size = [], 0
    for document in corpus.read_documents(folder, part, split):
        size += len(document)
        ids.append(tokenizer.END_OF_TEXT)
        ids.extend(coder.encode(document))
    np.save(os.path.join(out, f"{part}.{split}.npy"), np.array(ids, np.uint16))
    return f"{part}.{split}: {len(ids)} tokens, {size / len(ids):.3f} bytes a token"


class Part:
    """One part of the corpus as an endless sequence of rows; every pass has its own order of documents."""

    def __init__(self, ids, length, seed):
        starts = np.flatnonzero(ids == tokenizer.END_OF_TEXT)
        self.documents = np.split(ids, starts[1:])
        self.tokens, self.length, self.random = len(ids), length, np.random.default_rng(seed)
        self.rows = []
        self.drawn = 0

    def row(self):
        if not self.rows:
            order = self.random.permutation(len(self.documents))
            stream = np.concatenate([self.documents[i] for i in order])
            # Another cut each pass, so that a row does not come back as it was.
            stream = np.roll(stream, -self.random.integers(self.length))
            count = (len(stream) - 1) // self.length
            self.rows = [stream[i * self.length:(i + 1) * self.length + 1] for i in self.random.permutation(count)]
        self.drawn += 1
        return self.rows.pop()

    def passes(self):
        return self.drawn * self.length / self.tokens


class Mix:
    """Draws batches; `done` (0 to 1) moves the shares of pg-children, tinystories-part and storybooks-ccby, which add up
    to 1, from `early` to `late`, between 40 and 80 %."""

    def __init__(self, folder, length, seed, early, late):
        self.early, self.late = np.array(early), np.array(late)
        self.parts = [Part(np.load(os.path.join(folder, f"{name}.train.npy")), length, seed + i)
                      for i, name in enumerate(corpus.PARTS)]
        self.random = np.random.default_rng(seed + 100)

    def batch(self, rows, done):
        """(tokens [rows, length], targets [rows, length])"""
        late = min(1.0, max(0.0, (done - 0.4) / 0.4))
        shares = self.early + (self.late - self.early) * late
        which = self.random.choice(len(self.parts), rows, p=shares)
        block = np.stack([self.parts[i].row() for i in which]).astype(np.int64)
        return block[:, :-1], block[:, 1:]


def validation(folder, length, count):
    """Per part: (tokens, targets) of `count` rows, always the same; in a small part they overlap."""
    sets = {}
    for name in corpus.PARTS:
        ids = np.load(os.path.join(folder, f"{name}.valid.npy")).astype(np.int64)
        # Evenly over the part, because its beginning may be one book.
        at = np.linspace(0, len(ids) - 1 - length, count).astype(int)
        block = np.stack([ids[i:i + length + 1] for i in at])
        sets[name] = (block[:, :-1], block[:, 1:])
    return sets


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--corpus", required=True)
    args.add_argument("--vocab", required=True)
    args.add_argument("--out", required=True)
    args = args.parse_args()
    os.makedirs(args.out, exist_ok=True)
    shutil.copyfile(args.vocab, os.path.join(args.out, "vocab.txt"))
    jobs = [(args.corpus, args.vocab, part, split, args.out) for part in corpus.PARTS for split in ("train", "valid")]
    with multiprocessing.Pool() as pool:
        for line in pool.imap_unordered(tokenize, jobs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
