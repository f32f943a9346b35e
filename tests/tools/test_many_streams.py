"""Many streams at once over the API: slow readers, half-closed sockets and clients that go, beside others whose answers
must be as if they were alone. ANSER_STREAMS sets how many there are; 500 by hand, fewer in every test run."""
import asyncio
import json
import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from server_process import BINARY, Server  # noqa: E402

STREAMS = int(os.environ.get("ANSER_STREAMS", 120))
ENDLESS = 1_000_000
KINDS = ("whole", "slow", "half-closed", "goes in its stream", "goes at once")


def body(seed, max_tokens, stream):
    return {"prompt": f"The {seed}th story begins", "seed": seed, "max_tokens": max_tokens, "stream": stream,
            "logit_bias": {"0": -100}}


async def send(port, path, content, limit=1 << 16):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    text = b"" if content is None else json.dumps(content).encode()
    method = "GET" if content is None else "POST"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                 f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
    await writer.drain()
    return reader, writer


async def ask(port, path, content=None):
    reader, writer = await send(port, path, content)
    answer = await reader.read()
    writer.close()
    head, text = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200"), answer
    return text.decode()


async def metric(port, name):
    for line in (await ask(port, "/metrics")).splitlines():
        if line.startswith(f"anser_{name} "):
            return float(line.split()[1])
    raise KeyError(name)


def text_of(stream):
    """Of a chunked stream of events; it must be complete."""
    assert stream.endswith(b"0\r\n\r\n") and b"data: [DONE]" in stream, stream[-200:]
    lines = [line for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines)


async def one(port, i):
    """What the stream said; None of a client that went."""
    kind = KINDS[i % len(KINDS)]
    goes = kind.startswith("goes")
    reader, writer = await send(port, "/v1/completions", body(i, ENDLESS if goes else 10 + i % 50, True), limit=4096)
    try:
        if kind == "goes at once":
            writer.transport.abort()
            return None
        await reader.readuntil(b"data: ")
        if kind == "goes in its stream":
            writer.transport.abort()
            return None
        if kind == "half-closed":
            writer.write_eof()
        received = b"data: "
        while piece := await reader.read(200 if kind == "slow" else 1 << 16):
            received += piece
            if kind == "slow":
                await asyncio.sleep(0.002)
        return text_of(received)
    finally:
        writer.close()


class ManyStreams(unittest.TestCase):
    def test_all_are_held_and_right(self):
        with Server("--max-tokens", ENDLESS, "--max-queue", STREAMS, "--cache-mb", 16) as server:
            asyncio.run(self.hold(server))

    async def hold(self, server):
        port = server.port
        await ask(port, "/v1/completions", body(1, 100, False))
        before, most = server.rss_kb(), 0

        async def watch():
            nonlocal most
            while True:
                most = max(most, server.rss_kb())
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        begin = time.monotonic()
        texts = await asyncio.gather(*(one(port, i) for i in range(STREAMS)))
        seconds = time.monotonic() - begin
        watching.cancel()

        gone = sum(text is None for text in texts)
        self.assertEqual(gone, sum(KINDS[i % len(KINDS)].startswith("goes") for i in range(STREAMS)))
        # Their places are free: they wanted to write for ever.
        for _ in range(1000):
            left = await metric(port, "running") + await metric(port, "queued")
            if left == 0:
                break
            await asyncio.sleep(0.01)
        self.assertEqual(left, 0)
        self.assertEqual(await metric(port, "failed_total"), 0)
        # Who went before his text began to wait was never counted.
        self.assertLessEqual(await metric(port, "cancelled_total"), gone)
        self.assertGreater(await metric(port, "cancelled_total"), 0)

        # 32 states of 0.4 MB are at work, 16 MB of them are kept, a connection and a text that waits take some kB. The
        # address sanitizer keeps what was freed.
        grown_mb = (most - before) / 1024
        if b"__asan_init" not in Path(BINARY).read_bytes():
            self.assertLess(grown_mb, 64 + STREAMS / 20)
        for i, text in enumerate(texts):
            if text is not None and (STREAMS <= 120 or i % 7 == 0):
                alone = json.loads(await ask(port, "/v1/completions", body(i, 10 + i % 50, False)))
                self.assertEqual(text, alone["choices"][0]["text"], f"stream {i}, {KINDS[i % len(KINDS)]}")
        print(f"{STREAMS} streams in {seconds:.1f} s, {gone} of which went; memory {before / 1024:.0f} MB, "
              f"{grown_mb:.0f} MB more at the most", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
