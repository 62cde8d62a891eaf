"""``python -m tools.installs [3.12 …]``: install the wheel and the source distribution into empty environments, and use
them.

One environment for each Python from 3.10 on that this machine has (or the named ones), without torch, with the newest
Django that it supports: the app must not replace installed packages. A new project then passes `check` and `migrate`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.system import say

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = "[celery,elasticsearch,http,metrics,pgvector,rest]"
SETTINGS = """
INSTALLED_APPS += ["imagesim", "rest_framework"]
"""
URLS = """
from django.urls import include
urlpatterns += [path("api/visual/", include("imagesim.rest.urls")), path("visual/", include("imagesim.urls"))]
"""


def pythons(versions: Sequence[str]) -> list[str]:
    """Return the interpreters of these versions, from pyenv or on PATH."""
    found = []
    for version in versions:
        other = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
        program = str(other[-1]) if other else shutil.which(f"python{version}")
        found += [program] if program else []
    return found


def build(folder: Path) -> list[Path]:
    """Build the wheel and the source distribution from a copy of the tracked files."""
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    for kind in ("wheel", "sdist"):
        hook = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
        _run(source, sys.executable, "-c", hook)
    return sorted(folder.glob("django_imagesim-*"))


def check(python: str, package: Path, folder: Path) -> str:
    """Install ``package`` with the newest Django; return what was installed."""
    _run(folder, python, "-m", "venv", "env")
    own = str(folder / "env" / "bin" / "python")
    pip = (own, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(folder, *pip, "install", "Django")
    before = _versions(own, folder)
    _run(folder, *pip, "install", f"{package}{EXTRAS}")
    _run(folder, *pip, "check")
    after = _versions(own, folder)
    replaced = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
    if replaced:
        raise SystemExit(f"{package.name} replaced {replaced}")
    if not after["elasticsearch"].startswith("8."):
        raise SystemExit(f"the extra installed elasticsearch {after['elasticsearch']}, which no server 8 accepts")
    _run(folder, own, "-m", "django", "startproject", "project", ".")
    for name, text in (("settings", SETTINGS), ("urls", URLS)):
        with (folder / "project" / f"{name}.py").open("a") as file:
            file.write(text)
    for command in (("check", "--fail-level", "ERROR"), ("migrate", "--verbosity", "0"), ("imagesim_status",)):
        _run(folder, own, "manage.py", *command)
    return ", ".join(f"{name} {after[name]}" for name in ("django", "numpy", "elasticsearch"))


def _versions(python: str, folder: Path) -> dict[str, str]:
    listed = _run(folder, python, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json")
    return {each["name"].lower(): each["version"] for each in json.loads(listed)}


def _run(folder: Path, *command: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(versions: Sequence[str]) -> None:
    found = pythons(versions)
    if not found:
        raise SystemExit(f"No Python {', '.join(versions)} was found on PATH or among those of pyenv.")
    with tempfile.TemporaryDirectory(prefix="imagesim-installs-") as name:
        wheel, source = build(Path(name))
        pairs = [*((python, wheel) for python in found), (found[-1], source)]
        for number, (python, package) in enumerate(pairs):
            folder = Path(name) / str(number)
            folder.mkdir()
            say(f"{Path(python).name}, {package.suffix}: {check(python, package, folder)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="such as 3.12")
    main(parser.parse_args().versions)
