#!/usr/bin/env python3
"""Loss of a model over all held-out documents of each part, in nats a token and bits a character.

  evaluate.py MODEL.gguf --corpus FOLDER

Documents stand behind an end-of-text token, one after the other, cut into rows of --length tokens with the state reset,
as in training. The corpus is ASCII, so a byte is a character.
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
    vocab, D = w["emb.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
    ranks = {c: w[f"blocks.1.att.{c}1"].shape[1] for c in "wavg"}
    model = rwkv7.Model(vocab, layers, D, ranks)
    model.load_state_dict({name: w[name].view(p.shape) for name, p in model.named_parameters()})
    return model.eval()


@torch.no_grad()
def evaluate(model, coder, documents, length, rows=16):
    ids = [i for d in documents for i in [tokenizer.END_OF_TEXT] + coder.encode(d)]
    count = (len(ids) - 1) // length
    block = torch.tensor([ids[i * length:(i + 1) * length + 1] for i in range(count)])
    nats = sum(F.cross_entropy(model(part[:, :-1]).flatten(0, 1), part[:, 1:].flatten(), reduction="sum").item()
               for part in block.split(rows)) / (count * length)
    characters = sum(map(len, documents)) / len(ids)
    return nats, nats / math.log(2) / characters, len(ids)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("model")
    args.add_argument("--vocab", help="needed for a checkpoint")
    args.add_argument("--corpus", required=True)
    args.add_argument("--length", type=int, default=512)
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
