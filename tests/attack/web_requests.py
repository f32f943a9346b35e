"""Requests as browsers send them for foreign pages, byte by byte, against `anser serve` as it is started.

ANSER_BINARY names the program. What browsers make of the answers is tested in web_pages.py.
"""
import json
import socket
import sys
import unittest
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "page"))
import test_page  # noqa: E402

EVIL = "Origin: http://evil.test\r\n"
BODY = json.dumps({"prompt": "Once", "max_tokens": 2})


class WebRequests(unittest.TestCase):
    def serve(self, *options):
        server = test_page.Server("--no-states", *options)
        self.addCleanup(server.close)
        return server

    def ask(self, server, line, fields="", host="localhost", body="", version="1.1"):
        """(status, fields in lower case, body)"""
        at = urlsplit(server.url)
        head = f"{line} HTTP/{version}\r\n" + (f"Host: {host}\r\n" if host is not None else "") + fields + "Connection: close\r\n"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        with socket.create_connection((at.hostname, at.port), timeout=60) as connection:
            connection.sendall((head + "\r\n" + body).encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, text = answer.decode().partition("\r\n\r\n")
        lines = head.split("\r\n")
        named = dict(field.lower().split(": ", 1) for field in lines[1:])
        self.assertEqual(named["x-content-type-options"], "nosniff")
        return int(lines[0].split()[1]), named, text

    def test_without_a_key_only_the_servers_own_names_and_pages_are_served(self):
        server = self.serve("--allowed-host", "gpubox")
        for path in ("/", "/v1/models", "/metrics", "/v1/states", "/nothing", "/openapi.json"):
            for host in ("evil.test", "localhost.evil.test:80", "", "gpubox.evil.test"):
                status, _, text = self.ask(server, f"GET {path}", host=host)
                self.assertEqual(status, 403, path + host)
                self.assertIn("--allowed-host", json.loads(text)["error"]["message"])
            for fields in (EVIL, "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"):
                status, _, text = self.ask(server, f"GET {path}", fields)
                self.assertEqual(status, 403, path + fields)
                self.assertIn("--cors-origin", json.loads(text)["error"]["message"])
        for path in ("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/v1/trace", "/v1/responses"):
            self.assertEqual(self.ask(server, f"POST {path}", EVIL, body=BODY)[0], 403)
        for line in ("DELETE /v1/states/x", "PATCH /v1/states/x", "OPTIONS /v1/models", "OPTIONS *", "GET http://evil.test/v1/models",
                     "\r\nGET http://evil.test/v1/models"):
            self.assertEqual(self.ask(server, line, "" if "http:" in line else EVIL)[0], 403)
        self.assertEqual(self.ask(server, "GET /v1/models", host=None, version="1.0")[0], 403)

        for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "192.168.7.7", "a.localhost", "GPUbox:8080"):
            self.assertEqual(self.ask(server, "GET /v1/models", host=host)[0], 200, host)
        self.assertEqual(self.ask(server, "GET /health", EVIL, host="evil.test")[0], 200)
        link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
        self.assertEqual(self.ask(server, "GET /", link)[0], 200)
        self.assertEqual(self.ask(server, "GET /v1/models", link)[0], 403)

    def test_types_that_a_form_could_send_are_refused_of_pages_only(self):
        server = self.serve()
        own = "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n"
        for kind in ("Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", ""):
            self.assertEqual(self.ask(server, "POST /v1/completions", own + kind, body=BODY)[0], 415, kind)
            self.assertEqual(self.ask(server, "POST /v1/completions", kind, body=BODY)[0], 200, "curl, for one")
        self.assertEqual(self.ask(server, "POST /v1/completions", own + "Content-Type: application/json\r\n", body=BODY)[0], 200)

    def test_an_origin_that_is_let_in_gets_its_fields_with_errors_too(self):
        server = self.serve("--api-key", "key", "--cors-origin", "http://a.example", "--cors-origin", "https://b.example")
        origin = "Origin: https://b.example\r\nSec-Fetch-Site: cross-site\r\n"
        key = "Authorization: Bearer key\r\n"
        for line, fields, body, expected in (
                ("GET /v1/models", "", "", 401), ("GET /v1/models", key, "", 200), ("GET /nothing", key, "", 404),
                ("GET /v1/models", key + "X: " + "x" * 20000 + "\r\n", "", 431), ("POST /tokenize", key, "{", 400),
                ("POST /v1/completions", key + f"Content-Length: {1 << 30}\r\n", "", 413), ("DELETE /v1/models", key, "", 405),
                ("POST /v1/completions", key, BODY[:-1] + ', "stream": true}', 200)):
            status, named, text = self.ask(server, line, origin + fields, host="any.example", body=body)
            self.assertEqual(status, expected, text)
            self.assertEqual(named["access-control-allow-origin"], "https://b.example")
            self.assertEqual(named["vary"], "origin")
        status, named, _ = self.ask(server, "OPTIONS /v1/chat/completions", origin + "Access-Control-Request-Method: POST\r\n"
                                    "Access-Control-Request-Headers: authorization\r\nAccess-Control-Request-Private-Network: true\r\n")
        self.assertEqual(status, 204)
        self.assertEqual(named["access-control-allow-headers"], "authorization")
        self.assertEqual(named["access-control-allow-private-network"], "true")
        self.assertNotIn("access-control-allow-origin", self.ask(server, "GET /v1/models", EVIL + key)[1])


if __name__ == "__main__":
    unittest.main()
