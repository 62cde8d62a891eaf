"""The files of a model on this machine: which of them determine its vectors, whether they are whole, their digests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagesim.embedders.lite import file_digest
from imagesim.exceptions import EmbedderError

_IGNORED = (".md", ".lock")
"""The suffixes of files that are no part of a model."""

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format safetensors."""

_LFS_POINTER = b"version https://git-lfs"


def folder_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a model in a folder and the folders within it, without hidden ones: a clone of a repository
    has ``.git``, and the hub's client writes ``.cache``.

    :raises OSError: if a folder cannot be read.
    """
    for parent, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix not in _IGNORED and path.is_file():
                yield path


def folder_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, by its path in the folder.

    :raises EmbedderError: if a file cannot be read or is not whole.
    """
    try:
        return {str(path.relative_to(folder)): weights_digest(path) for path in folder_files(folder)}
    except OSError as error:
        raise EmbedderError(f"The model in {str(folder)!r} cannot be read: {error}.") from error


def folder_stamp(folder: Path) -> list[tuple[object, ...]]:
    """Return :func:`file_stamp` of each file of a model.

    :raises OSError: if a folder or file cannot be read.
    """
    return sorted(map(file_stamp, folder_files(folder)))


def file_stamp(path: Path) -> tuple[object, ...]:
    """Return what tells one state of a file from another without reading it: replacing a file changes its inode, and
    writing into it its ctime, even if the size and mtime stay.

    :raises OSError: if there is no such file.
    """
    status = path.stat()
    return (str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    :raises OSError: if it cannot be read.
    :raises EmbedderError: if it is one of weights and not whole.
    """
    problem = weights_problem(path)
    if problem:
        raise EmbedderError(problem)
    return file_digest(path)


def weights_problem(path: Path) -> str:
    """Return why a file of weights in the format safetensors cannot be used, from its size and its header; empty if it
    can, or if it has another format.

    :raises OSError: if it cannot be read.
    """
    if path.suffix != ".safetensors":
        return ""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            return f"The file {str(path)!r} is only a pointer of Git LFS: run `git lfs pull` in its repository."
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        tensors = [each for name, each in json.loads(header).items() if name != "__metadata__"]
        announced = 8 + length + max((each["data_offsets"][1] for each in tensors), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return f"The file {str(path)!r} is damaged or truncated: it has no header that can be read. Copy it again."
    if size != announced:
        return (
            f"The file {str(path)!r} is damaged or truncated: it has {size} bytes, and its header announces "
            f"{announced}. Copy it again."
        )
    return ""


def first_problem(files: Iterable[Path]) -> str:
    """Return :func:`weights_problem` of the first of the files that has one; empty if none has. Files that cannot be
    read have one."""
    try:
        return next(filter(None, map(weights_problem, files)), "")
    except OSError as error:
        return f"It cannot be read: {error}."


def _fail(error: OSError) -> None:
    raise error
