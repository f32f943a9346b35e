#!/usr/bin/env python3
"""Headers without an end: short fields that a parser has consumed before the next comes, slow drips, folded lines, extensions and
trailers of chunks. The server answers or hangs up before it has taken much, and its memory does not grow."""
import socket
import time

import raw_http
from attack import Slow, check_answer, expect, main

KIND = "header drip"
HEADER_KB = 16  # docs/serving-load.md
MOST_TAKEN = 256 << 10  # bytes of one header that may be taken, those in the kernel's buffers included
START = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
# A body is read only of who has a key.
CHUNKED = START + b"X-API-Key: secret\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def drip(port, begin, pieces, most, seconds, pause=0.0):
    """Sends pieces until it is answered, cut off, or so much is taken. Returns the bytes that were taken, and the answer."""
    connection = raw_http.connect(port)
    # Small, so that what is taken is what the server has read.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parser, taken, end = raw_http.Parser(), 0, time.monotonic() + seconds
    with connection:
        try:
            connection.settimeout(0.001)
            connection.sendall(begin)
            taken += len(begin)
            while taken < most and time.monotonic() < end:
                try:
                    taken += connection.send(next(pieces))
                except TimeoutError:
                    pass
                if pause:
                    time.sleep(pause)
                if taken % 4096 < 64 or pause:
                    try:
                        piece = connection.recv(65536)
                        parser.feed(piece)
                        if parser.answers or not piece:
                            break
                    except TimeoutError:
                        pass
        except OSError:
            pass
        try:  # an answer that came with the end of the connection
            while not parser.answers and (piece := connection.recv(65536)):
                parser.feed(piece)
        except OSError:
            pass
    return taken, parser.answers[0] if parser.answers else None


def endless(piece):
    while True:
        yield piece


