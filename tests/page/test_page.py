"""The page in a browser, against servers on loopback.

ANSER_BINARY names the program. Skipped where Chromium is not installed (tools/setup.sh browser).
"""
import json
import os
import re
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

import browser

ANSER = os.environ["ANSER_BINARY"]
MODEL = Path(__file__).resolve().parents[2] / "models" / "default.gguf"
IDLE = "!document.body.classList.contains('busy')"


class Server:
    """`anser serve` with a store of its own."""

    def __init__(self, *options):
        self._folder = tempfile.TemporaryDirectory()
        states = [] if "--no-states" in options else ["--state-dir", self._folder.name]
        self._process = subprocess.Popen([ANSER, "serve", "--port", "0", "--patience", "0", *states, *options],
                                         stderr=subprocess.PIPE, text=True)
        said = ""
        for line in self._process.stderr:
            said += line
            started = re.search(r"at (http://\S+?)/,", line)
            if started:
                break
        else:
            raise RuntimeError(f"the server did not start: {said}")
        self.url = started[1]

    def states(self):
        with urllib.request.urlopen(self.url + "/v1/states") as answer:
            return json.load(answer)["data"]

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._process.stderr.close()
        self._folder.cleanup()


@unittest.skipIf(browser.missing(), browser.missing())
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.downloads = tempfile.TemporaryDirectory()
        cls.window = browser.Browser(downloads=cls.downloads.name)

    @classmethod
    def tearDownClass(cls):
        cls.window.close()
        cls.downloads.cleanup()

    def setUp(self):
        self.complaints_expected = False

    def tearDown(self):
        complaints = self.window.console()
        self.window.open("about:blank")
        if not self.complaints_expected:
            self.assertEqual(complaints, [], "the browser complains")

    def serve(self, *options):
        server = Server(*options)
        self.addCleanup(server.close)
        self.window.open(server.url + "/")
        return server

    def open(self, *options):
        server = self.serve(*options)
        self.window.wait("document.getElementById('intro').textContent !== ''")
        return server

    def set(self, field, value):
        self.window.script("document.getElementById(arguments[0]).value = arguments[1]", field, value)

    def turn(self, words, seed=7):
        """Has a turn written; returns the page's text."""
        self.set("seed", seed)
        nodes = self.count("#tree .node")
        self.window.type("#say", words + "\n")
        self.window.wait(f"document.querySelectorAll('#tree .node').length > {nodes} && {IDLE}")
        return self.text()

    def text(self):
        return self.window.script("return [...document.querySelectorAll('.turn > p:not(.quiet)')].map((p) => p.textContent).join('')")

    def count(self, selector):
        return self.window.script("return document.querySelectorAll(arguments[0]).length", selector)

    def action(self, label):
        self.window.script("[...document.querySelectorAll('.actions button')].find((b) => b.textContent === arguments[0]).click()", label)

    def titles(self):
        return self.window.script("return [...document.querySelectorAll('#tree .title')].map((t) => t.textContent)")

    def colours(self, strip):
        """How many colours a strip of the picture has."""
        return self.window.script("""
            const canvas = document.querySelectorAll('#strips canvas')[arguments[0]];
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size""", strip)

    def test_a_story_comes_in_pieces(self):
        # An event for each token, and a whole story: in the 20 ms that an event may wait for more, and in what the browser
        # reads at once, a fast machine writes a good part of a short one.
        self.open("--stream-interval", "0")
        self.window.script("""
            window.lengths = new Set();
            new MutationObserver(() => lengths.add(document.querySelector('#turns').textContent.length))
              .observe(document.querySelector('#turns'), {subtree: true, childList: true, characterData: true})""")
        self.set("max_tokens", 400)
        self.turn("One day, a little goose")
        self.assertGreater(self.window.script("return lengths.size"), 5)

    def test_a_story_and_what_follows_are_a_tree_of_states(self):
        server = self.open()
        self.set("max_tokens", 40)
        first = self.turn("One day, a little goose")
        self.assertTrue(first.startswith("One day, a little goose "), first)
        self.assertEqual(len(server.states()), 1)

        # Enter alone goes on.
        second = self.turn("")
        self.assertTrue(second.startswith(first) and len(second) > len(first), second)
        states = server.states()
        self.assertEqual([state["parent"] for state in states], [None, states[0]["id"]])
        self.assertEqual(self.count("#tree .node"), 2)

        # The picture: as many columns as tokens, and something to see in all strips.
        self.window.wait("!document.getElementById('picture-body').hidden")
        read = states[1]["tokens"] - states[0]["tokens"]  # as the model wrote them: other tokens can make the same text
        self.assertAlmostEqual(self.count(".token"), read, delta=4)
        for strip in range(3):
            self.assertGreater(self.colours(strip), 30)

        # Back to the first turn, and on from there in another way.
        self.window.click("#tree .node")
        self.assertEqual(self.text(), first)
        third = self.turn("But then a fox")
        self.assertTrue(third.startswith(first) and third[len(first):].strip().startswith("But then a fox "), third)
        states = server.states()
        self.assertEqual([state["parent"] for state in states], [None, states[0]["id"], states[0]["id"]])
        self.assertEqual(self.count("#tree .branch"), 2)

        # What had been written is written again from the same state with the same seed.
        self.window.click("#tree .node")
        self.assertEqual(self.turn(""), second)

        # A reload brings back the tree, and the words with it.
        titles = self.titles()
        self.window.open(server.url + "/")
        self.window.wait("document.querySelector('#tree .node')")
        self.assertEqual(self.titles(), titles)
        self.window.click("#tree .branch:nth-of-type(2) .node")
        self.assertEqual(self.text(), second)

    def test_a_turn_of_a_story_ends_with_a_sentence(self):
        server = self.open()
        for seed in (1, 2, 3):
            self.window.click("#root")
            self.assertRegex(self.turn("One day, a little goose", seed), "[.!?][\"')]*\n?$")
        self.assertEqual([state["note"]["finish"] for state in server.states()], ["length"] * 3)

    def test_states_are_named_forked_moved_and_deleted(self):
        server = self.open()
        self.set("max_tokens", 12)
        text = self.turn("Once")
        self.action("Name")
        self.window.type("#tree .actions input", "goose\n")
        self.window.wait("document.querySelector('.named')?.textContent === 'goose'")
        self.assertEqual(server.states()[0]["name"], "goose")

        self.action("Fork")
        self.window.wait("document.querySelectorAll('#tree .node').length === 2")
        self.assertEqual(len({state["checksum"] for state in server.states()}), 1)
        self.assertTrue(self.text().startswith(text))

        self.window.click("#tree .node")
        self.action("Download")
        path = Path(self.downloads.name, "goose.state")
        self.window.wait_for(path.exists)
        self.window.type("#upload-file", str(path))
        self.window.wait("document.querySelectorAll('#tree .node').length === 3")
        states = server.states()
        self.assertEqual(states[2]["checksum"], states[0]["checksum"])
        self.assertIn("whose words are not kept", self.window.script("return document.querySelector('#turns').textContent"))

        self.action("Delete")
        self.assertEqual(len(server.states()), 3)
        self.action("Delete for good")
        self.window.wait("document.querySelectorAll('#tree .node').length === 2")
        self.assertEqual(len(server.states()), 2)

    def test_a_name_that_is_taken_is_explained(self):
        self.complaints_expected = True  # the browser reports every 409
        self.open()
        self.set("max_tokens", 4)
        for name in ("goose", "goose"):
            self.window.click("#root")
            self.turn("Once")
            self.action("Name")
            self.window.type("#tree .actions input", name + "\n")
        self.window.wait("!document.getElementById('error').hidden")
        self.assertIn("'goose' is taken", self.window.script("return document.getElementById('error-text').textContent"))

    def test_a_turn_that_is_stopped_leaves_a_state_too(self):
        server = self.open()
        self.set("max_tokens", 5000)
        self.window.script("""
            new MutationObserver((_, observer) => {
              if (document.querySelector('.turn')?.textContent.length > 20) {
                observer.disconnect();
                document.getElementById('stop').click();
              }
            }).observe(document.querySelector('#turns'), {subtree: true, childList: true})""")
        text = self.turn("Once upon a time")
        states = server.states()
        self.assertEqual(len(states), 1)
        self.assertEqual(states[0]["note"]["user"] + states[0]["note"]["text"], text)
        self.assertEqual(states[0]["note"]["finish"], "stopped")

    def test_a_key_is_asked_for_and_kept_in_the_tab(self):
        self.complaints_expected = True  # the browser reports every 401
        self.serve("--api-key", "secret")
        self.window.wait("!document.getElementById('key-form').hidden")
        self.window.type("#key", "wrong\n")
        self.window.wait("!document.getElementById('error').hidden")
        self.window.type("#key", "secret\n")
        self.window.wait("document.getElementById('intro').textContent !== ''")
        self.assertEqual(self.count("#key-form[hidden]"), 1)
        self.set("max_tokens", 5)
        self.assertTrue(self.turn("Once").startswith("Once"))
        kept = self.window.script("return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
        self.assertEqual(kept, [["secret"], [], ""])

    def test_without_a_store_turns_live_in_the_page(self):
        self.complaints_expected = True  # the browser reports the 400 that says so
        self.open("--no-states")
        self.set("max_tokens", 20)
        first = self.turn("One day")
        self.assertTrue(self.turn("").startswith(first))
        self.window.wait("document.querySelectorAll('.token').length > 20")
        self.window.click("#tree .node")
        self.assertEqual(self.text(), first)
        third = self.turn("But")
        self.assertTrue(third.startswith(first) and third[len(first):].strip().startswith("But"), third)
        self.assertEqual(self.count("#tree .branch"), 2)

    def test_a_conversation_goes_on_from_its_state(self):
        with tempfile.TemporaryDirectory() as folder:
            # The embedded model, but for the word that it is for stories.
            model = Path(folder, "model.gguf")
            model.write_bytes(MODEL.read_bytes().replace(b"anser.kind", b"other.kind"))
            server = self.open("-m", str(model))
            self.set("max_tokens", 8)
            words = "<img src=x onerror=alert(1)> & 'so on'"
            self.turn(words)
            self.assertEqual(self.window.script("return document.querySelector('.turn .own').textContent"), words)
            self.assertEqual(self.count("#turns img"), 0)
            self.turn("And then?")
            states = server.states()
            self.assertEqual([state["parent"] for state in states], [None, states[0]["id"]])
            self.assertEqual(states[1]["note"]["user"], "And then?")
            self.window.wait("document.querySelector('.picture-text').textContent.includes('And then?')")

    def test_all_of_it_fits_a_phone_and_a_keyboard(self):
        self.open()
        self.set("max_tokens", 60)
        self.turn("One day, a little goose")
        self.turn("")
        self.window.metrics(390, 844, 2)
        self.addCleanup(self.window.metrics, 1360, 860)
        for view in ("states", "writing", "picture"):
            self.window.script("document.querySelector(`[data-show=${arguments[0]}]`).click()", view)
            self.window.wait(f"document.getElementById('{view}').offsetParent && document.documentElement.scrollWidth <= 390")
        self.window.wait("document.querySelector('#strips canvas').clientWidth > 200")

        keys = "arguments[0].forEach((key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true})))"
        self.window.script("document.getElementById('strips').focus(); " + keys, ["ArrowRight", "ArrowRight", "ArrowDown"])
        self.assertRegex(self.window.script("return document.getElementById('readout').textContent"),
                         r"layer 0, head 1: kept [01]\.\d{3}, erased [01]\.\d{3}, written [01]\.\d{3}$")
        self.window.script("document.querySelector('[data-show=states]').click(); document.getElementById('root').focus(); " + keys,
                           ["ArrowDown", "ArrowDown"])
        self.assertEqual(self.window.script("return document.activeElement.querySelector('.title').textContent"), self.titles()[1])
        unnamed = self.window.script("""
            return [...document.querySelectorAll('button, input:not([hidden]), select, textarea')]
              .filter((e) => !e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map((e) => e.outerHTML)""")
        self.assertEqual(unnamed, [], "everything that can be used has a name")


if __name__ == "__main__":
    unittest.main()
