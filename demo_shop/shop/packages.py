"""The two public packages whose pictures the demo shows: downloaded once, verified, and stored in the user's cache
folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class PackageUnavailable(Exception):
    """A package is not available; the message gives the reason and what to do."""


@dataclass(frozen=True)
class Package:
    """An archive: its download command, its checksum, the folders of its pictures, and its credits."""

    name: str
    filename: str
    sha256: str
    folders: tuple[str, ...]
    command: Callable[[Path], list[str]]
    licence: str
    credit: str
    url: str


def _pip(folder: Path) -> list[str]:
    options = "--no-deps --ignore-requires-python --only-binary :all: --quiet --disable-pip-version-check"
    return [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(folder), "saleor==2.10.1"]


def _npm(folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise PackageUnavailable("npm is not installed, so the products of @vendure/create are left out of the demo.")
    return [npm, "pack", "@vendure/create@2.3.4", "--silent", "--pack-destination", str(folder)]


PACKAGES = {
    "saleor": Package(
        name="saleor 2.10.1",
        filename="saleor-2.10.1-py3-none-any.whl",
        sha256="ebf33a74d000dcee5298b728b1bb10321521feea74c94a28bf85da556bfd337c",
        folders=("saleor/static/placeholders", "saleor/static/placeholders/products-list"),
        command=_pip,
        licence="BSD-3-Clause, artwork CC BY 4.0",
        credit="Saleor, © Mirumee Software",
        url="https://github.com/saleor/saleor",
    ),
    "vendure": Package(
        name="@vendure/create 2.3.4",
        filename="vendure-create-2.3.4.tgz",
        sha256="ea1205779025ad02ed84e60e33ef568157c2e8a4ab81dd33a7034f97652a38bf",
        folders=("package/assets/images",),
        command=_npm,
        licence="MIT, photographs from Unsplash",
        credit="Vendure, © Michael Bromley, and the photographers of Unsplash",
        url="https://github.com/vendure-ecommerce/vendure",
    ),
}


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "imagesim"


def fetch(package: Package) -> Path:
    """Return the verified archive, from the cache or from the registry.

    :raises PackageUnavailable: if it cannot be downloaded, or its checksum is wrong.
    """
    archive = cache_folder() / package.filename
    if archive.is_file() and _sha256(archive) == package.sha256:
        return archive
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            command = package.command(Path(folder))
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=300,
                check=False,
            )
            fetched = Path(folder) / package.filename
            if done.returncode or not fetched.is_file():
                reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
                raise PackageUnavailable(f"{package.name} could not be downloaded: {reason[0]}")
            if _sha256(fetched) != package.sha256:
                raise PackageUnavailable(f"{package.name} was downloaded, but its checksum is wrong; it is not used.")
            fetched.replace(archive)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageUnavailable(f"{package.name} could not be downloaded: {error}") from error
    return archive


def read_pictures(package: Package) -> dict[str, bytes]:
    """Return the package's pictures, by file name without the folder.

    :raises PackageUnavailable: as :func:`fetch` does.
    """
    archive = fetch(package)
    pictures: dict[str, bytes] = {}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if _is_picture(package, name):
                    pictures[PurePosixPath(name).name] = wheel.read(name)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and _is_picture(package, member.name):
                    file = tar.extractfile(member)
                    assert file is not None
                    pictures[PurePosixPath(member.name).name] = file.read()
    return pictures


def _is_picture(package: Package, name: str) -> bool:
    path = PurePosixPath(name)
    return str(path.parent) in package.folders and path.suffix in (".png", ".jpg")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
