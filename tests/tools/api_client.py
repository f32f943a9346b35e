"""Requests to a server on loopback, with asyncio and nothing else: sockets that can be read slowly, half-closed and cut."""
import asyncio
import json


async def send(port, path, content=None, limit=1 << 16):
    """A connection on which this has been asked, a POST if there is content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    text = b"" if content is None else json.dumps(content).encode()
    method = "GET" if content is None else "POST"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
    await writer.drain()
    return reader, writer


def status_and_body(answer):
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), body


async def ask(port, path, content=None):
    """The body of a good answer that is no stream."""
    reader, writer = await send(port, path, content)
    status, body = status_and_body(await reader.read())
    writer.close()
    assert status == 200, body
    return body.decode()


async def metrics(port):
    lines = (await ask(port, "/metrics")).splitlines()
    return {name.removeprefix("anser_"): float(value)
            for name, value in (line.split() for line in lines if not line.startswith("#"))}


def text_of(stream):
    """Of a chunked stream of events; it must be complete."""
    assert stream.endswith(b"0\r\n\r\n") and b"data: [DONE]" in stream, stream[-200:]
    lines = [line for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines)
