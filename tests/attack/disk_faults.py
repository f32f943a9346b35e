#!/usr/bin/env python3
"""A disk that is full, dying or read-only, by a library that makes calls on files fail: no state that was acknowledged is lost,
errors are the server's own (5xx), what was deleted stays deleted, and the server lives."""
from attack import check_answer, expect, main
from faults import Faults, library
from stores import KEPT, anser, listed, same_content, same_labels

KIND = "disk faults"
UPLOAD = {"Content-Type": "application/octet-stream"}


class Store:
    """A server on a store whose disk fails, and what it has acknowledged."""

    def __init__(self, run):
        self.run, self.folder = run, run.scratch("states")
        self.faults = Faults(run, self.folder)
        self.target = run.target("--state-dir", self.folder, "--state-ram-mb", 0, streams=0, timed=False,
                                 popen={"env": self.faults.environment})
        self.known, self.doubtful, self.deleted, self.named = {}, set(), set(), 0

    def check_all(self):
        found = listed(self.target)
        for name, state in self.known.items():
            expect(name in found, f"the acknowledged state {name}", f"{len(found)} others; {self.target.server.log[-300:]}")
            if name not in self.doubtful:
                same_labels(found[name], state, "labels")
        back = self.deleted & set(found)
        self.deleted -= back  # told once
        expect(not back, "that deleted states stay away", back)
        for name in self.run.numbers.sample(sorted(self.known), min(4, len(self.known))):
            self.known[name].setdefault("raw_bytes", found[name]["raw_bytes"])
            same_content(self.target, self.known[name])

    def remember(self, answer, status=(200, 201)):
        """Of an answer that is a state."""
        if answer.status in status:
            state = answer.json()
            self.known[state["id"]] = {name: state[name] for name in ("id", *KEPT)}
        return answer

    def change(self, numbers):
        """One change of the store, of any kind. Returns its answer; what it acknowledges is remembered."""
        ask, some = self.target.ask, numbers.choice(sorted(self.known))
        kind = numbers.randrange(7)
        self.named += 1
        if kind == 0:
            return self.remember(ask("POST", "/v1/states", {"prompt": f"Once {self.named}", "name": f"n{self.named}", "tags": ["t"]}))
        if kind == 1:
            return self.remember(ask("POST", f"/v1/states/{some}/fork", {"name": f"n{self.named}", "note": "x" * numbers.choice((1, 30000))}))
        if kind == 2:
            content = ask("GET", f"/v1/states/{some}/content")
            if content.status != 200:
                return content
            return self.remember(ask("POST", f"/v1/states?name=n{self.named}", content.body, UPLOAD))
        if kind == 3:
            return self.complete(some)
        if kind == 4 and len(self.known) > 5:
            return self.delete(some)
        if kind == 5:
            return check_answer(ask("GET", f"/v1/states/{some}/content"))
        return self.relabel(some)

    def complete(self, some):
        answer = self.target.ask("POST", "/v1/completions", {"state": some, "prompt": " and", "max_tokens": 2, "save_state": True})
        if answer.status == 200:
            choice = answer.json()["choices"][0]
            if choice["state"]:
                self.known[choice["state"]] = {"id": choice["state"]}  # its labels were never shown
                self.doubtful.add(choice["state"])
            else:
                expect(choice.get("state_error"), "a reason why there is no state", choice)
        return answer

    def delete(self, some):
        answer = self.target.ask("DELETE", f"/v1/states/{some}")
        if answer.status == 200:
            del self.known[some]
            self.doubtful.discard(some)
            self.deleted.add(some)
        else:  # it may be gone, and it may be there: both are what the client was told
            if not self.target.server.process.poll():
                self.faults.none()
                if self.target.ask("GET", f"/v1/states/{some}").status == 404:
                    del self.known[some]
        return answer

    def relabel(self, some):
        tags = [f"t{self.named}"]
        answer = self.target.ask("PATCH", f"/v1/states/{some}", {"tags": tags})
        if answer.status == 200 and some not in self.doubtful:
            self.known[some]["tags"] = tags
        elif answer.status != 200:
            self.doubtful.add(some)
        return answer


ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EMFILE", None)


def attack(run):
    if library(run) is None:
        return "no C compiler; "
    store = Store(run)
    first = run.case("states are made", lambda: begin(store), store.target)
    if first is None:
        return None
    run.case("full: deleting", lambda: full(store), store.target)
    run.case("full: saving", lambda: full_saving(store), store.target)
    run.case("an unlink that fails", lambda: unlink_fails(run), None)
    run.case("a store that is read-only", lambda: read_only(run, store), store.target)
    for i in run.by_seed(12):
        calls, error = some_fault(run.numbers)
        run.case(f"{'+'.join(calls)} {error} {i}", lambda c=calls, e=error: one_fault(run, store, c, e), store.target)
        if i % 8 == 7:
            run.case(f"after SIGKILL {i}", lambda: after_kill(store), store.target)
        if not store.known:  # it was lost as a whole, which has been told
            store = Store(run)
            run.case("states are made anew", lambda s=store: begin(s), store.target)
    run.case("after SIGKILL", lambda: after_kill(store), store.target)
    store.faults.none()
    run.case("SIGTERM ends it", store.target.stop)
    return None