ENDLESS = (  # name, how it begins, what is repeated, bytes that may be taken
    ("short fields", START + b"A", b":\r\nA", MOST_TAKEN),
    ("short fields, many a piece", START + b"A", b":\r\nA" * 300, MOST_TAKEN),
    ("fields of two bytes", START, b"a:b\r\n", MOST_TAKEN),
    ("one long value", START + b"A: ", b"a" * 1000, MOST_TAKEN),
    ("one long name", START, b"a" * 1000, MOST_TAKEN),
    ("spaces behind a colon", START + b"A:", b" " * 1000, MOST_TAKEN),
    ("folded lines", START + b"A: b\r\n", b" c\r\n", MOST_TAKEN),
    ("folded lines with tabs", START + b"A: b\r\n", b"\t\r\n", MOST_TAKEN),
    ("a long target", b"GET /", b"a" * 1000, MOST_TAKEN),
    ("a long method", b"", b"A" * 1000, MOST_TAKEN),
    ("empty lines", b"", b"\r\n" * 100, MOST_TAKEN),
    ("a long version", b"GET / HTTP/", b"1" * 1000, MOST_TAKEN),
    ("an extension of a chunk", CHUNKED + b"1;", b"a" * 1000, MOST_TAKEN),
    ("extensions of a chunk", CHUNKED + b"1", b";a=b" * 100, MOST_TAKEN),
    ("a chunk's size of zeros", CHUNKED, b"0" * 1000, MOST_TAKEN),
    ("a trailer of short fields", CHUNKED + b"0\r\nA", b":\r\nA", MOST_TAKEN),
    ("a trailer", CHUNKED + b"0\r\nA: ", b"a" * 1000, MOST_TAKEN),
    ("chunks of a byte, each with an extension", CHUNKED, b"1;" + b"e" * 8000 + b"\r\n \r\n", 40 << 20),
    ("chunks of a byte", CHUNKED, b"1\r\n \r\n" * 100, 110 << 20),
)
WRONG = (  # refused with 400 at once
    ("a folded line", START + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}"),
    ("a folded Content-Length", START + b"Content-Length:\r\n 2\r\n\r\n{}"),
    ("a folded Host", b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n .evil.example\r\n\r\n"),
    ("a chunk's size beyond 64 bits", CHUNKED + b"FFFFFFFFFFFFFFFFF\r\n"),
    ("a negative chunk", CHUNKED + b"-1\r\n"),
    ("two lengths", START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
    ("a length and chunks", START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before a colon", START + b"A : b\r\n\r\n"),
    ("a field without a name", START + b": b\r\n\r\n"),
    ("a zero byte in a value", START + b"A: \0\r\n\r\n"),
)


def attack(run):
    target = run.target("--api-key", "secret")
    full = 1 if run.short else 4

    def endless_header(begin, piece, most):
        taken, answer = drip(target.port, begin, endless(piece), most + (1 << 20), run.slow(4), 0.0005 if len(piece) >= 300 else 0)
        run.figure("taken_kb", taken / 1024 if most == MOST_TAKEN else 0)
        expect(taken <= most, f"an end within {most >> 10} kB", f"that {taken >> 10} kB were taken; answer: {answer}")
        if answer:
            expect(400 <= check_answer(answer).status < 500 or answer.status == 505, "4xx, or 505 of a version", answer)
        check_memory(8)

    def check_memory(most):
        run.figure("memory_mb", round(target.grown_mb(), 1))
        expect(target.grown_mb() < most or run.sanitized, f"memory to grow by less than {most} MB",
               f"{target.grown_mb():.0f} MB")

    def refused(data):
        with raw_http.connect(target.port) as connection:
            answers = raw_http.exchange(connection, data, run.slow(2))
        expect(answers and check_answer(answers[0]).status == 400, "400", answers)

    def huge(piece, megabytes):
        """So much in pieces that come apart, each of which a parser has read before the next: before a key is asked for."""
        taken, answer = drip(target.port, START + b"A", endless(piece), megabytes << 20, run.slow(8), pause=0.001)
        run.figure("taken_kb", taken / 1024)
        expect(taken < MOST_TAKEN, "that it is not taken", f"{taken >> 20} MB taken, memory grown by {target.grown_mb():.0f} MB, {answer}")

    for size in (4000, 15000):
        run.case(f"megabytes of long fields in pieces of {size}", lambda: huge(b":" + b"b" * size + b"\r\nA", 8 * full), target)
        run.case(f"megabytes of short fields in pieces of {size}", lambda: huge(b":\r\nA" * (size // 4), 8 * full), target)
    for name, begin, piece, most in ENDLESS:
        if run.short and most > 1 << 20:
            continue
        run.case(name, lambda b=begin, p=piece, m=most: endless_header(b, p, m), target)
    for name, data in WRONG:
        run.case(name, lambda d=data: refused(d), target)

    def half_headers(count):
        """Each has sent most of what a header may have."""
        line = b"A: " + b"b" * 500 + b"\r\n"
        connections = [raw_http.connect(target.port) for _ in range(count)]
        for connection in connections:
            connection.sendall(START + line * (HEADER_KB * 1024 // len(line) - 2))
        time.sleep(0.5)
        check_memory(16 + count / 10)  # the bytes, their fields, and a connection's own
        for connection in connections:
            connection.close()

    run.case("many half headers", lambda: half_headers(100 * full), target)

    def slow_drips(count, seconds):
        """A byte now and then, for longer than a request may take."""
        begin = time.monotonic()
        connections = [raw_http.connect(target.port) for _ in range(count)]
        ended = 0
        while connections and time.monotonic() < begin + seconds:
            for connection in list(connections):
                try:
                    connection.sendall(b"G")
                except OSError:
                    connections.remove(connection)
                    ended += 1
            time.sleep(0.25)
        expect(run.short or not connections, "that each is cut off after 30 s", f"{len(connections)} go on after {seconds} s")
        for connection in connections:
            connection.close()

    run.case("slow drips", lambda: slow_drips(50 if run.short else 200, 1 if run.short else 40), target)

    def small_asks():
        """The status of a request of 2 kB, on a new connection."""
        return raw_http.ask(target.port, "POST", "/tokenize", {"content": "a" * 2000},
                            {"Authorization": "Bearer secret"}, run.slow(2)).status

    def large_bodies(count):
        """Without a key, or with one: what all bodies have together is not theirs to fill."""
        for key in (b"", b"Authorization: Bearer secret\r\n"):
            connections = [raw_http.connect(target.port) for _ in range(count)]
            for connection in connections:
                try:
                    connection.sendall(START + key + b"Content-Type: application/json\r\nContent-Length: 16777216\r\n\r\n")
                    connection.sendall(b" " * (16 << 20 - 1))
                except OSError:
                    pass  # it has been refused
            status = small_asks()
            for connection in connections:
                connection.close()
            expect(status == 200, "200 beside them", status)

    run.case("large bodies that do not end", lambda: large_bodies(18), target)

    def by_seed(numbers):
        begin = numbers.choice((START, CHUNKED, CHUNKED + b"0\r\n", b"GET ", b"", START + b"A: b\r\n"))
        alphabet = (b":", b"\r\n", b"A", b" ", b"\t", b";", b"=", b"0", b"a", b"\n", b"\r", b"\0", b"1", b"\xff", b"AAAAAAAAAAAAAAAA")
        piece = b"".join(numbers.choice(alphabet) for _ in range(numbers.randrange(1, 12))) * numbers.choice((1, 1, 50, 1000))
        try:
            # A body, if it has become one, ends at 16 MB of its own and eight times that with what is around it.
            taken, answer = drip(target.port, begin, endless(piece), 2 << 20, run.slow(2))
            if answer:
                check_answer(answer)
            check_memory(24)
        except (AssertionError, Slow) as error:
            raise AssertionError(f"{begin!r} + {piece[:40]!r} x n: {error}") from None

    for _ in run.by_seed():
        run.case("by the seed", lambda: by_seed(run.numbers), target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
