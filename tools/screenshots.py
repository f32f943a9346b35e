#!/usr/bin/env python3
"""Takes the pictures of the page in docs/images: page-light.png and page-dark.png.

    tools/setup.sh browser && tools/screenshots.py build/release/anser docs/images
"""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "page"))
from browser import Browser  # noqa: E402

WIDTH, HEIGHT = 1280, 800


def write_a_story(window):
    """A tree of four turns; the window is left at the last."""
    def turn(words, seed):
        nodes = window.script("return document.querySelectorAll('#tree .node').length")
        window.script("document.getElementById('seed').value = arguments[0]", seed)
        window.type("#say", words + "\n")
        window.wait(f"document.querySelectorAll('#tree .node').length > {nodes} && !document.body.classList.contains('busy')")

    def name(words):
        window.script("[...document.querySelectorAll('.actions button')].find((b) => b.textContent === 'Name').click()")
        window.type("#tree .actions input", words + "\n")
        window.wait("document.querySelector('[aria-current] .named')")

    turn("One day, a little goose", 3)
    turn("", 1)
    name("at the park")
    window.click("#tree .node")
    turn("But then a fox came and said,", 2)
    turn("", 5)


def show_picture(window):
    window.wait("document.querySelectorAll('.token').length > 20")
    window.script("""
        const strip = document.querySelectorAll('#strips canvas')[2].getBoundingClientRect();
        document.querySelectorAll('#strips canvas')[2].dispatchEvent(new PointerEvent('pointermove',
          {clientX: strip.left + 150, clientY: strip.top + 20, bubbles: true}))""")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("anser")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as states:
        server = subprocess.Popen([options.anser, "serve", "--port", "0", "--state-dir", states], stderr=subprocess.PIPE, text=True)
        try:
            url = next(found[1] for found in (re.search(r"at (http://\S+?)/,", line) for line in server.stderr) if found)
            for look in ("light", "dark"):
                window = Browser(WIDTH, HEIGHT, dark=look == "dark")
                try:
                    window.open(url + "/")
                    window.wait("document.getElementById('intro').textContent !== ''")
                    if look == "light":
                        write_a_story(window)
                    else:
                        window.script("[...document.querySelectorAll('#tree .node')].at(-1).click()")
                    show_picture(window)
                    window.screenshot(options.folder / f"page-{look}.png")
                finally:
                    window.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
