#!/usr/bin/env python3
"""Builds a vocabulary from the corpus: the 256 bytes, then the best pieces of words.

Byte pair encoding proposes more pieces than wanted. The tokenizer, however, does not merge: it takes the longest match.
So the proposal is pruned by what longest match really uses; pieces that served only as steps to longer ones go.

  build_vocab.py --corpus FOLDER --out vocab.txt
"""
import argparse
import collections
import re

import corpus
import tokenizer

# A piece never reaches over the end of a word, else common phrases would push words out of a small vocabulary.
# Sentence ends keep their newline and an opening quote, which saves a token in every line of dialogue.
WORD = re.compile(rb"'(?:s|t|re|ve|m|ll|d)\b| ?[A-Za-z]+| ?[0-9]| ?[^A-Za-z0-9\s]+\n?\"?|\s")


def count_words(folder, weights):
    counts = collections.Counter()
    for part in corpus.PARTS:
        of_part = collections.Counter()
        for document in corpus.read_documents(folder, part, "train"):
            of_part.update(WORD.findall(document + b"\n"))
        for word, n in of_part.items():
            counts[word] += n * weights[part]
    return counts


def propose(counts, wanted):
    """`wanted` pieces by byte pair encoding, most useful first."""
    words = [[bytes([b]) for b in word] for word in counts]
    weight = list(counts.values())
    pairs, users = collections.Counter(), collections.defaultdict(set)
    for i, pieces in enumerate(words):
        for pair in zip(pieces, pieces[1:]):
            pairs[pair] += weight[i]
            users[pair].add(i)
    found = []
    while len(found) < wanted:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        joined = best[0] + best[1]
        if joined not in found:
            found.append(joined)
        for i in users.pop(best):
            old, new, at = words[i], [], 0
            while at < len(old):
                if at + 1 < len(old) and (old[at], old[at + 1]) == best:
                    new.append(joined)
                    at += 2
                else:
                    new.append(old[at])
                    at += 1
            for pair in zip(old, old[1:]):
                pairs[pair] -= weight[i]
            for pair in zip(new, new[1:]):
                pairs[pair] += weight[i]
                users[pair].add(i)
            words[i] = new
        pairs.pop(best, None)
    return found


def arrange(pieces):
    """Ids as in the World vocabulary: end of text, the bytes, then by length and bytes."""
    return [b""] + [bytes([b]) for b in range(256)] + sorted(pieces, key=lambda p: (len(p), p))


def prune(pieces, counts, wanted):
    while len(pieces) > wanted:
        coder = tokenizer.Tokenizer(arrange(pieces))
        used = collections.Counter()
        for word, n in counts.items():
            for i in coder.encode(word):
                used[i] += n
        # In a few rounds, because each removal changes what the others are used for.
        drop = max(1, (len(pieces) - wanted + 2) // 3)
        pieces = sorted(pieces, key=lambda p: used[coder.id_of[p]])[drop:]
    return pieces


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--corpus", required=True)
    args.add_argument("--size", type=int, default=4096, help="entries, end of text and bytes included")
    args.add_argument("--out", required=True)
    args = args.parse_args()
    # The two small parts in simple English are what the model shall write, so their words count more.
    counts = count_words(args.corpus, {"pg-children": 1, "tinystories-part": 6, "storybooks-ccby": 6})
    counts = {word: n for word, n in counts.items() if n > 3}
    wanted = args.size - 257
    pieces = prune(propose(counts, wanted * 5 // 4), counts, wanted)
    tokenizer.write_vocab(args.out, arrange(pieces))
    print(f"{args.out}: {args.size} entries")


if __name__ == "__main__":
    main()
