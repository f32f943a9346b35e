#!/usr/bin/env python3
"""What do samples share, character for character, with the training texts, and with how many of them?

  overlap.py --corpus FOLDER [--limit 50] SAMPLE.txt ...

Prints the longest run of each sample that the corpus holds, the part it stands in and how many of its documents hold it;
where it is as long as the limit, also how many documents hold the rarest stretch of that length. A stretch in many
documents is a formula of the genre ("Once upon a time, there was a little girl named Lily. She loved to"), one in a single
document was learnt by heart. Exit code 1 if any run is as long as the limit, however many documents have it.
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


def windows(sample, size):
    return {sample[at:at + size] for at in range(len(sample) - size + 1)}


def holders(wanted, documents, size):
    """{window: in how many documents it stands} for those of `wanted`, of `size` characters each, that stand in any."""
    count = {}
    for document in documents:
        found = {document[at:at + size] for at in range(len(document) - size + 1) if document[at:at + size] in wanted}
        for window in found:
            count[window] = count.get(window, 0) + 1
    return count


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--corpus", required=True)
    args.add_argument("--limit", type=int, default=50, help="characters")
    args.add_argument("samples", nargs="+")
    args = args.parse_args()
    samples = {}
    for path in args.samples:
        with open(path, "rb") as f:
            samples[path] = f.read()
    documents = {part: corpus.read_documents(args.corpus, part, "train") for part in corpus.PARTS}
    count = holders(set().union(*(windows(s, args.limit) for s in samples.values())),
                    [d for part in documents.values() for d in part], args.limit)
    texts = {part: b"\n".join(found) for part, found in documents.items()}
    longest = shared = by_heart = 0
    for path, sample in samples.items():
        runs = {part: longest_run(sample, text, 20) for part, text in texts.items()}
        part = max(runs, key=lambda p: len(runs[p]))
        run = runs[part]
        longest = max(longest, len(run))
        if not run:
            print(f"{path}: {len(sample)} characters, no run of 20 is in the corpus")
            continue
        print(f"{path}: {len(sample)} characters, the longest run that is in the corpus has {len(run)}, in "
              f"{sum(run in d for d in documents[part])} documents of {part}: {run.decode(errors='replace')!r}", end="")
        held = [count[w] for w in windows(sample, args.limit) if w in count]
        if held:
            shared += 1
            by_heart += min(held) == 1
            print(f"; its rarest stretch of {args.limit} is in {min(held)}", end="")
        print(flush=True)
    print(f"{shared} of {len(samples)} samples share {args.limit} characters with a training document, {by_heart} of them a "
          "stretch that stands in one document only")
    if longest >= args.limit:
        print(f"a run of {longest} stands in the corpus; fewer than {args.limit} are allowed", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
