"""HTTP/1.1 from raw bytes: what is sent need not be a request, and what comes back is checked to be an answer.

It sends and receives at once, so that a server may answer before it has read everything. Python's own library alone.
"""
import json
import re
import select
import socket
import time

MAX_ERROR_BYTES = 1024  # of the whole body of an error


class BadAnswer(AssertionError):
    """What came back is no HTTP, or is not what an answer must be."""


class Slow(AssertionError):
    """No answer in time."""


class Answer:
    def __init__(self, status, headers, body, seconds=0.0, method=""):
        self.status, self.headers, self.body, self.seconds, self.method = status, headers, body, seconds, method

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise BadAnswer(f"status {self.status}, expected JSON, found {cut(self.body)}") from None

    @property
    def message(self):
        return self.json()["error"]["message"]

    def __repr__(self):
        return f"status {self.status} after {self.seconds:.2f} s: {cut(self.body)}"


def cut(data, size=200):
    """The beginning of it, for people."""
    return repr(bytes(data[:size])) + (f"... ({len(data)} bytes)" if len(data) > size else "")


def check_answer(answer):
    """2xx, or an error in OpenAI's shape of at most 1 kB. Anything else is a find."""
    if 200 <= answer.status < 400 or answer.method == "HEAD":
        return answer
    if len(answer.body) > MAX_ERROR_BYTES:
        raise BadAnswer(f"an error of {len(answer.body)} bytes, expected at most {MAX_ERROR_BYTES}: {answer}")
    error = answer.json().get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str) or not error["message"]:
        raise BadAnswer(f"expected an error with a message, found {answer}")
    return answer


class Parser:
    """Answers from the bytes of a connection, as they come."""

    def __init__(self, methods=()):
        self.buffer = bytearray()
        self.answers = []
        self.methods = list(methods)  # HEAD has no body
        self._head = None

    def feed(self, data):
        self.buffer += data
        while self._step():
            pass

    def _step(self):
        if self._head is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                if self.buffer and not b"HTTP/1.".startswith(bytes(self.buffer[:7])) and self.buffer[:7] != b"HTTP/1.":
                    raise BadAnswer(f"no HTTP: {cut(self.buffer)}")
                if len(self.buffer) > 1 << 16:
                    raise BadAnswer(f"a header without an end: {cut(self.buffer)}")
                return False
            self._head = read_head(bytes(self.buffer[:end]))
            del self.buffer[:end + 4]
        status, headers = self._head
        body = self._body(status, headers)
        if body is None:
            return False
        self._head = None
        if status != 100:
            method = self.methods[len(self.answers)] if len(self.answers) < len(self.methods) else ""
            self.answers.append(Answer(status, headers, body, method=method))
        return bool(self.buffer)

    def _body(self, status, headers):
        """None while it is not whole."""
        method = self.methods[len(self.answers)] if len(self.answers) < len(self.methods) else ""
        if status in (100, 204, 304):
            return b""
        # None for HEAD; but who refuses what is no HTTP cannot know that it was one.
        if method == "HEAD" and self.buffer[:1] != b"{":
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        if "content-length" not in headers:
            raise BadAnswer(f"status {status} has neither Content-Length nor chunks: {headers}")
        size = int(headers["content-length"])
        if len(self.buffer) < size:
            return None
        body = bytes(self.buffer[:size])
        del self.buffer[:size]
        return body

    def _chunks(self):
        if not self.buffer.endswith(b"0\r\n\r\n") and b"\r\n0\r\n\r\n" not in self.buffer:
            return None
        body, at = b"", 0
        while True:
            end = self.buffer.find(b"\r\n", at)
            if end < 0:
                return None
            if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", self.buffer[at:end]):
                raise BadAnswer(f"no chunk's size: {cut(self.buffer[at:])}")
            size = int(self.buffer[at:end], 16)
            if len(self.buffer) < end + 2 + size + 2:
                return None
            body += self.buffer[end + 2:end + 2 + size]
            at = end + 2 + size + 2
            if self.buffer[at - 2:at] != b"\r\n":
                raise BadAnswer(f"a chunk without an end: {cut(self.buffer)}")
            if size == 0:
                del self.buffer[:at]
                return bytes(body)


def read_head(head):
    first, *lines = head.split(b"\r\n")
    found = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) [ -~]*", first)
    if not found:
        raise BadAnswer(f"no status line: {cut(first)}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not re.fullmatch(rb"[!#-'*+.^_`|~0-9A-Za-z-]+", name) or re.search(rb"[\r\n\0]", value):
            raise BadAnswer(f"no header line: {cut(line)}")
        headers[name.decode().lower()] = value.strip().decode("latin-1")
    return int(found[1]), headers


def connect(port, source=None, timeout=5):
    """`source` is an address of loopback, so that one machine is several peers."""
    return socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)


def exchange(connection, data, timeout=10.0, answers=1, methods=()):
    """Sends it and waits for so many answers, or for the end of the connection. Returns what came."""
    parser, begin = Parser(methods), time.monotonic()
    connection.setblocking(False)
    rest = memoryview(data)
    while len(parser.answers) < answers:
        left = begin + timeout - time.monotonic()
        if left <= 0:
            raise Slow(f"no answer {len(parser.answers) + 1} in {timeout:.1f} s; {len(rest)} bytes were not yet taken")
        readable, writable, _ = select.select([connection], [connection] if rest else [], [], left)
        if writable:
            try:
                rest = rest[connection.send(rest[:1 << 18]):]
            except BlockingIOError:
                pass
            except OSError:  # what was answered before may still be there to read
                rest = memoryview(b"")
        if readable:
            try:
                piece = connection.recv(1 << 18)
            except BlockingIOError:
                continue
            except OSError:
                break
            if not piece:
                break
            parser.feed(piece)
    for answer in parser.answers:
        answer.seconds = time.monotonic() - begin
    return parser.answers


def request_bytes(method, path, body=b"", headers=None):
    lines = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **({"Content-Type": "application/json"} if body else {}),
             **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def ask(port, method, path, body=None, headers=None, timeout=10.0, source=None):
    """One request on a connection of its own. `body`: bytes as they are, or what becomes JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    with connect(port, source) as connection:
        found = exchange(connection, request_bytes(method, path, body or b"", headers), timeout, methods=[method])
    if not found:
        raise BadAnswer(f"{method} {path}: the connection ended without an answer")
    return found[0]
