"""Adapters as other programs write them (torch, numpy, gguf), merged by anser and by float64 arithmetic here.

The files share nothing with anser's readers. What is compared are the merged weights themselves, which
`anser convert --type f32 --lora` writes, so the tolerance is that of fp32: 10 additions of less than 1, each off by 2^-24.
"""
import json
import os
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    raise unittest.SkipTest("numpy is not installed (Debian: python3-numpy)")
try:
    import torch
except ImportError:
    torch = None
try:
    import gguf
except ImportError:
    gguf = None

ANSER = os.environ["ANSER_BINARY"]
LAYERS, WIDTH, FFN, VOCAB, HEAD = 2, 64, 128, 256, 32
RANKS = {"w": 16, "a": 8, "v": 24, "g": 40}


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        array = np.ascontiguousarray(array, np.float32)
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = Path(path).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(raw[8 + size :][slice(*info["data_offsets"])], np.float32).reshape(info["shape"])
        for name, info in header.items()
    }


def base_model(random):
    """Numbers that BF16 holds exactly."""

    def tensor(*shape):
        return random.integers(-100, 101, shape).astype(np.float64) / 512

    model = {"emb.weight": tensor(VOCAB, WIDTH), "head.weight": tensor(VOCAB, WIDTH)}
    for name in ("blocks.0.ln0", "ln_out"):
        model[name + ".weight"], model[name + ".bias"] = tensor(WIDTH), tensor(WIDTH)
    for layer in range(LAYERS):
        block = f"blocks.{layer}."
        for name in ("ln1", "ln2", "att.ln_x"):
            model[f"{block}{name}.weight"], model[f"{block}{name}.bias"] = tensor(WIDTH), tensor(WIDTH)
        for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "w0", "a0", "v0"):
            model[f"{block}att.{name}"] = tensor(1, 1, WIDTH)
        for name, rank in RANKS.items():
            model[f"{block}att.{name}1"], model[f"{block}att.{name}2"] = tensor(WIDTH, rank), tensor(rank, WIDTH)
        model[block + "att.r_k"] = tensor(WIDTH // HEAD, HEAD)
        for name in ("receptance", "key", "value", "output"):
            model[f"{block}att.{name}.weight"] = tensor(WIDTH, WIDTH)
        model[block + "ffn.x_k"] = tensor(1, 1, WIDTH)
        model[block + "ffn.key.weight"] = tensor(FFN, WIDTH)
        model[block + "ffn.value.weight"] = tensor(WIDTH, FFN)
    for name in ("v0", "v1", "v2"):
        del model["blocks.0.att." + name]
    return model


class Adapters(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.random = np.random.default_rng(17)
        self.base = base_model(self.random)
        write_safetensors(self.folder / "base.safetensors", self.base)

    def tensor(self, *shape):
        return self.random.normal(0, 0.1, shape).astype(np.float32)

    def merged(self, *options):
        out = self.folder / "merged.safetensors"
        command = [ANSER, "convert", self.folder / "base.safetensors", out, "--type", "f32", *options]
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        return read_safetensors(out)

    def expect(self, options, expected, tolerance=1e-6):
        """`expected`: float64 tensors that are not the base's."""
        got = self.merged(*options)
        for name, base in self.base.items():
            want = expected.get(name, base)
            np.testing.assert_allclose(
                got[name], want.reshape(got[name].shape), rtol=0, atol=tolerance if name in expected else 0, err_msg=name
            )
            if name in expected:
                self.assertGreater(np.abs(want - base).max(), 1e-2, f"{name} is to be changed")

    def low_rank(self, name, rank):
        rows, cols = self.base[name + ".weight"].shape
        return self.tensor(rank, cols), self.tensor(rows, rank)

    @unittest.skipIf(torch is None, "no PyTorch here (Debian: python3-torch)")
    def test_lora_pissa_and_miss_that_torch_saves(self):
        name = "blocks.1.ffn.key"
        a, b = self.low_rank(name, 8)
        a0, b0 = self.low_rank(name, 8)
        ln = self.base["blocks.0.ln1.weight"] + 0.5
        path, start = self.folder / "rwkv-0.pth", self.folder / "init_pissa.pth"
        torch.save(
            {
                name + ".lora_A": torch.from_numpy(a),
                # As it lies in memory after a transposition.
                name + ".lora_B": torch.from_numpy(np.ascontiguousarray(b.T)).t(),
                "blocks.0.ln1.weight": torch.from_numpy(ln).to(torch.bfloat16),
            },
            path,
        )
        ln = torch.from_numpy(ln).to(torch.bfloat16).to(torch.float64).numpy()
        w, product = self.base[name + ".weight"], b.astype(np.float64) @ a.astype(np.float64)
        self.expect(
            ["--lora", path, "--lora-alpha", "16"], {name + ".weight": w + product * 2, "blocks.0.ln1.weight": ln}
        )
        torch.save({name + ".init_lora_A": torch.from_numpy(a0), name + ".init_lora_B": torch.from_numpy(b0)}, start)
        self.expect(
            ["--lora", f"{path}:-0.5"],
            {
                name + ".weight": w - 0.5 * (product - b0.astype(np.float64) @ a0.astype(np.float64)),
                "blocks.0.ln1.weight": ln,
            },
        )
        d = self.tensor(24, FFN)
        torch.save({"model": {name + ".disha": torch.from_numpy(d).to(torch.bfloat16)}}, self.folder / "miss.pth")
        d = torch.from_numpy(d).to(torch.bfloat16).to(torch.float64).numpy()
        self.expect(["--lora", self.folder / "miss.pth"], {name + ".weight": w + d[np.arange(WIDTH) % 24].T})

    @unittest.skipIf(torch is None, "no PyTorch here (Debian: python3-torch)")
    def test_peft_folder_with_torch_file(self):
        name = "blocks.0.att.output"
        a, b = self.low_rank(name, 4)
        folder = self.folder / "peft"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 12}))
        prefix = "base_model.model." + name
        torch.save(
            {prefix + ".lora_A.weight": torch.from_numpy(a), prefix + ".lora_B.weight": torch.from_numpy(b)},
            folder / "adapter_model.bin",
        )
        product = b.astype(np.float64) @ a.astype(np.float64)
        self.expect(["--lora", folder], {name + ".weight": self.base[name + ".weight"] + 3 * product})

    @unittest.skipIf(gguf is None, "no gguf here (PyPI: gguf)")
    def test_gguf_adapter(self):
        a, b = self.low_rank("blocks.1.att.value", 4)
        writer = gguf.GGUFWriter(str(self.folder / "lora.gguf"), "rwkv7")
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 2.0)
        writer.add_tensor("blk.1.time_mix_value.weight.lora_a", a)
        writer.add_tensor("blk.1.time_mix_value.weight.lora_b", b)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        product = b.astype(np.float64) @ a.astype(np.float64)
        name = "blocks.1.att.value.weight"
        self.expect(["--lora", self.folder / "lora.gguf"], {name: self.base[name] + 0.5 * product})


if __name__ == "__main__":
    unittest.main()
