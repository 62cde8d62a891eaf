"""``python -m tools.release v1.2.3``: print the notes of a release; fail if tag, version and changelog differ."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tools.system import Failure, say

ROOT = Path(__file__).resolve().parent.parent


def notes(tag: str, version: str, changelog: str) -> str:
    """Return the section of a version in the changelog, without its heading.

    :raises Failure: if the tag names another version, or the changelog has no dated section for it, or an empty one.
    """
    if tag != f"v{version}":
        raise Failure(f"the tag {tag} does not match imagesim.__version__, which is {version}.")
    heading = re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
    if heading is None:
        raise Failure(f"CHANGELOG.md has no line of the form: ## [{version}] - YYYY-MM-DD")
    section = changelog[heading.end() :].partition("\n## ")[0].strip()
    if not section:
        raise Failure(f"CHANGELOG.md says nothing about {version}.")
    return section


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        say("usage: python -m tools.release TAG")
        return 2
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "imagesim" / "__init__.py").read_text(), re.MULTILINE)
    assert found
    print(notes(arguments[0], found[1], (ROOT / "CHANGELOG.md").read_text()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(1)
