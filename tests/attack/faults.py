"""The orders of disk_faults.c: a library that is built beside the tests, or here where it is not."""
import errno
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

CALLS = ("open", "create", "write", "sync", "rename", "unlink", "truncate", "map", "read", "mkdir", "thread")
SOURCE = Path(__file__).with_name("disk_faults.c")


def library(run):
    """Its path. $ATTACK_LIBRARY names the one that CMake has built; without it, or a C compiler, None."""
    built = os.environ.get("ATTACK_LIBRARY")
    if built and Path(built).exists():
        return os.path.abspath(built)
    path = Path(run.folder) / "libdisk_faults.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not path.exists():
        if compiler is None:
            return None
        subprocess.run([compiler, "-O1", "-fPIC", "-shared", "-o", path, SOURCE, "-ldl"], check=True)
    return str(path)


class Faults:
    """What the program that is started with `environment` is to suffer below the folder."""

    def __init__(self, run, folder):
        self.path = run.scratch("orders") / "orders"
        self.path.write_bytes(bytes(24))
        self.file = open(self.path, "r+b")
        self.orders = mmap.mmap(self.file.fileno(), 24)
        self.environment = {**os.environ, "LD_PRELOAD": library(run), "ATTACK_ORDERS": str(self.path), "ATTACK_FOLDER": str(folder)}

    def order(self, calls, error="EIO", wait=0, times=-1, growing=False):
        bits = sum(1 << CALLS.index(call) for call in calls)
        number = getattr(errno, error) if error else 0
        # What says whether anything fails is written last.
        self.orders[4:24] = struct.pack("<iiiII", wait, times, number, growing, 0)
        self.orders[0:4] = struct.pack("<I", bits)

    def none(self):
        """Returns how many calls have failed."""
        self.orders[0:4] = bytes(4)
        return struct.unpack("<I", self.orders[20:24])[0]

    def close(self):
        self.orders.close()
        self.file.close()
