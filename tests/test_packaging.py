"""The distributions contain the files of the repository, including templates, scripts, translations and weights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import imagesim

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_contains_every_file(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "imagesim", tmp_path / "imagesim", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    (wheel,) = tmp_path.glob("*.whl")
    packed = set(ZipFile(wheel).namelist())
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "imagesim").rglob("*") if path.is_file()}
    assert files <= packed, sorted(files - packed)
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in packed if ".dist-info/licenses/" in name}


def test_the_weights_that_are_shipped_are_in_the_notice() -> None:
    notice = (ROOT / "NOTICE").read_text()
    shipped = [*(ROOT / "imagesim").rglob("*.safetensors"), ROOT / "imagesim/images/assets/colours.json"]
    assert [path.name for path in shipped if path.name not in notice] == []
    extras = (ROOT / "pyproject.toml").read_text()
    for package, version in re.findall(
        r'"([\w-]+)==([\d.]+)"', "".join(re.findall(r"^(?:lite|base) = .*$", extras, re.M))
    ):
        assert f"{package} {version}" in notice


def test_the_source_distribution_contains_the_repository(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    files = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    source = tmp_path / "source"
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('dist')"]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    (archive,) = (source / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    assert files <= packed, sorted(files - packed)
    assert archive.name == f"django_imagesim-{imagesim.__version__}.tar.gz"
