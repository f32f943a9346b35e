"""GGUF files that PyPI's gguf package writes, and weights as it dequantises them, against the running program."""
import json
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    raise unittest.SkipTest("numpy is not installed (Debian: python3-numpy)")
try:
    import gguf
    from gguf.quants import dequantize
except ImportError:
    raise unittest.SkipTest("gguf is not installed (pip install gguf)")

sys.path.insert(0, str(Path(__file__).resolve().parent))
import rwkv7_forward  # noqa: E402
from server_process import BINARY  # noqa: E402

VOCAB, WIDTH, LAYERS, HEAD, FFN = 64, 256, 2, 64, 512
RANKS = {"w": 32, "a": 16, "v": 24, "g": 40}
TOKENS = [1, 5, 9, 63, 0, 17, 2, 2, 40]
TYPE = gguf.GGMLQuantizationType
TOP = {"emb.weight": "token_embd.weight", "head.weight": "output.weight", "ln_out": "output_norm",
       "blocks.0.ln0": "token_embd_norm"}
INSIDE = {"ln1": "attn_norm", "ln2": "attn_norm_2", "att.ln_x": "time_mix_ln", "ffn.x_k": "channel_mix_lerp_k.weight"}


def matrices():
    """The names and shapes of the matrices that converters quantise."""
    yield "emb.weight", (VOCAB, WIDTH)
    for layer in range(LAYERS):
        for name in ("receptance", "key", "value", "output"):
            yield f"blocks.{layer}.att.{name}.weight", (WIDTH, WIDTH)
        yield f"blocks.{layer}.ffn.key.weight", (FFN, WIDTH)
        yield f"blocks.{layer}.ffn.value.weight", (WIDTH, FFN)
    yield "head.weight", (VOCAB, WIDTH)


def others(random):
    """The rest of a model, in F32, under original names."""
    def numbers(*shape, scale=1.0, offset=0.0):
        return (random.standard_normal(shape) * scale + offset).astype(np.float32)

    model = {}
    norms = ["ln_out", "blocks.0.ln0"]
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        norms += [block + "ln1", block + "ln2", block + "att.ln_x"]
        for mix in "rwkvag":
            model[f"{block}att.x_{mix}"] = numbers(WIDTH, scale=0.2, offset=0.5)
        for pair, rank in RANKS.items():
            if pair == "v" and layer == 0:
                continue
            model[f"{block}att.{pair}1"] = numbers(WIDTH, rank, scale=WIDTH**-0.5)
            model[f"{block}att.{pair}2"] = numbers(rank, WIDTH, scale=rank**-0.5)
            if pair != "g":
                model[f"{block}att.{pair}0"] = numbers(WIDTH, scale=0.5)
        for name, offset in (("k_k", 0.8), ("k_a", 1.0), ("r_k", 0.0)):
            model[f"{block}att.{name}"] = numbers(WIDTH, scale=0.1, offset=offset)
        model[block + "ffn.x_k"] = numbers(WIDTH, scale=0.2, offset=0.5)
    for norm in norms:
        model[norm + ".weight"] = numbers(WIDTH, scale=0.1, offset=1.0)
        model[norm + ".bias"] = numbers(WIDTH, scale=0.1)
    return model


