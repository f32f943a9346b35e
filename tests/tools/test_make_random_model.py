"""Tests of tools/make_random_model.py."""
import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    raise unittest.SkipTest("numpy is not installed (Debian: python3-numpy)")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import make_random_model as model  # noqa: E402
import rwkv7_forward  # noqa: E402  (beside this file)

gguf = model.gguf
SEED = 3
SMALL = model.Shape(layers=3, width=256, rank_w=32, rank_a=16, rank_v=24, rank_g=8, vocab=96)


def getter(parts):
    arrays = {part.name: part.array(SEED) for part in parts}
    return lambda name, rows=slice(None): arrays[name][rows]


class Numbers(unittest.TestCase):
    def test_fourth_moment_agrees_with_integration(self):
        for m in (-0.5, 0.0, 1.28, 2.0):
            g = np.linspace(m, 12, 200001)
            y = (g - m) ** 4 * np.exp(-g * g / 2) / np.sqrt(2 * np.pi)
            integral = (y[1:] + y[:-1]).sum() / 2 * (g[1] - g[0])
            self.assertAlmostEqual(model.fourth_moment_above(m), integral, places=6)

    def test_the_share_of_zeros_is_reached_in_every_layer(self):
        tokens = np.arange(1, 41)
        for zeros in (0.5, 0.8, 0.95):
            get = getter(model.tensors(SMALL, zeros, SEED))
            layers = list(rwkv7_forward.hidden_activations(get, tokens))
            self.assertEqual(len(layers), SMALL.layers)
            for layer, h in enumerate(layers):
                # From the second token on: the first one's predecessor is zero, which takes half of the mean away.
                self.assertAlmostEqual((h[1:] == 0).mean(), zeros, delta=0.02, msg=f"layer {layer}, {zeros}")

    def test_the_feed_forward_adds_as_much_whatever_the_share(self):
        added = []
        for zeros in (0.5, 0.9):
            get = getter(model.tensors(SMALL, zeros, SEED))
            h = next(rwkv7_forward.hidden_activations(get, np.arange(1, 41)))
            added.append((h[1:] @ get("blocks.0.ffn.value.weight").T).std())
        self.assertAlmostEqual(added[1] / added[0], 1, delta=0.1)

    def test_numbers_depend_on_seed_and_name_only(self):
        part = model.Tensor("blocks.1.att.key.weight", (40, 8), 0.5, 0.1)
        whole = part.array(SEED)
        np.testing.assert_array_equal(np.concatenate(list(part.blocks(SEED, most=24))), whole)
        self.assertTrue(np.all(model.Tensor("blocks.2.att.key.weight", (40, 8), 0.5, 0.1).array(SEED) != whole))
        self.assertFalse(np.array_equal(part.array(SEED + 1), whole))
        self.assertAlmostEqual(whole.std(), 0.5, delta=0.1)

    def test_a_cut_model_keeps_its_numbers(self):
        whole = {part.name: part for part in model.tensors(SMALL, 0.9, SEED)}
        cut = model.first_layers(list(whole.values()), 2)
        self.assertEqual({p.name for p in whole.values() if not p.name.startswith("blocks.2.")}, {p.name for p in cut})
        get = getter(cut)
        self.assertEqual(len(list(rwkv7_forward.hidden_activations(get, np.arange(4)))), 2)


