"""imagesim in django-oscar 4.2, in a separate process: tests/oscar/cases.py on each index."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytest.importorskip("oscar", reason="django-oscar is not installed: pip install -c constraints.txt django-oscar")

# Separately, so that the outer run's database and plug-ins do not meet the inner one's. Oscar's warnings are not ours.
INNER = (
    "-W",
    "default",
    "--nomigrations",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "-q",
    "--no-cov",
    "--ds=tests.oscar.settings",
)


def run(**environment: str) -> None:
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    outer.pop("IMAGESIM_TEST_SCRATCH", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *INNER, "tests/oscar/cases.py"],
        env={**outer, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_on_the_local_index():
    run(OSCAR_INDEX="local")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_on_elasticsearch(elasticsearch_url):
    run(OSCAR_INDEX="elasticsearch", OSCAR_INDEX_NAME=f"oscar-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize("file", ["similarity.py", "templates/oscar/catalogue/detail.html"])
def test_the_how_to_shows_the_tested_files(file):
    root = Path(__file__).parent.parent
    tested = (root / "tests" / "oscar" / file).read_text()
    if file.endswith(".py"):
        tested = tested.partition('"""\n\n')[2]  # without the docstring

    assert tested in (root / "docs" / "howto-oscar.md").read_text()