def begin(store):
    for i in range(8):
        answer = store.remember(check_answer(store.target.ask("POST", "/v1/states", {"prompt": f"The {i}th", "name": f"first{i}"})))
        expect(answer.status in (200, 201), "a state", answer)
    store.check_all()
    return True


def some_fault(numbers):
    calls = numbers.choice((["write"], ["sync"], ["rename"], ["unlink"], ["create"], ["open"], ["truncate"], ["map"], ["read"],
                            ["write", "sync"], ["create", "write", "sync", "rename", "truncate"], ["open", "read", "map"]))
    return calls, numbers.choice(ERRORS)


def one_fault(run, store, calls, error):
    """Some changes while so many calls fail; then everything that was acknowledged is there."""
    numbers = run.numbers
    for _ in range(3):
        store.faults.order(calls, error, wait=numbers.choice((0, 0, 1, 2, 5, 12)), times=numbers.choice((1, 1, 2, 10, -1)))
        try:
            answer = check_answer(store.change(numbers))
        finally:
            failed = store.faults.none()
        run.figures["failed_calls"] = run.figures.get("failed_calls", 0) + failed
        store.target.alive()
        if failed:
            expect(answer.status < 300 or answer.status >= 500, "an answer of 2xx or 5xx beside a disk that fails", answer)
            expect(str(store.folder).encode() not in answer.body, "no path of the server's in an answer", answer)
        else:
            expect(answer.status < 300, "success where no call failed", answer)
    store.check_all()


def after_kill(store):
    store.faults.none()
    store.target.end()
    store.target.ready()
    store.check_all()


def full(store):
    """Nothing can grow. What is there can be deleted, and is gone."""
    some = sorted(store.known)[:2]
    store.faults.order(["write"], "ENOSPC", growing=True)
    try:
        for name in some:
            answer = check_answer(store.delete(name))
            expect(answer.status == 200, "that a state can be deleted where the disk is full", answer)
            expect(not list(store.folder.glob(f"{name}*")), "that its files are gone", list(store.folder.glob(f"{name}*")))
    finally:
        store.faults.none()
    store.check_all()
    after_kill(store)


def full_saving(store):
    store.faults.order(["write"], "ENOSPC", growing=True)
    try:
        for path, body in (("/v1/states", {"prompt": "Once"}), (f"/v1/states/{sorted(store.known)[0]}/fork", {"name": "more"})):
            answer = check_answer(store.target.ask("POST", path, body))
            expect(answer.status >= 500, "5xx of a full disk", answer)
        answer = store.complete(sorted(store.known)[0])
        expect(answer.status == 200, "a text all the same", answer)
    finally:
        store.faults.none()
    left = list(store.folder.glob("*.new"))
    expect(not left, "that nothing unfinished stays", left)
    store.check_all()


def unlink_fails(run):
    """`anser state rm` fails aloud, and `DELETE` is a 5xx."""
    store = Store(run)
    store.target.ready()
    try:
        begin(store)
        some = sorted(store.known)
        store.faults.order(["unlink"], "EIO")
        answer = check_answer(store.target.ask("DELETE", f"/v1/states/{some[0]}"))
        expect(answer.status >= 500, "5xx where a file cannot be removed", answer)
        store.target.end()
        code, _, said = anser(run, "state", "rm", some[1], "--state-dir", store.folder, env=store.faults.environment)
        expect(code == 1 and said.strip(), "exit code 1 and a sentence of `anser state rm`", f"{code}: {said!r}")
        store.faults.none()
    finally:
        store.target.end()


def read_only(run, store):
    """Who only reads, writes nothing: lists and loads go on."""
    store.target.end()
    store.faults.order(["create", "write", "truncate", "rename", "unlink", "mkdir"], "EROFS")
    try:
        code, out, said = anser(run, "state", "ls", "--state-dir", store.folder, env=store.faults.environment)
        expect(code == 0 and all(name.encode() in out or name[:6].encode() in out for name in store.known),
               "`anser state ls` of a store that cannot be written", f"{code}: {said!r}")
        some = sorted(store.known)[0]
        target = run.scratch("out") / "some.state"
        code, _, said = anser(run, "state", "load", some, "-o", target, "--state-dir", store.folder, env=store.faults.environment)
        expect(code == 0 and target.stat().st_size > 0, "`anser state load` from it", f"{code}: {said!r}")
    finally:
        store.faults.none()
        store.target.ready()


if __name__ == "__main__":
    main(attack, KIND)
