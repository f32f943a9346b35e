#!/usr/bin/env python3
"""Writes a checkpoint as GGUF (architecture rwkv7, with its tokenizer), and if wanted as safetensors.

  export.py --checkpoint RUN/best.pt --vocab vocab.txt --out model.gguf [--safetensors model.safetensors]
  export.py --checkpoint A/checkpoint.pt B/checkpoint.pt C.gguf --vocab vocab.txt --out model.gguf

Of several checkpoints the mean of the weights is written. Short runs that began from the same weights end in one basin of
the loss, and the middle of it is often lower than any of its sides: the uniform "model soup" of Wortsman et al., 2022
(arXiv 2203.05482). Runs from other beginnings have nothing in common, and their mean is noise: evaluate what comes out.
"""
import argparse
import os

import evaluate
import gguf
import rwkv7
import tokenizer
import weights

KINDS = {"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0}
FILE_TYPE = {"f32": 0, "f16": 1, "q8_0": 7}
NORMAL, CONTROL = 1, 3  # token types

# What the model is for, and how it writes best (the card in models/ says how that was found): docs/formats.md.
PURPOSE = {"anser.kind": "story", "general.sampling.temp": 0.7, "general.sampling.top_p": 0.8}


def metadata(shape, tokens, name, kind):
    ranks = shape["ranks"]
    return {
        "general.architecture": "rwkv7",
        "general.type": "model",
        "general.name": name,
        "general.file_type": FILE_TYPE[kind],
        "general.quantization_version": 2,
        **PURPOSE,
        "rwkv7.context_length": 1 << 20,
        "rwkv7.embedding_length": shape["D"],
        "rwkv7.block_count": shape["layers"],
        "rwkv7.feed_forward_length": 4 * shape["D"],
        "rwkv7.attention.head_count": 0,
        "rwkv7.attention.layer_norm_epsilon": 1e-5,
        "rwkv7.attention.decay_lora_rank": ranks["w"],
        "rwkv7.attention.iclr_lora_rank": ranks["a"],
        "rwkv7.attention.value_residual_mix_lora_rank": ranks["v"],
        "rwkv7.attention.gate_lora_rank": ranks["g"],
        "rwkv7.wkv.head_size": rwkv7.HEAD,
        "rwkv7.token_shift_count": 2,
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": weights.token_texts(tokens),
        "tokenizer.ggml.token_type": [CONTROL] + [NORMAL] * (len(tokens) - 1),
        "tokenizer.ggml.bos_token_id": tokenizer.END_OF_TEXT,
        "tokenizer.ggml.eos_token_id": tokenizer.END_OF_TEXT,
        "tokenizer.ggml.add_bos_token": False,
    }


def mean_of(paths, tokens, vocab):
    """(shape, {name: float32 tensor}): of one checkpoint or GGUF its weights, of several their mean."""
    shape, total = None, {}
    for path in paths:
        w, coder = weights.load(path, vocab)
        if coder.tokens != tokens:
            raise SystemExit(f"{path} has another vocabulary than {vocab}: give the one that it was trained with")
        model = evaluate.model_of(w)
        if model.shape["vocab"] != len(tokens):
            raise SystemExit(f"{vocab} has {len(tokens)} tokens, {path} {model.shape['vocab']}")
        if shape not in (None, model.shape):
            raise SystemExit(f"{path} has the shape {model.shape}, {paths[0]} {shape}: only runs of one model have a mean")
        shape = model.shape
        total = {name: total.get(name, 0) + t.double() for name, t in model.state_dict().items()}
    return shape, {name: (t / len(paths)).float() for name, t in total.items()}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--checkpoint", required=True, nargs="+", help="of train.py, or a GGUF; the mean of several")
    args.add_argument("--vocab", required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--name", default="anser gosling")
    args.add_argument("--type", choices=KINDS, default="q8_0", help="of the matrices; default %(default)s")
    args.add_argument("--safetensors", help="also write the weights here, unrounded, under the original names")
    args.add_argument("--safetensors-dtype", choices=("F32", "BF16"), default="F32")
    args = args.parse_args()
    tokens = tokenizer.read_vocab(args.vocab)
    shape, w = mean_of(args.checkpoint, tokens, args.vocab)
    # Written beside and moved, so that a build which embeds the file never sees half of it.
    gguf.write(args.out + ".new", metadata(shape, tokens, args.name, args.type),
               weights.to_gguf({name: t.numpy() for name, t in w.items()}, KINDS[args.type]))
    os.replace(args.out + ".new", args.out)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes, from {', '.join(args.checkpoint)}")
    if args.safetensors:
        weights.write_safetensors(args.safetensors, w, args.safetensors_dtype)
        print(f"{args.safetensors}: {os.path.getsize(args.safetensors)} bytes")


if __name__ == "__main__":
    main()
