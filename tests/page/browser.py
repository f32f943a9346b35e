"""Headless Chromium over WebDriver, which is JSON over HTTP: nothing but Python's own library is needed.

Debian's `chromium` and `chromium-driver` (tools/setup.sh browser).
"""
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def missing():
    """What is not installed, or None."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


class Browser:
    """One window. `script` calls run in the page; what they return comes back as Python values."""

    def __init__(self, width=1360, height=860, dark=False, downloads=None, arguments=(), network=False):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self._driver.stdout:
            started = re.search(r"started successfully on port (\d+)", line)
            if started:
                break
        self._base = f"http://127.0.0.1:{started[1]}"
        options = {
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}",
                *(["--force-dark-mode"] if dark else []), *arguments,
            ],
            "prefs": {"download.default_directory": downloads or self._profile.name},
        }
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", **({"performance": "ALL"} if network else {})}}}})
        self._base += f"/session/{session['sessionId']}"
        self.metrics(width, height)
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"{value['error']}: {value['message'].splitlines()[0]}") from None

    def cdp(self, command, **parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def metrics(self, width, height, scale=1):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def script_async(self, text, *arguments):
        """Of a script that returns a promise, what that comes to."""
        return self._call("POST", "/execute/async", {"script": """
            const done = arguments[arguments.length - 1];
            (async function () { %s }).apply(null, [...arguments].slice(0, -1)).then(done, (error) => done(String(error)))""" % text,
            "args": list(arguments)})

    def script(self, text, *arguments):
        return self._call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def wait(self, condition, seconds=60):
        """Until the JavaScript expression is true."""
        self.wait_for(lambda: self.script(f"return Boolean({condition})"), seconds, condition)

    def wait_for(self, condition, seconds=60, name="condition"):
        """Until the call returns something true."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not happen within {seconds} s: {name}\n{self.console()}")
            time.sleep(0.02)

    def _element(self, selector):
        return next(iter(self._call("POST", "/element", {"using": "css selector", "value": selector}).values()))

    def click(self, selector):
        self._call("POST", f"/element/{self._element(selector)}/click", {})

    def type(self, selector, text):
        """As at a keyboard: "\\n" is Enter. A path, for a file's input."""
        self._call("POST", f"/element/{self._element(selector)}/value", {"text": text.replace("\n", "\ue007")})

    def console(self):
        """What the page, or the browser about the page, has complained of since the last call."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def network(self):
        """[(event of DevTools' domain Network, its parameters)] since the last call, of a Browser(network=True)."""
        entries = (json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", {"type": "performance"}))
        return [(entry["method"], entry["params"]) for entry in entries if entry["method"].startswith("Network.")]

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self):
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._driver.stdout.close()
            self._profile.cleanup()
