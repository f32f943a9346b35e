"""A tiny model with random weights, the vocabulary of RWKV World where the build has it, and no story to tell: conversations and
tools have a form with it, and masks are those of 65,536 tokens."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))


def make(folder):
    """Its path; None where numpy is not installed."""
    try:
        import make_random_model as maker
    except ImportError:
        return None
    vocabulary = sorted(ROOT.glob("build/*/rwkv_vocab_v20230424.txt"), key=lambda path: -path.stat().st_size)
    if vocabulary and vocabulary[0].stat().st_size:
        tokens = maker.tokenizer.read_vocab(vocabulary[0])
    else:  # without it texts are bytes, which are in every vocabulary of World
        tokens = [b"<|endoftext|>", *(bytes([i]) for i in range(256))]
    shape = maker.Shape(2, 64, 16, 16, 8, 16)
    path = Path(folder) / "random-world.gguf"
    maker.write_gguf(path, shape, maker.tensors(shape, 0.9, 7), 7, "random", tokens)
    return path
