#!/usr/bin/env python3
"""Loss of a model over all held-out documents of each part, in nats a token and bits a character.

  evaluate.py MODEL.gguf --corpus FOLDER                 every document from its beginning to its end
  evaluate.py MODEL.gguf --corpus FOLDER --length 512    cut into rows, the state reset, as training sees them

A document begins behind an end-of-text token and ends with one. The corpus is ASCII, so a byte is a character.
"""
import argparse
import math

import torch
import torch.nn.functional as F

import corpus
import rwkv7
import tokenizer
import weights


def model_of(w):
    w = {name: t.float() for name, t in w.items()}
    model = rwkv7.Model(**weights.shape_of(w))
    model.load_state_dict({name: w[name].view(p.shape) for name, p in model.named_parameters()})
    return model.eval()


def rows_of(coder, documents, length):
    """Lists of ids, of which each is predicted from those before it."""
    whole = [[tokenizer.END_OF_TEXT] + coder.encode(d) + [tokenizer.END_OF_TEXT] for d in documents]
    if not length:
        return sorted(whole, key=len)  # like by like, as they are padded to one length
    ids = [i for row in whole for i in row[:-1]]
    return [ids[at:at + length + 1] for at in range(0, len(ids) - length, length)]


@torch.no_grad()
def evaluate(model, coder, documents, length, rows=16):
    """(nats a token, bits a character, tokens)"""
    nats, count, characters = 0.0, 0, 0
    all_rows = rows_of(coder, documents, length)
    for at in range(0, len(all_rows), rows):
        batch = all_rows[at:at + rows]
        longest = -(-max(len(row) - 1 for row in batch) // rwkv7.CHUNK) * rwkv7.CHUNK
        tokens, targets = torch.zeros(len(batch), longest, dtype=torch.long), torch.full((len(batch), longest), -100)
        for i, row in enumerate(batch):
            tokens[i, :len(row) - 1], targets[i, :len(row) - 1] = torch.tensor(row[:-1]), torch.tensor(row[1:])
            count += len(row) - 1
            characters += len(coder.decode(row[1:]))
        nats += F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="sum").item()
    return nats / count, nats / math.log(2) / characters, count


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--vocab", help="needed for a checkpoint")
    args.add_argument("--corpus", required=True)
    args.add_argument("--length", type=int, default=0, help="of a row; 0: whole documents")
    args = args.parse_args()
    w, coder = weights.load(args.model, args.vocab)
    model = model_of(w)
    for part in corpus.PARTS:
        held_out = corpus.read_documents(args.corpus, part, "valid")
        nats, bits, tokens = evaluate(model, coder, held_out, args.length)
        print(f"{part:>18} valid: {nats:.4f} nats/token, {bits:.4f} bits/character over {tokens} tokens", flush=True)
        # As much of the training documents as of the held-out ones, to see what is learnt by heart.
        seen = corpus.read_documents(args.corpus, part, "train")
        seen = seen[::max(1, len(seen) // len(held_out))][:len(held_out)]
        nats, bits, tokens = evaluate(model, coder, seen, args.length)
        print(f"{part:>18} train: {nats:.4f} nats/token, {bits:.4f} bits/character over {tokens} tokens", flush=True)


if __name__ == "__main__":
    main()
