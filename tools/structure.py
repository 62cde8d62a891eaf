"""``python -m tools.structure``: print the size of the package, and how many files and functions three calls pass
through.

The calls are real, with SQLite, the local index and a tiny embedder. Each is made once to fill caches, then again while
every Python function of ``imagesim/`` that is entered is recorded, in every thread. A function is on the path if it
does the work or leads to it: if it is on the stack while a query runs, a picture is decoded or embedded, or vectors are
compared. The others are helpers. Generated methods (dataclasses), comprehensions and lambdas are not counted, nor is
``imagesim/testing/``, which no server imports.

The column "before" holds the figures of commit 3454d2d. ``--list`` names the functions, those on the path with a star.
"""

from __future__ import annotations

import ast
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imagesim"
NOT_COUNTED = ("testing", "migrations")
BEFORE = ("154", "98", "2", "45", "18,532", "29", "17", "43", "142", "32", "15", "29", "116", "46", "17", "30", "145")
LONG, SHORT = 400, 60
PREFIX = f"{PACKAGE}{os.sep}"
WORK = ("embed_images", "embed_texts", "embed_prepared", "score", "load_prepare")
"""Functions (of an embedder, of Pillow, of the local index) that do the work to which a path leads."""


class Row(NamedTuple):
    what: str
    measured: str
    aim: str
    reached: bool | None


Function = tuple[str, str, int]
"""File, qualified name and first line."""


class Passed(NamedTuple):
    """The functions of the package that a call entered, and those of them on its path."""

    entered: set[Function]
    on_path: set[Function]


def modules() -> dict[Path, int]:
    """Return the number of lines of each module of the package that contains more than a docstring."""
    paths = (path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in NOT_COUNTED)
    texts = {path: path.read_text() for path in sorted(paths)}
    return {path: len(text.splitlines()) for path, text in texts.items() if not _is_docstring(text)}


def _is_docstring(text: str) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse(text).body)


def size() -> list[Row]:
    lines = modules()
    long = sum(count > LONG for count in lines.values())
    short = sum(count < SHORT for count in lines.values())
    total = sum(lines.values())
    return [
        Row("modules (without those of a docstring or less)", str(len(lines)), "<= 100", len(lines) <= 100),
        Row("median lines per module", f"{median(lines.values()):.0f}", "", None),
        Row(f"modules over {LONG} lines", str(long), "0", long == 0),
        Row(f"modules under {SHORT} lines", str(short), "few", None),
        Row("lines of Python", f"{total:,}", "<= 15,000", total <= 15_000),
    ]


def function_of(frame: FrameType) -> Function | None:
    """Return the function of the package that this frame runs, if it counts."""
    code = frame.f_code
    name = getattr(code, "co_qualname", code.co_name)
    if not code.co_filename.startswith(PREFIX) or name.rpartition(".")[2].startswith("<"):
        return None
    file = code.co_filename.removeprefix(PREFIX)
    return None if file.split(os.sep)[0] in NOT_COUNTED else (file, name, code.co_firstlineno)


@contextmanager
def recording() -> Iterator[Passed]:
    """Record each function of the package that is entered, in this thread and in threads started meanwhile."""
    from django.db import connection

    passed = Passed(set(), set())

    def work_done(frame: FrameType | None) -> None:
        while frame:
            if function := function_of(frame):
                passed.on_path.add(function)
            frame = frame.f_back

    def enter(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            if function := function_of(frame):
                passed.entered.add(function)
            if frame.f_code.co_name in WORK:
                work_done(frame)

    def query(execute: Callable[..., Any], *arguments: Any) -> Any:
        work_done(sys._getframe(1))
        return execute(*arguments)

    with connection.execute_wrapper(query):
        threading.setprofile(enter)
        sys.setprofile(enter)
        try:
            yield passed
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def prepare() -> None:
    """Set up Django on a new SQLite database in memory, with the demo shop's products of two colours."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "IMAGESIM_TEST_DATABASE_URL": "sqlite://"}
    import django
    from django.conf import settings

    django.setup()
    settings.IMAGESIM = {
        "EMBEDDER": {"BACKEND": "imagesim.testing.embedders.PixelEmbedder"},
        "SYNC": "manual",
        "REST_THROTTLES": dict.fromkeys(("similar", "search", "look", "region", "events", "refused")),
    }
    settings.ALLOWED_HOSTS = ["testserver"]
    from django.db import connection

    connection.creation.create_test_db(verbosity=0)


def calls() -> dict[str, tuple[Callable[[], None], int, int | None]]:
    """Return, by name, each call to record, and the maximum numbers of files and functions that it should enter."""
    from django.template import Context, Template
    from django.test import Client

    from imagesim.indexing.sync import sync
    from imagesim.testing import make_picture, picture_file
    from tests.shop import product

    shown = product("first", make_picture("red"))
    template = Template("{% load imagesim %}{% similar_products product limit=4 %}")
    client = Client()
    number = iter(range(1_000))

    def save() -> None:
        product(f"saved-{(n := next(number))}", make_picture("darkred", mark=n % 8, size=(64 + n, 64)))
        report = sync()
        assert (report.indexed, report.interrupted) == (n or 2, ""), report

    def tag() -> None:
        assert "saved-" in template.render(Context({"product": shown}))

    def look() -> None:
        photo = picture_file("red", name="photo.png", size=(640, 480))
        response = client.post("/api/visual/look/", {"image": photo})
        assert response.status_code == 200, response.content
        assert "saved-" in response.content.decode(), response.content

    return {
        "save -> entry in the index": (save, 13, 28),
        "template tag -> hit": (tag, 11, 18),
        "POST look -> JSON": (look, 15, None),
    }


def paths(*, listed: bool) -> list[Row]:
    rows = []
    for name, (call, most_files, most_functions) in calls().items():
        call()
        with recording() as passed:
            call()
        files = [len({file for file, _, _ in functions}) for functions in (passed.entered, passed.on_path)]
        functions = [len(passed.on_path), len(passed.entered)]
        rows += [
            Row(f"{name}: files entered", str(files[0]), f"<= {most_files}", files[0] <= most_files),
            Row("  of which on the path", str(files[1]), "", None),
            Row(
                f"{name}: functions on the path",
                str(functions[0]),
                "" if most_functions is None else f"<= {most_functions}",
                None if most_functions is None else functions[0] <= most_functions,
            ),
            Row("  functions entered", str(functions[1]), "", None),
        ]
        if listed:
            print(f"\n{name}")
            for file in sorted({each[0] for each in passed.entered}):
                functions_of = sorted(each for each in passed.entered if each[0] == file)
                print(f"  {file}: {', '.join('*' * (each in passed.on_path) + each[1] for each in functions_of)}")
    return rows


def main(arguments: list[str]) -> int:
    prepare()
    rows = [*size(), *paths(listed="--list" in arguments)]
    print(f"\n{'':50}{'before':>8}{'now':>8}  {'aim':<12}")
    for row, before in zip(rows, BEFORE, strict=True):
        mark = {True: "reached", False: "not reached", None: ""}[row.reached]
        print(f"{row.what:50}{before:>8}{row.measured:>8}  {row.aim:<12}{mark}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
