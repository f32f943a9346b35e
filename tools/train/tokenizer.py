"""The vocabulary file and its greedy longest-match tokenizer.

The file has one token a line, `<id> <literal> <byte length>`, where the literal is a Python string (meaning its UTF-8
bytes) or a Python bytes literal. Id 0 means end of text, is the empty byte string and is not in the file.
"""
import ast

END_OF_TEXT = 0


def read_vocab(path):
    """The tokens as byte strings, by id."""
    tokens = [b""]
    with open(path, encoding="utf-8") as f:
        for line in f:
            number, rest = line.rstrip("\n").split(" ", 1)
            literal, length = rest.rsplit(" ", 1)
            token = ast.literal_eval(literal)
            if isinstance(token, str):
                token = token.encode()
            if int(number) != len(tokens) or int(length) != len(token):
                raise ValueError(f"{path}: bad line {line!r}")
            tokens.append(token)
    return tokens


def write_vocab(path, tokens):
    with open(path, "w", encoding="utf-8") as f:
        for number, token in enumerate(tokens):
            if number == END_OF_TEXT:
                continue
            try:
                literal = repr(token.decode())
            except UnicodeDecodeError:
                literal = repr(token)
            f.write(f"{number} {literal} {len(token)}\n")


class Tokenizer:
    def __init__(self, tokens):
        self.tokens = tokens
        self.id_of = {token: i for i, token in enumerate(tokens) if token}
        # Longest candidate for each pair of first bytes: it keeps the search to a few dictionary look-ups a token.
        self.longest = {}
        for token in self.id_of:
            start = token[:2]
            self.longest[start] = max(self.longest.get(start, 1), len(token))

    def encode(self, text):
        id_of, longest, ids, at = self.id_of, self.longest, [], 0
        while at < len(text):
            size = longest.get(text[at:at + 2], 1)
            while size > 1 and text[at:at + size] not in id_of:
                size -= 1
            piece = text[at:at + size]
            ids.append(id_of[piece])
            at += len(piece)
        return ids

    def decode(self, ids):
        return b"".join(self.tokens[i] for i in ids)
