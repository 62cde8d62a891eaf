"""The files of a model in a local folder: which of them determine its vectors, and their digests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from imagesim.embedders import hub
from imagesim.embedders.lite import file_digest
from imagesim.exceptions import EmbedderError

_IGNORED = (".md", ".lock")
"""The suffixes of files that are no part of a model."""


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

    :raises EmbedderError: if there is no model in the folder, or a file cannot be read.
    """
    if not (folder / hub.CONFIG).is_file():
        raise EmbedderError(f"The folder {str(folder)!r} has no {hub.CONFIG!r}, so it is not an open_clip model.")
    try:
        return {str(path.relative_to(folder)): file_digest(path) for path in folder_files(folder)}
    except OSError as error:
        raise EmbedderError(f"The model in {str(folder)!r} cannot be read: {error}.") from error


def _fail(error: OSError) -> None:
    raise error