def random_blocks(kind, shape, random):
    """Blocks of a type from random bytes, with scales that make weights of the usual size of the file's bytes."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (shape[0] * shape[1] // elements, size), dtype=np.uint8)
    count = len(blocks)
    places = {TYPE.Q2_K: [(80, 1.0), (82, 1.5)], TYPE.Q3_K: [(108, 1.0)], TYPE.IQ4_NL: [(0, 1.0)], TYPE.IQ4_XS: [(0, 1.0)]}
    for place, factor in places[kind]:
        scale = (factor * random.uniform(0.5, 1.5, count)).astype(np.float16)
        blocks[:, place:place + 2] = scale.view(np.uint8).reshape(count, 2)
    spread = dequantize(blocks.reshape(shape[0], -1), kind).std()
    for place, _ in places[kind]:
        scale = blocks[:, place:place + 2].copy().view(np.float16).astype(np.float64) / (spread * shape[1]**0.5)
        blocks[:, place:place + 2] = scale.astype(np.float16).view(np.uint8).reshape(count, 2)
    return blocks.reshape(shape[0], -1)


def gguf_name(name):
    for original, new in TOP.items():
        if name.startswith(original):
            return new + name[len(original):]
    layer, rest = re.fullmatch(r"blocks\.(\d+)\.(.*)", name).groups()
    for original, new in INSIDE.items():
        if rest.startswith(original):
            return f"blk.{layer}.{new}{rest[len(original):]}"
    rest = rest.replace("ffn.", "channel_mix_").replace("att.", "time_mix_")
    return f"blk.{layer}.{rest}" + ("" if rest.endswith(".weight") else ".weight")


def write_gguf(path, model, kinds, **split):
    """`model` holds arrays of numbers, or of bytes of the type that `kinds` says."""
    writer = gguf.GGUFWriter(path, "rwkv7", **split)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_wkv_head_size(HEAD)
    writer.add_layer_norm_eps(1e-5)
    writer.add_head_count(0)
    for name, array in model.items():
        if re.search(r"att\.x_[rwkvag]$", name):
            if name.endswith("x_r"):
                mixes = np.stack([model[name[:-1] + mix] for mix in "rwkvag"]).reshape(6, 1, 1, WIDTH)
                writer.add_tensor(gguf_name(name).replace("time_mix_x_r", "time_mix_lerp_fused"), mixes)
            continue
        low_rank = re.search(r"att\.[wavg][12]$", name)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(array.T) if low_rank else array,
                          raw_dtype=kinds.get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def forward(model):
    """Logits after every token, in double precision."""
    def get(name):
        array = model[name].astype(np.float64)
        return array.reshape(WIDTH // HEAD, HEAD) if name.endswith("r_k") else array

    def norm(x, name):
        return rwkv7_forward.layer_norm(x, get(name + ".weight"), get(name + ".bias"))

    x, v_first = norm(get("emb.weight")[TOKENS], "blocks.0.ln0"), None
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        added, v_first = rwkv7_forward.time_mix(lambda name: get(block + "att." + name), norm(x, block + "ln1"), v_first)
        x = x + added
        z = norm(x, block + "ln2")
        z = z + (rwkv7_forward.previous(z) - z) * get(block + "ffn.x_k")
        x = x + np.maximum(z @ get(block + "ffn.key.weight").T, 0)**2 @ get(block + "ffn.value.weight").T
    return norm(x, "ln_out") @ get("head.weight").T


def anser(*words, code=0):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True)
    if done.returncode != code:
        raise AssertionError(f"{words}: {done.returncode}\n{done.stderr}")
    return done


def logits(path, folder):
    out = Path(folder) / "logits.npy"
    done = anser("logits", "-m", path, "--device", "cpu", "--tokens", ",".join(map(str, TOKENS)), "--all", "-o", out)
    return np.load(out), done.stderr


def read_safetensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    return {name: np.frombuffer(body[e["data_offsets"][0]:e["data_offsets"][1]], "<f4").reshape(e["shape"])
            for name, e in header.items()}


class Package(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        random = np.random.default_rng(11)
        self.others = others(random)
        self.random = random

    def quantised(self, kind):
        """Blocks for the file, and the numbers that they are."""
        blocks = {name: random_blocks(kind, shape, self.random) for name, shape in matrices()}
        return blocks, {name: dequantize(array, kind) for name, array in blocks.items()}

    def test_weights_are_those_of_the_package(self):
        for kind in (TYPE.Q2_K, TYPE.Q3_K, TYPE.IQ4_NL, TYPE.IQ4_XS):
            with self.subTest(kind.name):
                blocks, numbers = self.quantised(kind)
                path, out = self.folder / "m.gguf", self.folder / "m.safetensors"
                write_gguf(path, {**self.others, **blocks}, dict.fromkeys(blocks, kind))
                done = anser("convert", path, out, "--type", "f32")
                self.assertNotIn("rounded", done.stderr)
                written = read_safetensors(out)
                for name, expected in numbers.items():
                    np.testing.assert_array_equal(written[name], expected, err_msg=name)

    def test_logits_are_those_of_double_precision(self):
        # Q6_K and Q8_0 are multiplied with activations in 8 bits.
        tolerances = {TYPE.Q2_K: 2e-3, TYPE.IQ4_XS: 2e-3, TYPE.Q3_K: 5e-2, TYPE.IQ4_NL: 5e-2}
        for kind, tolerance in tolerances.items():
            with self.subTest(kind.name):
                blocks, numbers = self.quantised(kind)
                path = self.folder / "m.gguf"
                write_gguf(path, {**self.others, **blocks}, dict.fromkeys(blocks, kind))
                found, said = logits(path, self.folder)
                expected = forward({**self.others, **numbers})
                self.assertLess(np.abs(found - expected).max(), tolerance * np.abs(expected).max())
                self.assertEqual(said.count(f"14 {kind.name} matrices as "), 1, said)
                card = anser("info", "-m", path).stdout
                self.assertRegex(card, rf"weights {kind.name}, run as (F16|Q6_K|Q8_0)\n")

    def test_split_files(self):
        numbers = {name: (self.random.standard_normal(shape) * shape[1]**-0.5).astype(np.float32)
                   for name, shape in matrices()}
        model = {**self.others, **numbers}
        write_gguf(self.folder / "whole.gguf", model, {})
        expected, _ = logits(self.folder / "whole.gguf", self.folder)
        np.testing.assert_allclose(expected, forward(model), atol=1e-3 * np.abs(expected).max())
        for name, first_is_small in (("plain", False), ("small", True)):
            folder = self.folder / name
            folder.mkdir()
            write_gguf(folder / "m.gguf", model, {}, split_max_tensors=20, small_first_shard=first_is_small)
            parts = sorted(folder.iterdir())
            self.assertGreater(len(parts), 2)
            for path in [*parts, folder]:
                np.testing.assert_array_equal(logits(path, self.folder)[0], expected, err_msg=str(path))
            # Converting must not replace a part of what it reads.
            self.assertIn("give another name", anser("convert", parts[0], parts[1], code=2).stderr)
            parts[1].unlink()
            self.assertIn(parts[1].name, anser("info", "-m", parts[0], code=1).stderr)

    def test_other_types_are_named(self):
        for kind in (TYPE.MXFP4, TYPE.TQ1_0, TYPE.TQ2_0, TYPE.IQ1_S, TYPE.IQ2_XXS, TYPE.IQ3_S, TYPE.NVFP4, TYPE.Q8_K):
            elements, size = gguf.GGML_QUANT_SIZES[kind]
            blocks = {name: np.zeros((shape[0], shape[1] // elements * size), np.uint8) for name, shape in matrices()}
            write_gguf(self.folder / "m.gguf", {**self.others, **blocks}, dict.fromkeys(blocks, kind))
            said = anser("info", "-m", self.folder / "m.gguf", code=1).stderr
            self.assertRegex(said, rf"token_embd.weight has unsupported type {kind.name}; expected one of F32, ")


if __name__ == "__main__":
    unittest.main()
