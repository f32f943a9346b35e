"""Stores of states to attack: how one is made, what it holds, and whether all of it is still there."""
import hashlib
import json
import subprocess
from pathlib import Path

from attack import check_answer, expect


def anser(run, *arguments, timeout=60, **more):
    """One command of the program: its exit code, what it wrote, what it said."""
    done = subprocess.run([run.binary, *map(str, arguments)], capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, **more)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def make_store(target):
    """States of every kind: named, tagged, with notes, forked, continued, of a response. Returns them as the API shows them."""
    def ask(path, body):
        answer = check_answer(target.ask("POST", path, body, timeout=60))
        expect(200 <= answer.status < 300, "a state", answer)
        return answer.json()

    root = ask("/v1/states", {"prompt": "Once upon a time", "name": "root", "tags": ["tale", "first"], "note": {"of": "a goose"}})
    ask("/v1/states", {"prompt": "The king said", "tags": ["tale"]})
    ask("/v1/states", {"prompt": "In the forest"})
    fork = ask(f"/v1/states/{root['id']}/fork", {"name": "fork"})
    ask(f"/v1/states/{fork['id']}/fork", {"tags": ["leaf"]})
    more = ask("/v1/completions", {"state": "root", "max_tokens": 5, "seed": 1, "save_state": {"name": "more", "note": "n" * 5000}})
    ask("/v1/completions", {"state": more["choices"][0]["state"], "max_tokens": 5, "seed": 1, "save_state": True})
    response = ask("/v1/responses", {"input": "A story.", "max_output_tokens": 5})
    ask("/v1/responses", {"input": "Go on.", "max_output_tokens": 5, "previous_response_id": response["id"]})
    return listed(target)


def listed(target):
    """All states by id, page by page where lists are paged."""
    states, after = {}, ""
    while True:
        answer = check_answer(target.ask("GET", f"/v1/states?limit=100{after}", timeout=60))
        expect(answer.status == 200, "a list of states", answer)
        page = answer.json()
        states |= {state["id"]: state for state in page["data"]}
        if not page.get("has_more") or not page["data"]:
            return states
        after = f"&after={page['data'][-1]['id']}"


KEPT = ("name", "tags", "note", "parent", "tokens", "checksum", "raw_bytes")  # what does not change by itself


def same_labels(found, expected, where):
    for name in KEPT:
        if name == "tags":
            expect(sorted(found[name]) == sorted(expected[name]), f"{where} of {expected['id']}: tags {expected[name]}", found[name])
        else:
            expect(found.get(name) == expected.get(name), f"{where} of {expected['id']}: {name} {str(expected.get(name))[:60]}",
                   str(found.get(name))[:60])


def same_content(target, state):
    """The numbers come back whole. The digest of a state's file is made when it is first seen, and kept beside it."""
    answer = check_answer(target.ask("GET", f"/v1/states/{state['id']}/content", timeout=60))
    expect(answer.status == 200 and len(answer.body) == state["raw_bytes"], f"the content of {state['id']}, {state['raw_bytes']} bytes",
           answer)
    digest = hashlib.sha256(answer.body).hexdigest()
    expect(state.setdefault("_digest", digest) == digest, "the same bytes as before", digest)


def content_files(folder):
    return {path.name for path in Path(folder).glob("*.zst*")}


def ls(run, folder):
    """`anser state ls`: exit code, ids, what it said."""
    code, out, said = anser(run, "state", "ls", "--json", "--state-dir", folder)
    if code != 0:
        return code, set(), said
    try:
        return code, {state["id"] for state in json.loads(out)}, said
    except ValueError:
        raise AssertionError(f"expected a list in JSON, found {out[:200]!r}") from None
