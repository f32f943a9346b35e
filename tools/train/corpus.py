"""Reads the corpus: `<part>.<train|valid>.txt.xz` in one folder, documents ended by a line of END."""
import lzma
import os

PARTS = ("pg-children", "tinystories-part", "storybooks-ccby")
END = b"<|endoftext|>"


def read_documents(folder, part, split):
    with lzma.open(os.path.join(folder, f"{part}.{split}.txt.xz")) as f:
        text = f.read()
    documents = (d.strip() for d in text.split(END))
    # A few documents of the storybooks close with a mark of the scanner.
    documents = (d[:-2].rstrip() if d.endswith(b"##") else d for d in documents)
    return [d for d in documents if d]
