"""What the documents show is there: every link leads somewhere, and every command and option of a code block exists."""
import functools
import os
import re
import shlex
import subprocess
import unittest
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ANSER_BINARY", str(ROOT / "build" / "release" / "anser"))
PAGES = sorted(path for pattern in ("*.md", "docs/**/*.md", "models/*.md", ".github/**/*.md") for path in ROOT.glob(pattern))


def lines_of(page):
    """(line number, whether it is in a code block, text)"""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        else:
            yield number, fenced or line.startswith("    "), line


def anchors_of(page):
    """Of its headings, as GitHub makes them."""
    found = set()
    for _, is_code, line in lines_of(page):
        heading = None if is_code else re.match(r"#+ (.*)", line)
        if heading:
            words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            anchor = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
            again = sum(one == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", one) is not None for one in found)
            found.add(f"{anchor}-{again}" if again else anchor)
    return found


def links_of(page):
    for number, is_code, line in lines_of(page):
        if not is_code:
            for target in re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", re.sub(r"`[^`]*`", "", line)):
                yield number, target


def commands_of(page):
    """Each command of the code blocks, in words; what pipes and loops join is taken apart, and comments are left out."""
    for number, is_code, line in lines_of(page):
        if not is_code:
            continue
        for part in re.split(r"\s(?:\||&&|;)\s|\s&$", re.sub(r"(^|\s)#.*", "", line).strip().removeprefix("$ ")):
            try:
                words = shlex.split(part)
            except ValueError:  # it is no shell's
                continue
            if words:
                yield number, words


@functools.cache
def help_of(*command):
    return subprocess.run([BINARY, *command, "--help"], capture_output=True, text=True, timeout=60).stdout


class Documents(unittest.TestCase):
    def check(self, problems):
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_links_lead_somewhere(self):
        problems = []
        for page in PAGES:
            for number, target in links_of(page):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = unquote(target).partition("#")
                file = (page.parent / path).resolve() if path else page
                where = f"{page.relative_to(ROOT)}:{number}: {target}"
                if not file.exists():
                    problems.append(f"{where} is not there")
                elif anchor and file.suffix == ".md" and anchor not in anchors_of(file):
                    problems.append(f"{where}: no heading has this anchor")
        self.check(problems)

    def test_commands_and_options_of_the_program_exist(self):
        problems, seen = [], 0
        for page in PAGES:
            for number, words in commands_of(page):
                if Path(words[0]).name != "anser" or words[0] == "anser:" or len(words) < 2 or not re.fullmatch("[a-z-]+", words[1]):
                    continue
                seen += 1
                command = words[1:3] if words[1] == "state" and words[2:3] and words[2].isalpha() else words[1:2]
                described = "" if command[0].startswith("-") else help_of(*command)
                for word in words[1 + len(command):]:
                    option = re.match(r"\[?(--?[a-zA-Z][\w-]*)", word)
                    if option and not re.search(rf"(?<![\w-]){re.escape(option[1])}(?![\w-])", described) and option[1] != "--help":
                        problems.append(f"{page.relative_to(ROOT)}:{number}: anser {' '.join(command)} has no {option[1]}")
                if not described and not command[0].startswith("-"):
                    problems.append(f"{page.relative_to(ROOT)}:{number}: there is no command {' '.join(command)}")
        self.check(problems)
        self.assertGreater(seen, 40)

    def test_targets_presets_and_tools_exist(self):
        makefile = (ROOT / "Makefile").read_text()
        presets = (ROOT / "CMakePresets.json").read_text()
        problems = []
        for page in PAGES:
            for number, words in commands_of(page):
                where = f"{page.relative_to(ROOT)}:{number}: "
                if words[0] == "make":
                    problems += [f"{where}the Makefile has no {word}" for word in words[1:]
                                 if "=" not in word and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE)]
                if words[:2] == ["cmake", "--preset"] and f'"name": "{words[2]}"' not in presets:
                    problems.append(f"{where}there is no preset {words[2]}")
                problems += [f"{where}{word} is not there" for word in words
                             if re.match(r"(tools|tests)/[\w/.-]+\.(py|sh)$", word) and not (ROOT / word).exists()]
        self.check(problems)


if __name__ == "__main__":
    unittest.main()
