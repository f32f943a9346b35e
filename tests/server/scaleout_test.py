"""Two replicas of `anser serve` behind HAProxy, with their states in one Redis; replicas are killed in mid-conversation.

What is expected: nothing that was answered is lost, any replica goes on with any conversation, and its text is bit for
bit what one replica alone, with its states in a folder, would have written.

Needs redis-server and haproxy (tools/setup.sh scaleout), or else it is skipped. ANSER_BINARY names the program.
"""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ANSER = os.environ["ANSER_BINARY"]
TEMPLATE = ROOT / "docs/scale-out/haproxy.cfg"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where Debian puts haproxy
PATIENCE = 120  # seconds until something that should happen counts as not happening
# A conversation: what is said, and how each answer is drawn. Greedy once, and with seeds.
TURNS = [("One day a goose", {"temperature": 0}), (" Then the fox", {"seed": 7}), (" In the end", {"seed": 8}),
         (" And they", {"temperature": 1.2, "seed": 9})]
TOKENS = 24
SAID = ["Tell me of a goose", "And the fox?", "How does it end?"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.02)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A server that is ended with the test."""

    def __init__(self, words, port, log):
        self.port = port
        with open(log, "ab") as out:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_until(lambda: accepts(port) or self.process.poll() is not None, words[0])
            if self.process.poll() is not None:
                raise AssertionError(f"{words[0]} ended: {pathlib.Path(log).read_text()}")
        except AssertionError:
            self.kill()
            raise

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Cut(Exception):
    """The connection ended before the answer did."""


class Client:
    def __init__(self, port):
        self.port = port

    def request(self, method, path, body=None):
        """Returns status, JSON and the replica that has answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            value = json.loads(text) if answer.getheader("Content-Type", "").startswith("application/json") else text
            return answer.status, value, answer.getheader("X-Replica")
        except (http.client.HTTPException, OSError) as error:
            raise Cut(str(error)) from error
        finally:
            connection.close()

    def stream(self, path, body, on_text=lambda text, replica: None):
        """Returns the whole text and the last choice. `on_text` sees the text so far after every piece."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        text, last = "", None
        try:
            connection.request("POST", path, json.dumps(body | {"stream": True}),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise Cut(f"{answer.status}: {answer.read()}")
            for line in answer:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    return text, last
                choice = json.loads(line[6:])["choices"][0]
                text += choice["text"]
                last = choice
                on_text(text, answer.getheader("X-Replica"))
        except (http.client.HTTPException, OSError) as error:
            raise Cut(str(error), text) from error
        finally:
            connection.close()
        raise Cut("the stream has no end", text)


def turn(index, state):
    said, drawn = TURNS[index]
    body = {"model": "any", "prompt": said, "max_tokens": TOKENS, "save_state": True} | drawn
    return body | ({"state": state} if state else {})


class Cluster:
    """Redis, two replicas and HAProxy."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.redis_port = free_port()
        self.redis = self.haproxy = None
        self.replicas = {}
        self.ports = {"one": free_port(), "two": free_port()}
        self.client = None

    def start(self):
        self.start_redis()
        for name in self.ports:
            self.start_replica(name)
        port = free_port()
        config = TEMPLATE.read_text()
        for written, used in ((8080, port), (8081, self.ports["one"]), (8082, self.ports["two"])):
            config, found = re.subn(rf"127\.0\.0\.1:{written}\b", f"127.0.0.1:{used}", config)
            assert found == 1, written
        (self.folder / "haproxy.cfg").write_text(config)
        self.haproxy = Process(["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")], port, self.folder / "haproxy.log")
        self.client = Client(port)
        return self

    def start_redis(self):
        self.redis = Process(["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
                              "--dir", str(self.folder), "--requirepass", "secret"],
                             self.redis_port, self.folder / "redis.log")

    def start_replica(self, name):
        self.replicas[name] = start_anser(self.ports[name], self.folder / f"{name}.log",
                                          ["--state-store", f"redis://:secret@127.0.0.1:{self.redis_port}"])
        if self.client is not None:  # HAProxy may yet have to find that it is back
            wait_until(lambda: self.client.request("GET", "/v1/models")[2] == name, f"replica {name}")

    def stop(self):
        for process in (self.haproxy, *self.replicas.values(), self.redis):
            if process is not None:
                process.kill()


