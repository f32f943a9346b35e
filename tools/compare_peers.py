#!/usr/bin/env python3
"""Measures anser beside llama.cpp: the same files, threads, tokens and minutes.

  compare_peers.py speed MODEL.gguf... [--threads N] [--rounds 5] [--markdown | --json]
  compare_peers.py quantise IN.gguf OUT.gguf q8_0|q4_0|q4_k_m|...     by llama.cpp, from an F16 file

The two programs take turns, a process each time: anser, llama.cpp, anser, llama.cpp ... so that whatever else the
machine does meets both. Each process warms up and takes the median of 5 runs; a table's figure is the median over the
rounds, its ratio the median of the rounds' ratios (above 1: anser is faster).

llama.cpp is used through llama-cpp-python's bindings of its C functions; only llama_decode is timed, on fixed tokens,
without sampling. `anser bench` feeds the same tokens. Files are mapped and in the page cache in both.
"""
import argparse
import contextlib
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 5  # in a process, as in `anser bench`
MISSING = """llama-cpp-python is missing from {python}. Build it for this processor in an environment of its own:
  python3 -m venv peers
  CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_OPENMP=ON" peers/bin/pip install --no-binary llama-cpp-python llama-cpp-python
then run this with peers/bin/python, or give it --llama-python peers/bin/python. The build takes some twenty minutes of one core."""


class Failed(Exception):
    pass


# --- llama.cpp, in a process of its own


complaints = []  # what llama.cpp logged as errors


def import_llama():
    try:
        import llama_cpp
    except ImportError as error:
        raise Failed(f"{MISSING.format(python=sys.executable)}\n({error})")

    def log(level, text, data):
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            complaints.append(text.decode(errors="replace").strip())

    import_llama.log = llama_cpp.llama_log_callback(log)  # has to outlive the calls
    llama_cpp.llama_log_set(import_llama.log, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    return llama_cpp


def complain(what):
    raise Failed("\n  ".join([f"llama.cpp {what}; it says:", *(complaints[-5:] or ["nothing"])]))


def some_tokens(count, vocab):
    """The tokens that `anser bench` feeds."""
    tokens, x = [], 1
    for _ in range(count):
        x = (x * 1664525 + 1013904223) % 2**32
        tokens.append((x >> 8) % vocab)
    return tokens


class Llama:
    """A model and a context for a number of sequences, with no more state than they need."""

    def __init__(self, path, sequences, threads):
        self.api = api = import_llama()
        begin = time.perf_counter()
        self.model = api.llama_model_load_from_file(os.fsencode(path), api.llama_model_default_params())
        if not self.model:
            complain(f"does not load {path}")
        params = api.llama_context_default_params()
        params.n_seq_max = sequences
        params.n_ctx = max(4096, 128 * sequences)  # positions; a recurrent model stores nothing for them
        params.n_batch = params.n_ubatch = max(512, sequences)  # tokens that are computed together
        params.n_threads = params.n_threads_batch = threads
        self.piece = params.n_batch
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            complain(f"makes no context of {sequences} sequences for {path}")
        self.load_s = time.perf_counter() - begin
        self.vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def batch(self, items):
        """items: (token, position, sequence, whether its logits are wanted)"""
        batch = self.api.llama_batch_init(len(items), 0, 1)
        batch.n_tokens = len(items)
        for i, (token, position, sequence, wanted) in enumerate(items):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        return batch

    def seconds(self, batches):
        """For all of the batches, one after the other, from the initial state."""
        self.clear()
        begin = time.perf_counter()
        for batch in batches:
            code = self.api.llama_decode(self.context, batch)
            if code != 0:
                complain(f"fails to compute {batch.n_tokens} tokens (llama_decode: {code})")
        self.api.llama_synchronize(self.context)
        return time.perf_counter() - begin

    def prompt(self, tokens):
        """Batches of a prompt, logits of its last token only."""
        items = [(token, i, 0, i == len(tokens) - 1) for i, token in enumerate(tokens)]
        return [self.batch(items[at:at + self.piece]) for at in range(0, len(items), self.piece)]

    def steps(self, count, sequences):
        """Batches of one token for each sequence, with the logits of all."""
        tokens = iter(some_tokens(count * sequences, self.vocab))
        return [self.batch([(next(tokens), step, s, True) for s in range(sequences)]) for step in range(count)]

    def logits(self, tokens):
        self.seconds(self.prompt(tokens))
        return self.api.llama_get_logits_ith(self.context, -1)[:self.vocab]


def llama_measure(path, kind, size, steps, threads):
    """What `anser bench` says, of llama.cpp: {"load_s", "tok_s"}."""
    llama = Llama(path, size if kind == "decode" else 1, threads)
    if kind == "prefill":
        batches, warm_up, tokens = llama.prompt(some_tokens(size, llama.vocab)), None, size
    else:
        batches, tokens = llama.steps(steps, size), steps * size
        warm_up = batches[:1]
    llama.seconds(warm_up or batches)
    return {"load_s": llama.load_s, "tok_s": tokens / statistics.median(llama.seconds(batches) for _ in range(RUNS))}


def quantise(source, target, name):
    api = import_llama()
    prefix = "LLAMA_FTYPE_MOSTLY_"
    types = {key[len(prefix):].lower(): value for key, value in vars(api).items() if key.startswith(prefix)}
    if name not in types:
        raise Failed(f"{name}: no type of llama.cpp's; expected one of {', '.join(sorted(types))}")
    if Path(target).exists() and os.path.samefile(source, target):
        raise Failed(f"{target} is the file to read from")
    params = api.llama_model_quantize_default_params()
    params.ftype = types[name]
    params.nthread = len(os.sched_getaffinity(0))
    code = api.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    if code != 0:
        complain(f"does not quantise {source}, which has to be a GGUF file of F16, BF16 or F32 (code {code})")
    print(f"{target}: {os.path.getsize(target)} bytes, from {os.path.getsize(source)}", file=sys.stderr)


# --- the two, in turns


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout)


