#!/usr/bin/env python3
"""SIGKILL at any moment while states are saved, forked, relabelled and removed over HTTP: after a restart everything that was
acknowledged is there, as it was acknowledged, and what was deleted stays deleted."""
import random
import threading
import time

import raw_http
from attack import expect, main
from stores import KEPT, content_files, listed, same_content, same_labels

KIND = "kills"
WORKERS = 3


class Client:
    """One client's states: only it changes them, so what it was told last is what there must be."""

    def __init__(self, index, numbers):
        self.index, self.numbers = index, numbers
        self.known, self.deleted, self.pending = {}, set(), None
        self.count = self.acknowledged = 0

    def work(self, port, until_dead):
        while not until_dead.is_set():
            try:
                self.change(port)
            except (OSError, AssertionError, ValueError):
                return

    def ask(self, port, method, path, body=None, headers=None):
        answer = raw_http.ask(port, method, path, body, headers, 20)
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer}")
        self.acknowledged += 1
        return answer

    def keep(self, state):
        self.known[state["id"]] = {name: state[name] for name in ("id", *KEPT)}

    def change(self, port):
        numbers, self.count = self.numbers, self.count + 1
        name = f"c{self.index}-{self.count}"
        some = numbers.choice(sorted(self.known)) if self.known else None
        kind = numbers.randrange(6) if some else 0
        self.pending = some  # its labels, or itself, may be either way until the answer comes
        if kind == 0:
            self.keep(self.ask(port, "POST", "/v1/states", {"prompt": name, "name": name, "tags": ["t"]}).json())
        elif kind == 1:
            self.keep(self.ask(port, "POST", f"/v1/states/{some}/fork", {"name": name, "note": {"n": self.count}}).json())
        elif kind == 2:
            body = {"state": some, "prompt": " and", "max_tokens": 2, "save_state": {"name": name, "tags": ["w"]}}
            choice = self.ask(port, "POST", "/v1/completions", body).json()["choices"][0]
            if choice["state"]:
                self.known[choice["state"]] = {"id": choice["state"], "name": name, "tags": ["w"], "note": None, "parent": some}
        elif kind == 3:
            labels = {"name": name, "tags": [f"r{self.count}"]}
            self.ask(port, "PATCH", f"/v1/states/{some}", labels)
            self.known[some] |= labels
        elif kind == 4 and len(self.known) > 4:
            self.ask(port, "DELETE", f"/v1/states/{some}")
            del self.known[some]
            self.deleted.add(some)
        else:
            content = self.ask(port, "GET", f"/v1/states/{some}/content").body
            self.keep(self.ask(port, "POST", f"/v1/states?name={name}", content,
                               {"Content-Type": "application/octet-stream"}).json())
        self.pending = None


def attack(run):
    folder = run.scratch("states")
    target = run.target("--state-dir", folder, "--state-ram-mb", 0, streams=0, timed=False)
    clients = [Client(i, random.Random(f"{run.options.seed} {i}")) for i in range(WORKERS)]

    def round_of(seconds):
        dead = threading.Event()
        threads = [threading.Thread(target=client.work, args=(target.port, dead)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        target.alive()
        target.server.process.kill()
        target.server.process.wait()
        dead.set()
        for thread in threads:
            thread.join(30)
        target.end()
        target.ready()
        check_all()

    def check_all():
        found = listed(target)
        run.figures["acknowledged"] = sum(client.acknowledged for client in clients)
        run.figures["states"] = sum(len(client.known) for client in clients)
        for client in clients:
            for state in list(client.known.values()):
                there = found.get(state["id"])
                if state["id"] == client.pending:  # the change that was cut off has happened or has not
                    if there is None:
                        del client.known[state["id"]]
                        client.deleted.add(state["id"])
                    else:
                        client.keep(there)
                    continue
                expect(there, f"the acknowledged state {state['id']}", f"{len(found)} others")
                if "checksum" not in state:
                    state |= {name: there[name] for name in ("tokens", "checksum", "raw_bytes")}
                same_labels(there, state, "labels")
            expect(not client.deleted & set(found), "that deleted states stay away", client.deleted & set(found))
            client.pending = None
            for name in run.numbers.sample(sorted(client.known), min(3, len(client.known))):
                same_content(target, client.known[name])
        left = [path.name for path in folder.iterdir() if ".new" in path.name]
        expect(not left, "that a restart takes away what was unfinished", left)
        needed = {name for name in content_files(folder) if name.endswith(".zst")}
        expect(len(needed) <= len(found), "no more contents than states", f"{len(needed)} of {len(found)}")

    for i in run.by_seed(4):
        run.case(f"kill {i}", lambda: round_of(run.numbers.uniform(0.02, 0.4)), target)
        if len(run.failures) > 20:
            break
    run.figures["kills"] = run.cases
    run.case("SIGTERM ends it", target.stop)


if __name__ == "__main__":
    main(attack, KIND)
