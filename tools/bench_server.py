#!/usr/bin/env python3
"""How fast `anser serve` is beside `anser bench` in-process, on this machine, both in turn.

  bench_server.py                        the embedded model
  bench_server.py -m model.gguf          another one
  bench_server.py --json                 one JSON object
  bench_server.py --temperature 0        without draws, of which random weights make more than trained ones

Measures the throughput of 1, 8 and 32 streams, the time to the first token of a short prompt beside 31 streams, how long
a prompt takes whose beginning of 2,000 tokens is known, and the longest that a stream stands still while a prompt of 8,000
tokens is read. Everything counts from the client's side of loopback, whose own work is done on the same cores: `client`
is the share of one core that it took. Needs Python 3 alone.
"""
import argparse
import http.client
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "tools"))
from server_process import BINARY, Server  # noqa: E402

ENDLESS = 1_000_000
REPEATS = 5  # of which `anser bench` takes the median; here, too
NEVER_ENDS = {"logit_bias": {"0": -100}, "seed": 1}


def request(body):
    text = json.dumps(body).encode()
    return (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n").encode() + text


class Stream:
    """One streamed completion on a connection of its own."""

    def __init__(self, port, **body):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = time.perf_counter()
        self.socket.sendall(request({**NEVER_ENDS, **body, "stream": True}))
        self.events, self.first, self.ended, self.tail = 0, None, None, b""

    def take(self):
        """What has come. False at the end."""
        piece = self.socket.recv(1 << 16)
        now = time.perf_counter()
        self.events += piece.count(b"data: {")
        if self.first is None and self.events > 0:
            self.first = now
        self.tail = (self.tail + piece)[-16:]
        if not piece or self.tail.endswith(b"0\r\n\r\n"):
            self.ended = now
            self.socket.close()
            return False
        return True

    def wait_for_first(self):
        while self.first is None and self.take():
            pass
        return self.first - self.begun

    def close(self):
        self.socket.close()


def drain(streams):
    """Reads until all have ended."""
    with selectors.DefaultSelector() as ready:
        for stream in streams:
            ready.register(stream.socket, selectors.EVENT_READ, stream)
        while ready.get_map():
            for key, _ in ready.select():
                if not key.data.take():
                    ready.unregister(key.fileobj)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_process(arguments, batches, tokens):
    """Tokens a second of `anser bench`, by batch."""
    rates = {}
    for batch in batches:
        out = subprocess.run([BINARY, "bench", "--json", "-p", "none", "-b", str(batch), "-n", str(tokens), *arguments],
                             check=True, capture_output=True, text=True).stdout
        rates[batch] = json.loads(out)["decode"][0]["tok_s"]
    return rates


def over_http(server, streams, tokens, fields):
    """Tokens a second from the first request to the last byte, the client's and the server's share of a core."""
    client, served, begin = os.times(), cpu_seconds(server.process.pid), time.perf_counter()
    drain([Stream(server.port, prompt=[1 + i], max_tokens=tokens, seed=i, **fields) for i in range(streams)])
    seconds = time.perf_counter() - begin
    now = os.times()
    return (streams * tokens / seconds, (now.user + now.system - client.user - client.system) / seconds,
            (cpu_seconds(server.process.pid) - served) / seconds)


def while_running(server, count):
    """Streams that go on for ever, all begun; somebody has to read them."""
    streams = [Stream(server.port, prompt=[1 + i], max_tokens=ENDLESS, seed=i) for i in range(count)]
    for stream in streams:
        stream.wait_for_first()
    return streams


def first_tokens(server, others, tries):
    """Seconds to the first text of a short prompt beside so many other streams, sorted."""
    running = while_running(server, others)
    found = []
    with selectors.DefaultSelector() as ready:
        for stream in running:
            ready.register(stream.socket, selectors.EVENT_READ, stream)
        for i in range(tries):
            probe = Stream(server.port, prompt=f"There was once a {i}", max_tokens=2, seed=i)
            ready.register(probe.socket, selectors.EVENT_READ, probe)
            while probe.ended is None:
                for key, _ in ready.select():
                    if not key.data.take():
                        ready.unregister(key.fileobj)
            found.append(probe.first - probe.begun)
    for stream in running:
        stream.close()
    return sorted(found)


def known_prefix(server, length, vocab, tries):
    """Seconds of whole answers of one token, after a prompt of which all but the last token is known, sorted; and of
    the same with a prompt of two tokens, which is what HTTP and a step take anyhow."""
    numbers = random.Random(1)
    prefix = [numbers.randrange(1, vocab) for _ in range(length)]
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(prompt):
        body = json.dumps({**NEVER_ENDS, "prompt": prompt, "max_tokens": 1})
        begin = time.perf_counter()
        connection.request("POST", "/v1/completions", body)
        answer = json.loads(connection.getresponse().read())
        return time.perf_counter() - begin, answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    ask(prefix)
    long, short = [], []
    for i in range(tries):
        seconds, cached = ask(prefix + [1 + i % (vocab - 1)])
        assert cached == length or i >= vocab, cached
        long.append(seconds)
        short.append(ask([1 + i % (vocab - 1), numbers.randrange(1, vocab)])[0])
    connection.close()
    return sorted(long), sorted(short)


def longest_gap(server, prompt):
    """Between two pieces of a stream, for a second, or while a prompt is read."""
    running = while_running(server, 1)[0]
    reading = prompt and Stream(server.port, prompt=prompt, max_tokens=1)
    until, last, longest = time.perf_counter() + 1, None, 0.0
    with selectors.DefaultSelector() as ready:
        ready.register(running.socket, selectors.EVENT_READ, running)
        if reading:
            ready.register(reading.socket, selectors.EVENT_READ, reading)
        while (reading.ended is None) if reading else time.perf_counter() < until:
            for key, _ in ready.select(0.1):
                if not key.data.take():
                    ready.unregister(key.fileobj)
                elif key.data is running:
                    now = time.perf_counter()
                    longest = max(longest, now - (last or now))
                    last = now
    running.close()
    return longest


def milliseconds(values):
    return {"p50": 1e3 * statistics.median(values), "p99": 1e3 * values[min(len(values) - 1, len(values) * 99 // 100)]}


def measure(options):
    arguments = ["--threads", options.threads, *(["-m", options.model] if options.model else [])]
    with Server(*arguments, "--max-tokens", ENDLESS, "--max-batch", 64, "--piece", options.piece) as server:
        rates = {n: [] for n in options.streams}
        fields = {} if options.temperature is None else {"temperature": options.temperature}
        for run in range(options.runs):
            bench = in_process(arguments, options.streams, options.tokens)
            for n in options.streams:
                http_rate, client, served = map(statistics.median, zip(
                    *(over_http(server, n, options.tokens, fields) for _ in range(REPEATS))))
                rates[n].append((bench[n], http_rate, http_rate / bench[n], client, served))
            print(f"run {run + 1} of {options.runs}", file=sys.stderr)
        found = {"throughput": [
            dict(zip(("streams", "bench_tok_s", "http_tok_s", "ratio", "client", "server"),
                     (n, *(statistics.median(column) for column in zip(*rates[n])))))
            for n in options.streams]}
        found["first_token_ms"] = milliseconds(first_tokens(server, 31, options.tries))
        vocab = options.vocab
        long, short = known_prefix(server, 2000, vocab, options.tries)
        found["known_prefix_ms"] = milliseconds(long)
        found["two_tokens_ms"] = milliseconds(short)
        numbers = random.Random(2)
        found["gap_alone_ms"] = 1e3 * longest_gap(server, None)
        prompt = [numbers.randrange(1, vocab) for _ in range(8000)]
        found["gap_beside_8000_tokens_ms"] = 1e3 * longest_gap(server, prompt)
        found["piece_ms"] = 1e3 * options.piece
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="a model file; without it: the embedded model")
    parser.add_argument("--threads", default="0", help="as anser has it; 1 where others use the cores, too")
    parser.add_argument("--vocab", type=int, default=4096, help="token ids of prompts are below this")
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=512, help="of every stream")
    parser.add_argument("--temperature", type=float,
                        help="of throughput; 0 leaves next to nothing to draw. anser bench draws nothing")
    parser.add_argument("--runs", type=int, default=5, help="of throughput, each the median of five; the medians count")
    parser.add_argument("--tries", type=int, default=100, help="of latencies")
    parser.add_argument("--piece", type=float, default=0.05, help="as anser serve has it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        return print(json.dumps(found))
    print("| streams | anser bench tok/s | HTTP tok/s | of bench | client's share of a core | server's cores |")
    print("|--:|--:|--:|--:|--:|--:|")
    for row in found.pop("throughput"):
        print(f"| {row['streams']} | {row['bench_tok_s']:.0f} | {row['http_tok_s']:.0f} | {row['ratio']:.0%} "
              f"| {row['client']:.2f} | {row['server']:.2f} |")
    for name, value in found.items():
        text = ", ".join(f"{k} {v:.1f}" for k, v in value.items()) if isinstance(value, dict) else f"{value:.1f}"
        print(f"{name}: {text}")


if __name__ == "__main__":
    main()