class Sizes(unittest.TestCase):
    def test_parameters_are_those_of_the_released_models(self):
        # 2VD + 4D + layers (19D + 12D^2 + 2D (w + a + v + g)), without the value tensors of layer 0.
        for shape in model.SHAPES.values():
            D = shape.width
            ranks = shape.rank_w + shape.rank_a + shape.rank_v + shape.rank_g
            expected = (2 * shape.vocab * D + 4 * D + shape.layers * (19 * D + 12 * D * D + 2 * D * ranks) -
                        D - 2 * D * shape.rank_v)
            found = sum(int(np.prod(part.shape)) for part in model.tensors(shape, 0.9, SEED))
            self.assertEqual(found, expected)
        self.assertEqual(sum(int(np.prod(p.shape)) for p in model.tensors(model.SHAPES["0.1B"], 0.5, 1)), 191034624)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.parts = model.tensors(SMALL, 0.9, SEED)

    def write_both(self):
        self.gguf, self.safetensors = self.folder / "m.gguf", self.folder / "m.safetensors"
        tokens = [b""] + [bytes([i]) for i in range(32, 92)] + [b"'\"\xff"]
        with contextlib.redirect_stderr(io.StringIO()):
            model.write_gguf(self.gguf, SMALL, self.parts, SEED, "small", tokens)
            model.write_safetensors(self.safetensors, self.parts, SEED)
        return gguf.read(self.gguf), rwkv7_forward.open_safetensors(self.safetensors)

    def test_gguf_header(self):
        (metadata, arrays, kinds), _ = self.write_both()
        self.assertEqual(metadata["general.architecture"], "rwkv7")
        self.assertEqual(metadata["rwkv7.block_count"], 3)
        self.assertEqual(metadata["rwkv7.embedding_length"], 256)
        self.assertEqual(metadata["rwkv7.feed_forward_length"], 1024)
        self.assertEqual(metadata["rwkv7.attention.gate_lora_rank"], 8)
        texts = metadata["tokenizer.ggml.tokens"]
        self.assertEqual(len(texts), SMALL.vocab)
        self.assertEqual((texts[0], texts[1], texts[61], texts[62]), ("<s>", " ", "\\'\"\\xff", "[PAD62]"))
        kinds_of_tokens = metadata["tokenizer.ggml.token_type"]
        self.assertEqual((kinds_of_tokens[0], kinds_of_tokens[61], kinds_of_tokens[62]), (3, 1, 5))
        # 33 tensors a layer with the six mixes as one, and six outside of the layers.
        self.assertEqual(len(arrays), 28 * 3 + 6)
        self.assertEqual(kinds["blk.1.channel_mix_key.weight"], gguf.F16)
        self.assertEqual(kinds["blk.1.time_mix_w1.weight"], gguf.F32)
        self.assertEqual(kinds["blk.1.attn_norm.weight"], gguf.F32)

    def test_both_formats_hold_the_same_numbers(self):
        (_, stored, _), get = self.write_both()

        def same(name, expected):
            np.testing.assert_array_equal(stored.pop(name), expected, err_msg=name)

        for layer in range(SMALL.layers):
            new, att = f"blk.{layer}.time_mix_", f"blocks.{layer}.att."
            for pair in "wavg":
                source = "a" if pair == "v" and layer == 0 else pair  # unread in layer 0
                for which in "12":
                    same(f"{new}{pair}{which}.weight", get(f"{att}{source}{which}").T)
                if pair != "g":
                    same(f"{new}{pair}0.weight", get(f"{att}{source}0").reshape(-1))
            same(new + "lerp_fused.weight", np.stack([get(f"{att}x_{mix}") for mix in "rwkvag"]))
            for vector in ("k_k", "k_a", "r_k"):
                same(f"{new}{vector}.weight", get(att + vector).reshape(-1))
            same(f"blk.{layer}.channel_mix_lerp_k.weight", get(f"blocks.{layer}.ffn.x_k"))
            for name in ("receptance.weight", "key.weight", "value.weight", "output.weight"):
                same(new + name, get(att + name))
            for kind in ("weight", "bias"):
                same(f"{new}ln.{kind}", get(f"{att}ln_x.{kind}"))
                same(f"blk.{layer}.attn_norm.{kind}", get(f"blocks.{layer}.ln1.{kind}"))
                same(f"blk.{layer}.attn_norm_2.{kind}", get(f"blocks.{layer}.ln2.{kind}"))
            for name in ("key", "value"):
                same(f"blk.{layer}.channel_mix_{name}.weight", get(f"blocks.{layer}.ffn.{name}.weight"))
        for kind in ("weight", "bias"):
            same(f"token_embd_norm.{kind}", get(f"blocks.0.ln0.{kind}"))
            same(f"output_norm.{kind}", get(f"ln_out.{kind}"))
        same("token_embd.weight", get("emb.weight"))
        same("output.weight", get("head.weight"))
        self.assertEqual(stored, {})

    def test_a_failed_write_leaves_nothing(self):
        def pieces():
            yield b"1234"
            raise RuntimeError

        with self.assertRaises(RuntimeError), contextlib.redirect_stderr(io.StringIO()):
            model.write_file(self.folder / "m", b"head", pieces(), 8)
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
