#!/usr/bin/env python3
"""How long is the longest run of characters that a sample shares with the training texts?

  overlap.py --corpus FOLDER [--limit 50] SAMPLE.txt ...

Prints the longest run of each sample and the part it stands in; exit code 1 if one is as long as the limit.
"""
import argparse
import sys

import corpus


def longest_run(sample, text, least):
    """The longest substring of `sample`, of `least` characters or more, that `text` holds; empty if there is none.

    Every run of `least` covers a whole block of half as many at a multiple of that in the sample, so only those are searched.
    """
    block, best = least // 2, b""
    for at in range(0, len(sample) - block + 1, block):
        piece, found = sample[at:at + block], text.find(sample[at:at + block])
        while found >= 0:
            before = after = 0
            while before < min(at, found) and sample[at - before - 1] == text[found - before - 1]:
                before += 1
            end, text_end = at + block, found + block
            while end + after < len(sample) and text_end + after < len(text) and sample[end + after] == text[text_end + after]:
                after += 1
            if before + block + after > max(len(best), least - 1):
                best = sample[at - before:end + after]
            found = text.find(piece, found + 1)
    return best


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--corpus", required=True)
    args.add_argument("--limit", type=int, default=50, help="characters")
    args.add_argument("samples", nargs="+")
    args = args.parse_args()
    texts = {part: b"\n".join(corpus.read_documents(args.corpus, part, "train")) for part in corpus.PARTS}
    longest = 0
    for path in args.samples:
        with open(path, "rb") as f:
            sample = f.read()
        runs = {part: longest_run(sample, text, 20) for part, text in texts.items()}
        part = max(runs, key=lambda p: len(runs[p]))
        longest = max(longest, len(runs[part]))
        print(f"{path}: {len(sample)} characters, the longest run that is in the corpus has {len(runs[part])}"
              + (f", in {part}: {runs[part].decode(errors='replace')!r}" if runs[part] else " or is shorter than 20"))
    if longest >= args.limit:
        print(f"a run of {longest} stands in the corpus; fewer than {args.limit} are allowed", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