class Programs:
    """Either program measures one thing in a fresh process: {"load_s", "tok_s"}."""

    def __init__(self, anser, llama_python, threads):
        self.anser_path, self.llama_python, self.threads = anser, llama_python, threads

    def anser(self, path, kind, size, steps):
        prompt, batch = (size, 1) if kind == "prefill" else (1, size)
        found = run_json([self.anser_path, "bench", "-m", path, "-p", str(prompt), "-b", str(batch), "-n", str(steps),
                          "--threads", str(self.threads), "--json"])
        return {"load_s": found["load_s"], "tok_s": found[kind][0]["tok_s"], "isa": found["isa"],
                "type": found["type"]}

    def llama(self, path, kind, size, steps):
        return run_json([self.llama_python, __file__, "llama", path, kind, str(size), str(steps), str(self.threads)])

    def logits_of_llama(self, path, tokens):
        return run_json([self.llama_python, __file__, "llama-logits", path, ",".join(map(str, tokens)),
                         str(self.threads)])

    def logits_of_anser(self, path, tokens):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "logits.npy"
            subprocess.run([self.anser_path, "logits", "-m", path, "--tokens", ",".join(map(str, tokens)), "-o", out],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return read_npy(out)


def read_npy(path):
    """The numbers of a float32 .npy file."""
    raw = Path(path).read_bytes()
    begin = 10 + int.from_bytes(raw[8:10], "little")  # magic, version, header's length, header
    return list(memoryview(raw)[begin:].cast("f"))


def steps_for(seconds, tokens_per_second, sequences, most):
    """Steps of a run such that RUNS runs take about `seconds`."""
    return max(2, min(most, round(seconds / RUNS * tokens_per_second / sequences)))


def summary(anser, llama):
    """Medians of two lists of rates, one of each per round, and the ratio with its range."""
    ratios = [a / b for a, b in zip(anser, llama)]
    return {"anser": statistics.median(anser), "llama": statistics.median(llama), "ratio": statistics.median(ratios),
            "ratio_least": min(ratios), "ratio_most": max(ratios)}


def difference(a, b):
    """How far two lists of logits are apart: the largest difference, and the standard deviation of the first."""
    return {"largest": max(abs(x - y) for x, y in zip(a, b)), "deviation": statistics.pstdev(a)}


def say(text):
    print(text, file=sys.stderr, flush=True)


def compare(programs, path, options):
    """{"file", "type", "isa", "logits", "rows": [{"what", "unit", "anser", "llama", "ratio", ...}]}"""
    name = Path(path).name
    tokens = some_tokens(8, 60000)
    logits = difference(programs.logits_of_anser(path, tokens), programs.logits_of_llama(path, tokens))
    say(f"{name}: logits of 8 tokens differ by at most {logits['largest']:.2g}, their deviation is "
        f"{logits['deviation']:.2g}")
    found = {"file": name, "logits": logits, "rows": []}
    loads = {"anser": [], "llama": []}

    measures = [("prefill", size) for size in options.prompt] + [("decode", size) for size in options.batch]
    for kind, size in measures:
        steps = 1
        if kind == "decode":
            # A look, also for what is still on disk, tells how many steps fit the time.
            slower = min(run(path, kind, size, 2)["tok_s"] for run in (programs.anser, programs.llama))
            steps = steps_for(options.seconds, slower, size, options.steps)
        rates = {"anser": [], "llama": []}
        for number in range(options.rounds):
            for program in ("anser", "llama"):
                one = getattr(programs, program)(path, kind, size, steps)
                rates[program].append(one["tok_s"])
                loads[program].append(one["load_s"])
                found.update({key: one[key] for key in ("type", "isa") if key in one})
        row = {"what": f"prefill {size}" if kind == "prefill" else f"decode, batch {size}", "unit": "tok/s",
               "rates": rates, **summary(rates["anser"], rates["llama"])}
        if kind == "decode":
            row["steps"] = steps
        found["rows"].append(row)
        say(f"{name}: {describe(row)}")
    # Rates, so that above 1 means the same as elsewhere; shown as seconds.
    load = summary(*([1 / seconds for seconds in loads[program]] for program in ("anser", "llama")))
    found["rows"].append({"what": "load", "unit": "s", **load, "anser": 1 / load["anser"], "llama": 1 / load["llama"]})
    return found


def number(value):
    """Three digits, and no more behind the point than mean something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def columns(row):
    ratio = f"{row['ratio']:.2f} ({row['ratio_least']:.2f}-{row['ratio_most']:.2f})"
    return [row["what"], f"{number(row['anser'])} {row['unit']}", f"{number(row['llama'])} {row['unit']}", ratio]


def describe(row):
    what, anser, llama, ratio = columns(row)
    return f"{what}: anser {anser}, llama.cpp {llama}, ratio {ratio}"


HEADINGS = ["", "anser", "llama.cpp", "ratio (range)"]


def as_text(result):
    lines = []
    for model in result["models"]:
        lines.append(f"{model['file']} ({model['isa']}, {result['machine']['threads']} threads)")
        lines += ["{:<18} {:>14} {:>14}   {}".format(*row) for row in [HEADINGS, *map(columns, model["rows"])]]
        lines.append("")
    return "\n".join(lines)


def as_markdown(result):
    """One table for all models: a line each, anser / llama.cpp = ratio."""
    names = [row["what"] for row in result["models"][0]["rows"]]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for model in result["models"]:
        cells = [f"{number(row['anser'])} / {number(row['llama'])} = **{row['ratio']:.2f}**" for row in model["rows"]]
        lines.append(f"| {Path(model['file']).stem} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine(programs):
    """What the figures depend on."""
    name, flags = platform.processor(), set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    told = ("avx2", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    versions = run_json([programs.llama_python, __file__, "llama-version"])
    return {"processor": name, "features": [flag for flag in told if flag in flags], "cores": os.cpu_count(),
            "threads": programs.threads, "load_average": os.getloadavg()[0], **versions}


def speed(options):
    for path in options.models:
        if not Path(path).is_file():
            raise Failed(f"{path}: no such file")
    if not os.access(options.anser, os.X_OK):
        raise Failed(f"{options.anser}: no program there; `make build` makes it, --anser names another")
    programs = Programs(options.anser, options.llama_python, options.threads)
    result = {"machine": machine(programs), "rounds": options.rounds, "models": []}
    about = result["machine"]
    say(f"{about['processor']}, {about['cores']} cores, {' '.join(about['features'])}; {about['threads']} threads; "
        f"llama-cpp-python {about['llama_cpp_python']}: {about['llama_system']}")
    for path in options.models:
        result["models"].append(compare(programs, path, options))
    print(json.dumps(result, indent=1) if options.json else
          as_markdown(result) if options.markdown else as_text(result))


# --- the command


def numbers(text):
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected numbers from 1")
    return values


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = args.add_subparsers(dest="command", required=True, metavar="speed | quantise")
    one = commands.add_parser("speed")
    one.add_argument("models", nargs="+", metavar="MODEL.gguf")
    one.add_argument("--anser", default=str(ROOT / "build" / "release" / "anser"), metavar="PROGRAM")
    one.add_argument("--llama-python", default=sys.executable, metavar="PYTHON",
                     help="an interpreter that has llama-cpp-python (default: this one)")
    one.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--prompt", type=numbers, default=[512], help="lengths, separated by commas (default: 512)")
    one.add_argument("--batch", type=numbers, default=[1, 2, 4, 8, 16, 32, 64],
                     help="sequences decoded together (default: 1,2,4,8,16,32,64)")
    one.add_argument("--steps", type=int, default=64, help="decoded tokens of a run at most (default: 64)")
    one.add_argument("--seconds", type=float, default=3, help="for the runs of a process that decodes (default: 3)")
    form = one.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    one = commands.add_parser("quantise")
    for name in ("source", "target", "type"):
        one.add_argument(name)
    # What `speed` starts for llama.cpp's turns; each prints JSON.
    one = commands.add_parser("llama")
    one.add_argument("model")
    one.add_argument("kind", choices=("prefill", "decode"))
    for name in ("size", "steps", "threads"):
        one.add_argument(name, type=int)
    one = commands.add_parser("llama-logits")
    one.add_argument("model")
    one.add_argument("tokens", type=lambda text: [int(part) for part in text.split(",")])
    one.add_argument("threads", type=int)
    commands.add_parser("llama-version")

    options = args.parse_args()
    try:
        if options.command == "speed":
            speed(options)
        elif options.command == "quantise":
            quantise(options.source, options.target, options.type.lower())
        elif options.command == "llama":
            print(json.dumps(llama_measure(options.model, options.kind, options.size, options.steps,
                                           options.threads)))
        elif options.command == "llama-logits":
            print(json.dumps(Llama(options.model, 1, options.threads).logits(options.tokens)))
        else:
            api = import_llama()
            print(json.dumps({"llama_cpp_python": __import__("llama_cpp").__version__,
                              "llama_system": api.llama_print_system_info().decode().strip()}))
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
