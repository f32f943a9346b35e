"""A process of its own beside an attack: asks /health every few milliseconds and keeps streams going.

  watcher.py PORT KEY REFERENCES    REFERENCES: JSON, a list of [request, its text alone]

Reads lines from stdin: `reset` forgets what was measured, `report` prints it as a line of JSON. `late_ms` is the longest
time by which this process itself woke late: so much of the other figures is the machine's, not the server's.
"""
import asyncio
import json
import sys
import time

PERIOD = 0.005
PATIENCE = 30  # seconds that one wait may take until the watcher gives it up


class Figures:
    """The longest waits, those that are not over included."""

    def __init__(self):
        self.pending = {}
        self.reset()

    def reset(self):
        now = time.monotonic()
        self.pending = {name: now for name in self.pending}
        self.longest = {"health": 0.0, "gap": 0.0, "late": 0.0}
        self.asked = self.events = self.first_events = 0
        self.wrong = []

    def begin(self, name):
        self.pending[name] = time.monotonic()

    def end(self, name):
        begin = self.pending.pop(name, None)
        if begin is not None:
            self.note(name.split()[0], time.monotonic() - begin)

    def note(self, kind, seconds):
        self.longest[kind] = max(self.longest[kind], seconds)

    def complain(self, text):
        if len(self.wrong) < 5:
            self.wrong.append(text[:300])

    def report(self):
        now = time.monotonic()
        for name, begin in self.pending.items():
            self.note(name.split()[0], now - begin)
        return {**{f"{kind}_ms": round(1000 * seconds, 1) for kind, seconds in self.longest.items()},
                "asked": self.asked, "events": self.events, "first_events": self.first_events, "wrong": self.wrong}


async def clock(figures):
    while True:
        due = time.monotonic() + PERIOD
        await asyncio.sleep(PERIOD)
        figures.note("late", time.monotonic() - due)


async def ask_health(port, figures):
    """On a connection that is kept, and a new one every 20th time."""
    reader = writer = None
    while True:
        try:
            figures.begin("health")
            if writer is None or figures.asked % 20 == 0:
                if writer is not None:
                    writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(size)
            figures.end("health")
            if b" 200 " not in head[:20]:
                figures.complain(f"/health: {head[:80]!r}")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, StopIteration) as error:
            figures.complain(f"/health: {error!r}")
            writer = None
            await asyncio.sleep(0.05)
        figures.asked += 1
        await asyncio.sleep(PERIOD)


def text_of(event, name, figures):
    """What an event adds to the text."""
    line = event.strip().removeprefix(b"data: ")
    if not line.startswith(b"{"):
        return ""
    value = json.loads(line)
    if "error" in value:
        figures.complain(f"{name}: {line[:200]!r}")
        return ""
    return "".join(choice["text"] for choice in value["choices"])


async def read_stream(reader, name, expected, figures):
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        figures.complain(f"{name}: {head[:80]!r} {(await reader.read(300))!r}")
        await asyncio.sleep(0.1)
        return
    text, first = "", True
    while size := int(await reader.readline(), 16):
        data = (await reader.readexactly(size + 2))[:-2]
        if first:
            figures.first_events += 1
        else:
            figures.end(name)
        figures.begin(name)
        figures.events += 1
        first = False
        for event in data.split(b"\n\n"):
            text += text_of(event, name, figures)
        if not expected.startswith(text):
            figures.complain(f"{name}: another text than alone: {text[-80:]!r}")
            return
    figures.end(name)
    if text != expected:
        figures.complain(f"{name}: ended after {len(text)} of {len(expected)} characters")


async def stream(port, key, index, body, expected, figures):
    """Again and again the same one. Gaps are those between its events; the first comes when it comes."""
    name, text = f"gap {index}", json.dumps({**body, "stream": True}).encode()
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Authorization: Bearer {key}\r\nContent-Length: {len(text)}\r\n\r\n").encode()
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head + text)
            await read_stream(reader, name, expected, figures)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            figures.complain(f"{name}: {error!r}")
            await asyncio.sleep(0.05)
        finally:
            figures.pending.pop(name, None)
            if writer is not None:
                writer.close()


async def main():
    port, key, references = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    figures = Figures()
    tasks = [asyncio.create_task(clock(figures)), asyncio.create_task(ask_health(port, figures))]
    tasks += [asyncio.create_task(stream(port, key, i, body, text, figures)) for i, (body, text) in enumerate(references)]
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        if line.strip() == b"reset":
            figures.reset()
        else:
            print(json.dumps(figures.report()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
