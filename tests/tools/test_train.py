"""The tools of tools/train/ from texts to a model that the program runs, in small: a minute at the most.

They run in whichever Python has PyTorch (Debian's python3-torch is enough); without one all is skipped.
"""
import json
import lzma
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "train"


def python_with_torch():
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which(python) and subprocess.run([python, "-c", "import torch, numpy"], capture_output=True).returncode == 0:
            return python
    raise unittest.SkipTest("PyTorch is not installed (Debian: python3-torch)")


PYTHON = python_with_torch()


def run(script, *args, wanted=0):
    done = subprocess.run([PYTHON, str(TOOLS / script), *map(str, args)], capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    if done.returncode != wanted:
        raise AssertionError(f"{script}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def read_npy(path):
    """The numbers of a float32 array; this Python need not be the one that has NumPy."""
    raw = path.read_bytes()
    begin = 10 + struct.unpack_from("<H", raw, 8)[0]
    assert raw.startswith(b"\x93NUMPY\x01\x00") and b"'<f4'" in raw[:begin], raw[:begin]
    return struct.unpack_from(f"<{(len(raw) - begin) // 4}f", raw, begin)


def story(choose):
    """Some sentences of a small grammar, with something to remember: the name comes back."""
    name, animal = choose(["Ann", "Ben", "Lily", "Tom"]), choose(["goose", "dog", "fox"])
    lines = [f"Once upon a time there was a {animal} named {name}."]
    for _ in range(6):
        lines.append(choose([f"{name} saw a {choose(['red', 'blue', 'big'])} {choose(['ball', 'boat', 'tree'])}.",
                             f'"Come and play," said the {animal}.', f"{name} was very happy that day."]))
    return " ".join(lines)


class Train(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.at = Path(cls.folder.name)
        cls.corpus = cls.at / "corpus"
        cls.corpus.mkdir()
        source = random.Random(1)
        for part in ("pg-children", "tinystories-part", "storybooks-ccby"):
            for split, count in (("train", 120), ("valid", 12)):
                text = "".join(story(source.choice) + "\n<|endoftext|>\n" for _ in range(count))
                with lzma.open(cls.corpus / f"{part}.{split}.txt.xz", "wt") as f:
                    f.write(text)
        run("build_vocab.py", "--corpus", cls.corpus, "--size", 300, "--out", cls.at / "vocab.txt")
        run("data.py", "--corpus", cls.corpus, "--vocab", cls.at / "vocab.txt", "--out", cls.at / "data")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def train(self, out, *more, wanted=0):
        return run("train.py", "--data", self.at / "data", "--out", self.at / out, "--layers", 2, "--width", 64,
                   "--ranks", 16, 16, 16, 16, "--rows", 4, "--length", 64, "--warm-up", 5, "--plain", "--eager",
                   "--device", "cpu", *more, wanted=wanted)

    def trained(self, optimizer="muon"):
        """Where a run of 60 steps is, one for all tests."""
        if not (self.at / optimizer).exists():
            self.train(optimizer, "--steps", 60, "--optimizer", optimizer)
        return self.at / optimizer

    def notes(self, out):
        return [json.loads(line) for line in (self.at / out / "log.jsonl").read_text().splitlines()]

    def test_vocabulary_is_in_world_grammar(self):
        lines = (self.at / "vocab.txt").read_text().splitlines()
        self.assertEqual(len(lines), 299)  # id 0 ends a text and has no line
        self.assertEqual(lines[0], r"1 '\x00' 1")
        self.assertEqual(lines[255], r"256 b'\xff' 1")
        lengths = [int(line.rsplit(" ", 1)[1]) for line in lines[256:]]
        self.assertEqual(lengths, sorted(lengths))
        self.assertGreater(lengths[-1], 3)

    def test_forms_of_the_recurrence_agree(self):
        run("rwkv7.py")

    def test_the_inventory_game_keeps_its_rules(self):
        run("delta_rule.py", "--check")

    def test_loss_falls_with_either_optimizer(self):
        for optimizer in ("adam", "muon"):
            with self.subTest(optimizer=optimizer):
                self.trained(optimizer)
                (note,) = self.notes(optimizer)
                self.assertEqual(note["step"], 60)
                # It begins at ln 300 = 5.7; the grammar's own entropy is below 0.5. Parts have the same texts.
                for part, loss in note["valid"].items():
                    self.assertLess(loss, 3.0, part)
                self.assertIn("[Once upon a time]", (self.at / optimizer / "samples.txt").read_text())

    def test_goes_on_from_a_checkpoint(self):
        self.train("parts", "--steps", 6)
        self.train("parts", "--steps", 12, "--resume")
        self.assertEqual([n["step"] for n in self.notes("parts")], [6, 12])
        self.assertIn("nothing is left to do", self.train("parts", "--steps", 12, "--resume"))
        said = self.train("parts", "--steps", 20, "--resume", "--optimizer", "adam", wanted=1)
        self.assertIn("was trained with --optimizer muon", said)

    def test_the_program_computes_the_same(self):
        for kind, tolerance in (("f32", 2e-5), ("f16", 2e-5), ("q8_0", 0.05)):
            with self.subTest(type=kind):
                model = self.at / f"{kind}.gguf"
                run("export.py", "--checkpoint", self.trained() / "checkpoint.pt", "--vocab", self.at / "vocab.txt",
                    "--type", kind, "--out", model)
                run("dump.py", model, "--out", self.at / "golden.json", "-n", 4)
                case = json.loads((self.at / "golden.json").read_text())["cases"][0]
                self.compare(model, case, tolerance)

    def test_several_checkpoints_become_their_mean(self):
        ranks = "--ranks", 32, 32, 32, 32  # narrower pairs are F16 in any file
        self.train("a", "--steps", 3, *ranks)
        self.train("b", "--steps", 3, "--seed", 2, *ranks)

        def export(*runs):
            out = self.at / "mean.gguf"
            run("export.py", "--checkpoint", *(self.at / r for r in runs), "--vocab", self.at / "vocab.txt", "--type", "f32",
                "--out", out)
            return out.read_bytes()

        a, b = export("a/checkpoint.pt"), export("b/checkpoint.pt")
        shutil.copyfile(self.at / "mean.gguf", self.at / "b.gguf")
        both = export("a/checkpoint.pt", "b.gguf")  # a file made from a checkpoint stands for it
        last = [struct.unpack("<4096f", file[-4 * 4096:]) for file in (a, b, both)]  # numbers of the last block
        self.assertNotEqual(last[0], last[1])
        for x, y, mean in zip(*last):
            self.assertAlmostEqual(mean, (x + y) / 2, delta=1e-6)
        self.assertEqual(export("b.gguf", "b/checkpoint.pt"), b)
        self.train("wide", "--steps", 1, "--width", 128)
        said = run("export.py", "--checkpoint", self.at / "b.gguf", self.at / "wide" / "checkpoint.pt", "--vocab",
                   self.at / "vocab.txt", "--out", self.at / "mean.gguf", wanted=1)
        self.assertIn("only runs of one model have a mean", said)

    def test_unlearns_what_it_knows_by_heart(self):
        run("export.py", "--checkpoint", self.trained() / "checkpoint.pt", "--vocab", self.at / "vocab.txt", "--type", "f32",
            "--out", self.at / "copier.gguf")
        run("unlearn.py", self.at / "copier.gguf", "--data", self.at / "data", "--corpus", self.corpus, "--out",
            self.at / "unlearnt", "--rounds", 12, "--rows", 24, "--length", 64, "--rate", 3e-3, "--soft", 24, "--hard", 32,
            "--device", "cpu", "--plain")
        notes = self.notes("unlearnt")
        self.assertEqual([n["step"] for n in notes], list(range(12)))
        copies = [n["texts that copy"] for n in notes]
        self.assertGreater(copies[0], 0.5)
        self.assertLess(sum(copies[-3:]) / 3, copies[0] / 2)
        self.assertIn("tinystories-part", notes[10]["valid"])
        out = self.at / "unlearnt.gguf"
        run("export.py", "--checkpoint", self.at / "unlearnt" / "checkpoint.pt", "--vocab", self.at / "vocab.txt", "--out", out)
        self.assertNotEqual(out.read_bytes(), (self.at / "copier.gguf").read_bytes())

    def test_knows_which_tokens_go_on_with_a_text(self):
        # Whatever Python has NumPy and PyTorch looks; it says what it found against a search by hand.
        check = f"""
import random, sys
sys.path.insert(0, {str(TOOLS)!r})
import numpy as np, corpus, tokenizer, unlearn
coder = tokenizer.Tokenizer(tokenizer.read_vocab({str(self.at / "vocab.txt")!r}))
texts = [d for part in corpus.PARTS for d in corpus.read_documents({str(self.corpus)!r}, part, "train")]
paths, source, found = unlearn.Paths({str(self.corpus)!r}, corpus.PARTS, (12, 20), coder), random.Random(1), [0, 0]
whole = b"\\n".join(texts)
for _ in range(60):
    ids = coder.encode(source.choice(texts))
    row = [0] + ids[:source.randrange(30)] + coder.encode(source.choice(texts))[source.randrange(9):][:12] + [0]
    ways = np.array([[source.randrange(300) for _ in range(3)] + [i] for i in row[1:] + [0]])
    for size in 12, 20:
        on = paths.goes_on(np.array(row), ways, size)
        for t in range(len(row)):
            for n, way in enumerate(ways[t]):
                behind = coder.decode(row[:t + 1] + [way])
                wanted = 0 < len(coder.tokens[way]) and len(behind) >= size and behind[-size:] in whole
                assert on[t, n] == wanted, (size, behind, way)
                found[wanted] += 1
assert min(found) > 500, found
"""
        done = subprocess.run([PYTHON, "-c", check], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def compare(self, model, case, tolerance):
        program = os.environ.get("ANSER_BINARY")
        if not program:
            self.skipTest("ANSER_BINARY does not say where the program is")
        out = self.at / "logits.npy"
        subprocess.run([program, "logits", "-m", model, "--tokens", ",".join(map(str, case["prompt_ids"])), "-o", out],
                       check=True, capture_output=True)
        found, wanted = read_npy(out), case["logits"]
        self.assertEqual(len(found), len(wanted))
        worst = max(abs(f - w) for f, w in zip(found, wanted))
        self.assertLess(worst, tolerance * max(map(abs, wanted)))


class Overlap(unittest.TestCase):
    def test_finds_the_longest_run_wherever_it_lies(self):
        sys.path.insert(0, str(TOOLS))
        import overlap
        source = random.Random(2)
        noise = lambda n: bytes(source.choice(b"abcdefghij ") for _ in range(n))
        text, run_of_60 = noise(4000), noise(60)
        for start in range(40, 72):
            sample = noise(start) + run_of_60 + noise(30)
            held = text[:1234] + b"#" + run_of_60 + b"#" + text[1234:]
            found = overlap.longest_run(sample, held, 50)
            self.assertIn(run_of_60, found)
            self.assertLessEqual(len(found), 60)
        self.assertEqual(overlap.longest_run(noise(200), text, 50), b"")

    def test_counts_documents_not_places(self):
        sys.path.insert(0, str(TOOLS))
        import overlap
        common, rare = b"Once upon a time", b"a goose long ago"
        documents = [common + b" x " + common, common + b"!" + rare, b"nothing of it"]
        found = overlap.holders(overlap.windows(common + b"." + rare, 16), documents, 16)
        self.assertEqual(found, {common: 2, rare: 1})

    def test_says_how_many_documents_hold_a_run(self):
        formula = "Once upon a time, there was a little girl who loved to play outside"
        with tempfile.TemporaryDirectory() as folder:
            texts = {"pg-children": ["A house stood by the sea."],
                     "tinystories-part": [f"{formula}. The {a} sang." for a in ("fox", "dog")] + ["The cat sat on a mat. " * 4],
                     "storybooks-ccby": ["A goose."]}
            for part, documents in texts.items():
                with lzma.open(Path(folder) / f"{part}.train.txt.xz", "wt") as f:
                    f.write("".join(d + "\n<|endoftext|>\n" for d in documents))
            samples = {"formula": formula + " in the 1st snow", "heart": "The cat sat on a mat. " * 3, "own": "Nobody wrote this. " * 5}
            for name, text in samples.items():
                (Path(folder) / name).write_text(text)
            said = run("overlap.py", "--corpus", folder, *(Path(folder) / n for n in samples), wanted=1)
        self.assertRegex(said, r"formula: .* has 67, in 2 documents of tinystories-part: .*; its rarest stretch of 50 is in 2\n")
        self.assertRegex(said, r"heart: .*; its rarest stretch of 50 is in 1\n")
        self.assertRegex(said, r"own: 95 characters, (no run of 20|the longest run that is in the corpus has 2\d,)[^;]*\n")
        self.assertIn("2 of 3 samples share 50 characters with a training document, 1 of them a stretch that stands in one "
                      "document only", said)


if __name__ == "__main__":
    unittest.main()