def start_anser(port, log, more):
    return Process([ANSER, "serve", "--port", str(port), "--threads", "1", *more], port, log)


class ScaleOutTest(unittest.TestCase):
    def setUp(self):
        os.environ["PATH"] = PATH
        for program in ("redis-server", "haproxy"):
            if shutil.which(program) is None:
                self.skipTest(f"{program} is not installed: tools/setup.sh scaleout")
        folder = tempfile.TemporaryDirectory(prefix="anser-scaleout-")
        self.addCleanup(folder.cleanup)
        # What one replica alone writes.
        alone = start_anser(free_port(), f"{folder.name}/alone.log", ["--state-dir", f"{folder.name}/states"])
        try:
            self.texts = self.converse(Client(alone.port))[0]
            self.responses = self.respond(Client(alone.port))[0]
        finally:
            alone.kill()
        self.assertEqual(len(set(self.texts)), len(TURNS))
        cluster = Cluster(folder.name)
        self.addCleanup(cluster.stop)
        self.cluster = cluster.start()

    def converse(self, client, before_turn=lambda i: None):
        """All turns, over the answers' states. Returns the texts and the ids."""
        texts, ids = [], []
        for i in range(len(TURNS)):
            before_turn(i)
            status, answer, _ = client.request("POST", "/v1/completions", turn(i, ids[-1] if ids else None))
            self.assertEqual(status, 200, answer)
            texts.append(answer["choices"][0]["text"])
            ids.append(answer["choices"][0]["state"])
            self.assertIsNotNone(ids[-1], answer)
        return texts, ids

    def respond(self, client, before_turn=lambda i: None):
        """A conversation over /v1/responses. Returns the texts and the ids."""
        texts, ids = [], []
        for i, said in enumerate(SAID):
            before_turn(i)
            body = {"model": "any", "input": said, "max_output_tokens": TOKENS, "temperature": 0}
            status, answer, _ = client.request("POST", "/v1/responses",
                                               body | ({"previous_response_id": ids[-1]} if ids else {}))
            self.assertEqual(status, 200, answer)
            texts.append(answer["output"][-1]["content"][0]["text"])
            ids.append(answer["id"])
        return texts, ids

    def check_states(self, ids):
        """All of them are there, whole, each the child of the one before."""
        client = self.cluster.client
        for parent, state in zip([None, *ids], ids):
            status, found, _ = client.request("GET", f"/v1/states/{state}")
            self.assertEqual((status, found["parent"]), (200, parent), found)
            status, content, _ = client.request("GET", f"/v1/states/{state}/content")
            self.assertEqual((status, len(content)), (200, found["raw_bytes"]))

    def test_the_other_goes_on_when_one_is_killed_between_turns(self):
        cluster = self.cluster

        def kill_one_or_both(i):
            if i == 1:
                cluster.replicas["one"].kill()
            if i == 2:  # a new one, with nothing but Redis to know from
                cluster.start_replica("one")
                cluster.replicas["two"].kill()

        texts, ids = self.converse(cluster.client, kill_one_or_both)
        self.assertEqual(texts, self.texts)
        self.check_states(ids)

    def test_responses_go_on_at_the_other(self):
        cluster = self.cluster

        def kill_one(i):
            if i == 1:
                cluster.replicas["one"].kill()
            if i == 2:
                cluster.start_replica("one")
                cluster.replicas["two"].kill()

        texts, ids = self.respond(cluster.client, kill_one)
        self.assertEqual(texts, self.responses)
        for text, response in zip(texts, ids):
            status, answer, _ = cluster.client.request("GET", f"/v1/responses/{response}")
            self.assertEqual((status, answer["output"][-1]["content"][0]["text"]), (200, text))

    def test_a_stream_that_is_cut_is_written_again_by_the_other(self):
        cluster = self.cluster
        status, answer, _ = cluster.client.request("POST", "/v1/completions", turn(0, None))
        self.assertEqual(status, 200, answer)
        state = answer["choices"][0]["state"]
        # Long enough that its end is far when its beginning is here.
        body = turn(1, state) | {"max_tokens": 1500, "logit_bias": {"0": -100}}
        status, answer, _ = Client(cluster.ports["one"]).request("POST", "/v1/completions", body)
        self.assertEqual(status, 200, answer)
        whole = answer["choices"][0]["text"]

        killed = []

        def kill_in_the_midst(_, replica):
            if not killed:
                killed.append(replica)
                cluster.replicas[replica].kill()

        with self.assertRaises(Cut) as cut:
            cluster.client.stream("/v1/completions", body, kill_in_the_midst)
        begun = cut.exception.args[-1]
        self.assertTrue(begun and len(begun) < len(whole) and whole.startswith(begun), begun)
        text, last = cluster.client.stream("/v1/completions", body)
        self.assertEqual(text, whole)
        self.check_states([state, last["state"]])
        # Only what was finished is there: two by now, and the one that was asked for directly.
        self.assertEqual(len(cluster.client.request("GET", "/v1/states")[1]["data"]), 3)
        status, answer, replica = cluster.client.request("POST", "/v1/completions", turn(2, last["state"]))
        self.assertEqual((status, replica in killed), (200, False), answer)

    def test_many_conversations_survive_one_replica(self):
        cluster = self.cluster
        begun = threading.Barrier(7)

        def patient(i, state):
            for _ in range(20):
                try:
                    status, answer, _ = cluster.client.request("POST", "/v1/completions", turn(i, state))
                    if status == 200:
                        return answer["choices"][0]
                    self.assertIn(status, (502, 503), answer)
                except Cut:
                    pass
                time.sleep(0.1)  # as the openai client does
            self.fail("20 tries")

        def conversation():
            texts, ids = [], []
            for i in range(len(TURNS)):
                if i == 1:
                    begun.wait(PATIENCE)
                choice = patient(i, ids[-1] if ids else None)
                texts.append(choice["text"])
                ids.append(choice["state"])
            return texts, ids

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            futures = [pool.submit(conversation) for _ in range(6)]
            begun.wait(PATIENCE)
            cluster.replicas["two"].kill()
            for future in futures:
                texts, ids = future.result(timeout=PATIENCE)
                self.assertEqual(texts, self.texts)
                self.check_states(ids)

    def test_without_redis_there_are_clear_errors_and_texts_without_states(self):
        cluster = self.cluster
        status, answer, _ = cluster.client.request("POST", "/v1/completions", turn(0, None))
        state = answer["choices"][0]["state"]
        cluster.redis.kill()
        for method, path, body in (("GET", f"/v1/states/{state}", None), ("GET", "/v1/states", None),
                                   ("POST", "/v1/completions", turn(1, state))):
            status, answer, _ = cluster.client.request(method, path, body)
            self.assertEqual((status, answer["error"]["code"]), (503, "states_unavailable"), answer)
            self.assertIn("is Redis running there?", answer["error"]["message"])
            self.assertNotIn("secret", answer["error"]["message"])
        # An answer is not lost with its state.
        status, answer, _ = cluster.client.request("POST", "/v1/completions", turn(0, None))
        self.assertEqual((status, answer["choices"][0]["text"]), (200, self.texts[0]))
        self.assertIsNone(answer["choices"][0]["state"])
        self.assertIn("Redis", answer["choices"][0]["state_error"])
        # Back, and empty: this one keeps nothing on its disk.
        cluster.start_redis()
        status, answer, _ = cluster.client.request("GET", f"/v1/states/{state}")
        self.assertEqual((status, answer["error"]["code"]), (404, "state_not_found"), answer)
        self.assertEqual(self.converse(cluster.client)[0], self.texts)


if __name__ == "__main__":
    unittest.main()
