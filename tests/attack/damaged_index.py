#!/usr/bin/env python3
"""A store's index, damaged in every way that a disk or a copy can: cut, flipped, zeroed, pages swapped, rows gone or false. Every
state stays listed and can be loaded, or the damage is told aloud; no content is deleted that a record names."""
import os
import re
import shutil
import sqlite3

from attack import check_answer, expect, main
from stores import content_files, listed, ls, make_store, same_content, same_labels

KIND = "damaged index"
PAGE = 4096


def ways(numbers, path):
    """Names of damages and what does them, on the index at `path`."""
    def bytes_of():
        return bytearray(path.read_bytes())

    def write(data):
        path.write_bytes(data)

    def flip(count):
        data = bytes_of()
        for _ in range(count):
            data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        write(data)

    def letter():
        """One bit of an id in one of its places: of a row, or of a tree beside it, which alone says that a content is needed."""
        data = bytes_of()
        ids = sorted({name.split(".")[0] for name in content_files(path.parent)})
        places = [at.start() for at in re.finditer(numbers.choice(ids).encode(), data)]
        if places:
            data[numbers.choice(places) + numbers.randrange(26)] ^= 1
        write(data)

    def fill(byte):
        data = bytes_of()
        at = numbers.randrange(len(data) // PAGE) * PAGE
        data[at:at + PAGE] = bytes([byte]) * PAGE if byte is not None else numbers.randbytes(PAGE)
        write(data)

    def swap():
        data = bytes_of()
        a, b = (numbers.randrange(len(data) // PAGE) * PAGE for _ in range(2))
        data[a:a + PAGE], data[b:b + PAGE] = data[b:b + PAGE], data[a:a + PAGE]
        write(data)

    def zero_range():
        data = bytes_of()
        at, size = numbers.randrange(len(data)), numbers.choice((1, 8, 64, 512))
        data[at:at + size] = bytes(len(data[at:at + size]))
        write(data)

    def statement(text):
        """A false index that SQLite thinks right."""
        def run():
            with sqlite3.connect(path) as index:
                tables = [row[0] for row in index.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
                for table in tables:
                    columns = [row[1] for row in index.execute(f"PRAGMA table_info({table})")]
                    column = numbers.choice(columns)
                    row = numbers.choice([row[0] for row in index.execute(f"SELECT {columns[0]} FROM {table}")] or [0])
                    sql = text.format(table=table, column=column, row=f"{columns[0]} = ?")
                    try:
                        index.execute(sql, (row,) if "?" in sql else ())
                    except sqlite3.Error:
                        pass
            index.close()
        return run

    return {
        "a bit of an id": letter, "one bit": lambda: flip(1), "thirty bits": lambda: flip(30), "a thousand bits": lambda: flip(1000),
        "a page of zeros": lambda: fill(0), "a page of ones": lambda: fill(255), "a random page": lambda: fill(None),
        "pages swapped": swap, "a range of zeros": zero_range,
        "cut": lambda: write(bytes_of()[:numbers.randrange(path.stat().st_size)]),
        "cut at a page": lambda: write(bytes_of()[:numbers.randrange(path.stat().st_size // PAGE) * PAGE]),
        "longer": lambda: write(bytes_of() + numbers.randbytes(numbers.choice((1, PAGE, 50000)))),
        "empty": lambda: write(b""), "gone": path.unlink, "text": lambda: write(b"not a database\n" * 400),
        "a log of garbage": lambda: path.with_name(path.name + "-wal").write_bytes(numbers.randbytes(20000)),
        "a row gone": statement("DELETE FROM {table} WHERE {row}"),
        "all rows gone": statement("DELETE FROM {table}"),
        "a column gone": statement("ALTER TABLE {table} DROP COLUMN {column}"),
        "a table gone": statement("DROP TABLE {table}"),
        "a null": statement("UPDATE {table} SET {column} = NULL WHERE {row}"),
        "a false text": statement("UPDATE {table} SET {column} = 'xyz' WHERE {row}"),
        "a false number": statement("UPDATE {table} SET {column} = -1 WHERE {row}"),
        "a blob": statement("UPDATE {table} SET {column} = x'00ff00' WHERE {row}"),
        "another's value": statement("UPDATE {table} SET {column} = (SELECT {column} FROM {table} LIMIT 1) WHERE {row}"),
        "a version of tomorrow": statement("PRAGMA user_version = 99"),
    }


MUST = ("a bit of an id", "a page of zeros", "a bit of an id", "a bit of an id", "one bit", "a row gone", "cut at a page", "another's value", "a random page")


def attack(run):
    whole = run.scratch("whole")
    maker = run.target("--state-dir", whole, streams=0, timed=False)
    expected = run.case("a store is made", lambda: _made(maker), maker)
    run.case("SIGTERM ends it", maker.stop)
    if not expected:
        return
    names = list(ways(run.numbers, whole / "index.sqlite"))
    for i in run.by_seed(len(MUST)):
        name = MUST[i] if i < len(MUST) else run.numbers.choice(names)
        folder = run.scratch("damaged")
        copy_store(whole, folder)
        run.case(f"{name}, {i}", lambda f=folder, n=name: damaged(run, f, n, expected))
        shutil.rmtree(folder)


def copy_store(whole, folder):
    """Records and contents by hard links, for the index knows a record by its inode and time and would believe no copy. Files of a
    store are replaced and never changed, so the whole one stays as it is."""
    for path in whole.iterdir():
        if path.name.startswith("index"):
            shutil.copy2(path, folder / path.name)
        else:
            os.link(path, folder / path.name)


def _made(maker):
    states = make_store(maker)
    for state in states.values():
        same_content(maker, state)
    return states


def damaged(run, folder, name, expected):
    files = content_files(folder)
    ways(run.numbers, folder / "index.sqlite")[name]()
    code, ids, said = ls(run, folder)
    if code == 0:
        expect(ids >= set(expected), f"`anser state ls` to list {len(expected)} states, or to fail aloud",
               f"{len(ids & set(expected))} with exit code 0; it said {said[-200:]!r}")
    else:
        expect(code == 1 and said.strip(), "exit code 1 and a sentence", f"{code}: {said[-200:]!r}")
    expect(content_files(folder) >= files, "that ls deletes no content", f"{len(files - content_files(folder))} are gone")
    server = run.target("--state-dir", folder, "--state-ram-mb", 0, streams=0, timed=False)
    try:
        try:
            server.ready()
        except AssertionError as error:
            expect("did not start" in str(error) and "anser:" in str(error), "a server, or a sentence why there is none", error)
            expect(content_files(folder) >= files, "that a refusal deletes nothing", files - content_files(folder))
            return
        everything_is_there(run, server, folder, files, expected)
    finally:
        server.end()


def everything_is_there(run, server, folder, files, expected):
    found = listed(server)
    expect(set(found) >= set(expected), f"a list of {len(expected)} states", f"{len(set(found) & set(expected))}; {server.server.log[-200:]!r}")
    for state in expected.values():
        same_labels(found[state["id"]], state, "the label in the list")
    # What makes a store clean up: states are removed, one of them whose content others have, and added.
    shared = next(state for state in expected.values() if state["name"] == "root")
    alone = next(state for state in expected.values() if state["tags"] == ["tale"])
    for state in (shared, alone):
        answer = check_answer(server.ask("DELETE", f"/v1/states/{state['id']}"))
        expect(answer.status == 200, "a deletion", answer)
    answer = check_answer(server.ask("POST", "/v1/states", {"prompt": "A new one", "name": "new"}))
    expect(answer.status < 300, "a new state", answer)
    left = [state for state in expected.values() if state not in (shared, alone)]
    for state in left:
        same_content(server, state)
    gone = {name for name in files - content_files(folder) if not name.startswith(alone["id"])}
    expect(not gone, "that no content goes that a record names", gone)
    server.alive()
    server.end()  # SIGKILL
    server.ready()
    found = listed(server)
    expect(set(found) >= {state["id"] for state in left}, "all of them after a restart", f"{len(found)} of {len(left)}")
    for state in (shared, alone):
        expect(state["id"] not in found, "that what was deleted stays away", state["id"])
    for state in run.numbers.sample(left, 3):
        same_content(server, state)


if __name__ == "__main__":
    main(attack, KIND)
