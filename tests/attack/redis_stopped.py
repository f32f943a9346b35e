#!/usr/bin/env python3
"""A Redis that is silent (SIGSTOP): forty requests are all answered within seconds, not behind each other, and everything goes on
when it speaks again. Needs redis-server (tools/setup.sh scaleout)."""
import shutil
import signal
import socket
import subprocess
import threading
import time

from attack import check_answer, expect, main
from stores import listed

KIND = "redis stopped"


def start_redis(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise AssertionError("expected a Redis of one's own, found that it does not start")


def attack(run):
    if shutil.which("redis-server") is None:
        return "redis-server is not installed (tools/setup.sh scaleout); "
    redis, port = start_redis(run.scratch("redis"))
    target = run.target("--state-store", f"redis://127.0.0.1:{port}", "--state-ram-mb", 0)
    try:
        attack_with(run, target, redis, port)
    finally:
        target.end()
        redis.send_signal(signal.SIGCONT)
        redis.kill()
        redis.wait()
    return None


def attack_with(run, target, redis, port):
    def silent(count):
        kept = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once", "name": f"kept{run.cases}"})).json()["id"]
        requests = [("GET", "/v1/states", None), ("GET", f"/v1/states/{kept}", None), ("GET", f"/v1/states/{kept}/content", None),
                    ("POST", "/v1/completions", {"state": kept, "max_tokens": 2}), ("POST", f"/v1/states/{kept}/fork", {}),
                    ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2, "save_state": True}),
                    ("PATCH", f"/v1/states/{kept}", {"tags": ["x"]}), ("POST", "/v1/states", {"prompt": "b"}),
                    ("POST", "/v1/responses", {"input": "a", "max_output_tokens": 2}), ("DELETE", f"/v1/states/{kept}x", None)]
        found, begin = [], time.monotonic()
        redis.send_signal(signal.SIGSTOP)
        try:
            def one(method, path, body):
                try:
                    answer = check_answer(target.ask(method, path, body, timeout=run.slow(6) + 4))
                    found.append((time.monotonic() - begin, path, answer))
                except AssertionError as error:
                    found.append((time.monotonic() - begin, path, error))

            threads = [threading.Thread(target=one, args=run.numbers.choice(requests)) for _ in range(count)]
            for thread in threads:
                thread.start()
            plain = check_answer(target.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 2}, timeout=run.slow(5)))
            expect(plain.status == 200, "a text that needs no state, at once", plain)
            for thread in threads:
                thread.join()
        finally:
            redis.send_signal(signal.SIGCONT)
        longest = max(found, key=lambda entry: entry[0])
        run.figure("answer_s", round(longest[0], 2))
        expect(longest[0] < run.slow(6), f"all {count} answers within {run.slow(6)} s", f"{longest[0]:.1f} s: {longest[1]}: {longest[2]}")
        for _, path, answer in found:
            expect(not isinstance(answer, AssertionError), "an answer", answer)
            expect(answer.status in (200, 404, 503) or answer.status >= 500, "200 or 5xx", f"{path}: {answer}")
        back = time.monotonic()
        while target.ask("GET", f"/v1/states/{kept}", timeout=30).status != 200:
            expect(time.monotonic() < back + run.slow(5), "that it goes on when Redis speaks again", "errors after 5 s")
            time.sleep(0.1)
        run.figure("back_s", round(time.monotonic() - back, 2))
        expect(kept in listed(target), "the state that was kept", "none")

    def foreign_types():
        """What others wrote into this Redis is its fault, not the client's."""
        kept = check_answer(target.ask("POST", "/v1/states", {"prompt": "Once", "name": f"foreign{run.cases}"})).json()["id"]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"DEL anser:1:state:{kept}\r\nSET anser:1:state:{kept} x\r\n".encode())
            connection.recv(100)
            time.sleep(0.1)
        answer = check_answer(target.ask("GET", f"/v1/states/{kept}"))
        expect(answer.status >= 500, "5xx of a key of a foreign type", answer)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"DEL anser:1:state:{kept}\r\n".encode())
            connection.recv(100)

    run.case("forty requests", lambda: silent(40), target)
    run.case("a foreign type", foreign_types, target)
    if not run.short:
        for _ in run.by_seed():
            run.case("again, by the seed", lambda: silent(run.numbers.randrange(5, 80)), target)
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
