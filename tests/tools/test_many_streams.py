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
from api_client import ask, metrics, send, text_of  # noqa: E402
from server_process import BINARY, Server  # noqa: E402

STREAMS = int(os.environ.get("ANSER_STREAMS", 120))
ENDLESS = 1_000_000
KINDS = ("whole", "slow", "half-closed", "goes in its stream", "goes at once")


def body(seed, max_tokens, stream):
    return {"prompt": f"The {seed}th story begins", "seed": seed, "max_tokens": max_tokens, "stream": stream,
            "logit_bias": {"0": -100}}


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
            now = await metrics(port)
            if now["running"] + now["queued"] == 0:
                break
            await asyncio.sleep(0.01)
        self.assertEqual(now["running"] + now["queued"], 0)
        self.assertEqual(now["failed_total"], 0)
        # Who went before his text began to wait was never counted.
        self.assertTrue(0 < now["cancelled_total"] <= gone, now)

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
