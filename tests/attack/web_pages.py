"""What web pages get of a server on this machine: pages of other origins, and pages behind a name that is pointed at it.

In Chromium, against `anser serve` on loopback. ANSER_BINARY names the program. Skipped where Chromium is not installed
(tools/setup.sh browser). `*.test` is pointed at 127.0.0.1, as whoever owns a name can point it.
"""
import http.server
import json
import sys
import threading
import time
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "page"))
import browser  # noqa: E402
import test_page  # noqa: E402

STOLEN = json.dumps({"prompt": "Once upon a time", "name": "stolen"})


class EmptyPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>a page</title><body></body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@unittest.skipIf(browser.missing(), browser.missing())
class WebPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Chromium's own checks of pages that ask for this machine are off: not every browser has them.
        cls.window = browser.Browser(network=True, arguments=[
            "--host-resolver-rules=MAP *.test 127.0.0.1",
            "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"])
        cls.site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
        threading.Thread(target=cls.site.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.window.close()
        cls.site.shutdown()
        cls.site.server_close()

    def serve(self, *options):
        server = test_page.Server(*options)
        self.addCleanup(self.window.open, "about:blank")
        self.addCleanup(server.close)
        return server

    def visit(self, name):
        """A page of another origin is open; `statuses` counts from here."""
        self.open(f"http://{name}:{self.site.server_port}/")

    def open(self, url):
        self.window.open(url)
        self.window.network()
        self.asked, self.answered = {}, {}

    def keep_a_state(self, server):
        request = urllib.request.Request(server.url + "/v1/states", json.dumps({"prompt": "A secret", "name": "secret"}).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["id"]

    def names(self, server):
        return sorted(state["name"] for state in server.states())

    def statuses(self, url, count):
        """Of the next answers from addresses below `url`, whether or not the page may see them."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for event, about in self.window.network():
                if event == "Network.requestWillBeSent":
                    self.asked[about["requestId"]] = about["request"]["url"]
                if event == "Network.responseReceivedExtraInfo":
                    self.answered[about["requestId"]] = about["statusCode"]
            found = [self.answered[key] for key, asked in self.asked.items() if asked.startswith(url) and key in self.answered]
            if len(found) >= count:
                for key in self.answered:
                    self.asked.pop(key, None)
                return found
            time.sleep(0.05)
        raise AssertionError(f"{count} answers from {url} were expected: {self.asked} {self.answered}")

    def fetch(self, url, **options):
        """[status, text], or why there is none."""
        return self.window.script_async(
            "const answer = await fetch(arguments[0], arguments[1]); return [answer.status, await answer.text()]", url, options)

    def post_simply(self, url):
        """All that a page may send without asking for leave; how many."""
        return self.window.script_async("""
            const [url, text] = arguments;
            const bytes = new TextEncoder().encode(text);
            const types = ["text/plain", "text/plain;charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
            const asked = [];
            for (const mode of ["cors", "no-cors"]) {
              for (const type of types) asked.push(fetch(url, {method: "POST", mode, body: text, headers: {"Content-Type": type}}));
              asked.push(fetch(url, {method: "POST", mode, body: bytes}));
            }
            await Promise.allSettled(asked);
            return asked.length""", url, STOLEN)

    def read_simply(self, url):
        """All ways in which a page can ask for what it must not see; how many."""
        return self.window.script("""
            const url = arguments[0];
            const add = (tag, fields) => document.body.append(Object.assign(document.createElement(tag), fields));
            fetch(url).catch(() => {});
            fetch(url, {mode: "no-cors"}).catch(() => {});
            new EventSource(url).onerror = (event) => event.target.close();
            add("img", {src: url + "?img"});
            add("script", {src: url + "?script"});
            add("link", {rel: "stylesheet", href: url + "?style"});
            add("video", {src: url + "?video"});
            return 7""", url)

    def test_posts_that_need_no_leave_do_nothing(self):
        server = self.serve()
        for name, server_url in (("evil.test", server.url), ("localhost", server.url), ("localhost", server.url.replace("127.0.0.1", "localhost"))):
            self.visit(name)
            url = server_url + "/v1/states"
            count = self.post_simply(url)
            self.assertEqual(self.statuses(url, count), [403] * count, f"{name} to {server_url}")
        self.assertEqual(self.names(server), [])

    def test_beacons_and_forms_do_nothing(self):
        server = self.serve()
        self.visit("evil.test")
        url = server.url + "/v1/states"
        self.window.script("navigator.sendBeacon(arguments[0], arguments[1])", url, STOLEN)
        self.assertEqual(self.statuses(url, 1), [403])
        # The text of this form is an object: {"prompt": "x", "note": "="}
        self.window.script("""
            const frame = Object.assign(document.createElement("iframe"), {name: "hidden"});
            const form = Object.assign(document.createElement("form"),
                                       {method: "post", action: arguments[0], enctype: "text/plain", target: "hidden"});
            form.append(Object.assign(document.createElement("input"), {name: '{"prompt": "x", "note": "', value: '"}'}));
            document.body.append(frame, form);
            form.submit()""", url)
        self.assertEqual(self.statuses(url, 1), [403])
        self.assertEqual(self.names(server), [])

    def test_nothing_is_read_or_deleted(self):
        server = self.serve()
        kept = self.keep_a_state(server)
        for name in ("evil.test", "localhost"):
            for path in ("/v1/states", "/v1/models", "/metrics", f"/v1/states/{kept}/content"):
                self.visit(name)
                count = self.read_simply(server.url + path)
                self.assertEqual(self.statuses(server.url + path, count), [403] * count, name + path)
        self.assertIn("TypeError", self.fetch(f"{server.url}/v1/states/{kept}", method="DELETE"))
        self.assertEqual(self.names(server), ["secret"])

    def test_a_page_without_an_origin_is_foreign(self):
        server = self.serve()
        self.open("data:text/html,<body></body>")
        url = server.url + "/v1/states"
        count = self.post_simply(url)
        self.assertEqual(self.statuses(url, count), [403] * count)
        count = self.read_simply(url)
        self.assertEqual(self.statuses(url, count), [403] * count)
        self.assertEqual(self.names(server), [])

    def test_a_web_socket_is_refused(self):
        server = self.serve()
        self.visit("evil.test")
        self.window.console()
        self.window.script_async("""
            await new Promise((done) => { new WebSocket(arguments[0]).onerror = done })""", server.url.replace("http", "ws") + "/v1/models")
        self.assertRegex("\n".join(self.window.console()), "Unexpected response code: 403")

    def test_a_name_that_is_pointed_here_gets_nothing(self):
        server = self.serve()
        kept = self.keep_a_state(server)
        rebound = server.url.replace("127.0.0.1", "rebound.test")
        self.window.open(rebound + "/")  # from here on it is the same origin to the browser
        self.assertFalse(self.window.script("return Boolean(document.getElementById('say'))"), "the page itself")
        for path in ("/", "/v1/states", "/v1/models", "/metrics", f"/v1/states/{kept}/content"):
            status, text = self.fetch(path)
            self.assertEqual(status, 403, path)
            self.assertIn("--allowed-host", text)
        headers = {"Content-Type": "application/json"}
        self.assertEqual(self.fetch("/v1/states", method="POST", body=STOLEN, headers=headers)[0], 403)
        self.assertEqual(self.fetch(f"/v1/states/{kept}", method="DELETE")[0], 403)
        self.assertEqual(self.names(server), ["secret"])
        self.assertEqual(self.fetch("/health")[0], 200)

    def test_a_link_leads_to_the_page_and_a_frame_does_not(self):
        server = self.serve()
        self.visit("evil.test")
        self.window.script("""
            document.body.append(Object.assign(document.createElement("iframe"), {src: arguments[0]}))""", server.url + "/")
        self.assertEqual(self.statuses(server.url, 1), [403])
        self.window.script("""
            document.body.append(Object.assign(document.createElement("a"), {id: "link", href: arguments[0], textContent: "a link"}))""", server.url + "/")
        self.window.click("#link")
        self.window.wait("document.getElementById('intro')?.textContent")
        headers = {"Content-Type": "application/json"}
        self.assertEqual(self.fetch("/v1/states", method="POST", body=STOLEN, headers=headers)[0], 200)
        self.assertEqual(self.names(server), ["stolen"])

    def test_what_the_options_name_is_let_in_and_nothing_else(self):
        friend = f"http://friend.test:{self.site.server_port}"
        server = self.serve("--cors-origin", friend, "--allowed-host", "friend.test")
        kept = self.keep_a_state(server)
        json_type = {"Content-Type": "application/json"}
        self.visit("friend.test")
        self.assertIn("secret", self.fetch(server.url + "/v1/states")[1])
        asked = json.dumps({"prompt": "Once", "max_tokens": 3, "stream": True})
        status, text = self.fetch(server.url + "/v1/completions", method="POST", headers=json_type, body=asked)
        self.assertEqual((status, text[-8:].strip()), (200, "[DONE]"))
        self.assertEqual(self.fetch(server.url + "/v1/completions", method="POST", headers=json_type, body="{")[0], 400)
        self.assertEqual(self.fetch(server.url + "/v1/states/none")[0], 404)
        self.assertEqual(self.fetch(server.url + "/v1/states", method="POST", body=STOLEN)[0], 415)
        self.assertEqual(self.fetch(server.url + "/v1/models", headers={"X": "x" * 20000})[0], 431)
        self.assertEqual(self.fetch(f"{server.url}/v1/states/{kept}", method="DELETE")[0], 200)
        self.visit("evil.test")
        self.assertIn("TypeError", self.fetch(server.url + "/v1/states"))
        count = self.post_simply(server.url + "/v1/states")
        self.assertEqual(self.statuses(server.url + "/v1/states", count + 1), [403] * (count + 1))
        self.assertEqual(self.names(server), [])
        # The server's own page, under a name that was given to it.
        self.window.open(server.url.replace("127.0.0.1", "friend.test") + "/")
        self.window.wait("document.getElementById('intro')?.textContent")
        self.assertEqual(self.fetch("/v1/states", method="POST", headers=json_type, body=STOLEN)[0], 200)

    def test_with_a_key_all_may_be_let_in(self):
        server = self.serve("--api-key", "a-key", "--cors-origin", "*")
        self.visit("evil.test")
        self.assertEqual(self.fetch(server.url + "/v1/models")[0], 401)
        self.assertEqual(self.fetch(server.url + "/v1/models", headers={"Authorization": "Bearer a-key"})[0], 200)
        self.assertEqual(self.fetch(server.url + "/nothing")[0], 404)

    def test_with_a_key_none_is_let_in_unasked(self):
        server = self.serve("--api-key", "a-key")
        self.visit("evil.test")
        self.assertIn("TypeError", self.fetch(server.url + "/v1/models"))
        self.assertIn("TypeError", self.fetch(server.url + "/v1/models", headers={"Authorization": "Bearer a-key"}))


if __name__ == "__main__":
    unittest.main()
