#!/usr/bin/env python3
"""Writes a checkpoint as GGUF (architecture rwkv7, with its tokenizer), and if wanted as safetensors.

  export.py --checkpoint RUN/checkpoint.pt --vocab vocab.txt --out model.gguf [--safetensors model.safetensors]
"""
import argparse
import os

import torch

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


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--checkpoint", required=True)
    args.add_argument("--vocab", required=True)
    args.add_argument("--out", required=True)
    args.add_argument("--name", default="anser gosling")
    args.add_argument("--type", choices=KINDS, default="q8_0", help="of the matrices; default %(default)s")
    args.add_argument("--safetensors", help="also write the weights here, unrounded, under the original names")
    args.add_argument("--safetensors-dtype", choices=("F32", "BF16"), default="F32")
    args = args.parse_args()
    checkpoint = torch.load(args.checkpoint, map_location="cpu")
    w, tokens = checkpoint["model"], tokenizer.read_vocab(args.vocab)
    if len(tokens) != checkpoint["shape"]["vocab"]:
        raise SystemExit(f"{args.vocab} has {len(tokens)} tokens, the model {checkpoint['shape']['vocab']}")
    # Written beside and moved, so that a build which embeds the file never sees half of it.
    gguf.write(args.out + ".new", metadata(checkpoint["shape"], tokens, args.name, args.type),
               weights.to_gguf({name: t.float().numpy() for name, t in w.items()}, KINDS[args.type]))
    os.replace(args.out + ".new", args.out)
    print(f"{args.out}: {os.path.getsize(args.out)} bytes, step {checkpoint['step']}, {checkpoint['note']}")
    if args.safetensors:
        weights.write_safetensors(args.safetensors, w, args.safetensors_dtype)
        print(f"{args.safetensors}: {os.path.getsize(args.safetensors)} bytes")


if __name__ == "__main__":
    main()
