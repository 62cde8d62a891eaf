"""The files of a model: fetch them from the hub once, and find out which of them determine its vectors, whether they
are whole, and their digests.

open_clip could fetch them by itself, but it asks the hub at every start, takes the newest version, falls back to
another file if one cannot be fetched, and verifies no checksum. This module uses the files in the cache folder without
asking the hub, so that the weights behind an index do not change between two starts. The hub's own client resumes a
download when the connection breaks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from imagesim.embedders import lite
from imagesim.exceptions import EmbedderError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pth")
"""Those that open_clip looks for in a folder."""
TEXT_CONFIG = "config.json"
"""The configuration file of a text tower from transformers."""

_TOKENIZER = "tokenizer.json"
_VOCABULARY = ("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model")
"""What a tokenizer without ``tokenizer.json`` consists of; none has all of them."""
_TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

_SHA256 = re.compile(r"[0-9a-f]{64}")

_IGNORED = (".md", ".lock")
"""The suffixes of files that are not part of a model."""

MAX_HEADER_BYTES = 100_000_000
"""The limit of the format safetensors."""

_LFS_POINTER = b"version https://git-lfs"


def cached_configuration(repository: str, revision: str | None, cache_dir: Path | None) -> Path | None:
    """Return open_clip's configuration of a model if it is in the cache folder, otherwise None. The hub is not
    asked."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(repository, CONFIG, cache_dir=cache_dir, revision=revision)
    return Path(found) if isinstance(found, str) else None


def fetch(repository: str, names: Sequence[str], revision: str | None, cache_dir: Path | None) -> Path:
    """Return the path of the first of the files ``names`` that the repository has; fetch it if necessary.

    :raises EmbedderError: if it has none of them, if it cannot be fetched, or if a file differs from its checksum.
    """
    for name in names:
        path = _fetch(repository, name, revision, cache_dir)
        if path is not None:
            return path
    raise EmbedderError(f"The repository {repository!r} has no file {' or '.join(map(repr, names))}.")


def fetch_tokenizer(repository: str, revision: str | None, cache_dir: Path | None) -> Path | None:
    """Return the folder of a repository's tokenizer, fetched if necessary; None if it has none. All files are those
    of one commit.

    :raises EmbedderError: if a file cannot be fetched or differs from its checksum.
    """
    tries = (_fetch(repository, name, revision, cache_dir) for name in (_TOKENIZER, *_VOCABULARY))
    first = next(filter(None, tries), None)
    if first is None:
        return None
    folder = first.parent
    fetch_all(repository, _TOKENIZER_SETTINGS, folder.name, cache_dir)
    if first.name != _TOKENIZER:
        fetch_all(repository, _VOCABULARY, folder.name, cache_dir)
    if not _names_its_class(folder / _TOKENIZER_SETTINGS[0]):
        fetch_all(repository, (TEXT_CONFIG,), folder.name, cache_dir)
    return folder


def _names_its_class(settings: Path) -> bool:
    """Return whether the settings of a tokenizer name its class. Otherwise, it depends on the text tower's."""
    try:
        return "tokenizer_class" in json.loads(settings.read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def fetch_all(repository: str, names: Sequence[str], revision: str | None, cache_dir: Path | None) -> None:
    """Fetch those of the files ``names`` that the repository has.

    :raises EmbedderError: if one cannot be fetched or differs from its checksum.
    """
    for name in names:
        _fetch(repository, name, revision, cache_dir)


def _fetch(repository: str, name: str, revision: str | None, cache_dir: Path | None) -> Path | None:
    """Return the path of a file in the cache folder, fetched if necessary; None if the repository does not have it.

    :raises EmbedderError: if it cannot be fetched or differs from its checksum.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    found = try_to_load_from_cache(repository, name, cache_dir=cache_dir, revision=revision)
    if found is not None and not isinstance(found, str):
        return None  # known to be missing
    try:
        path = Path(found or hf_hub_download(repository, name, revision=revision, cache_dir=cache_dir))
    except RemoteEntryNotFoundError:
        return None
    except Exception as error:
        raise EmbedderError(_explain(repository, name, revision, error)) from error
    _verify(path)
    return path


def _verify(path: Path) -> None:
    """Compare a file with its checksum, by which the hub's cache names large files; remove it if they differ.

    :raises EmbedderError: if they differ.
    """
    blob = path.resolve()
    if not _SHA256.fullmatch(blob.name):
        return  # a small file, or a file system without links
    digest = lite.file_digest(blob)
    if digest == blob.name:
        return
    path.unlink(missing_ok=True)  # another process that has found it may be faster
    blob.unlink(missing_ok=True)
    raise EmbedderError(
        f"The file {path.name!r} was removed, because it is not the one that the hub announced: its SHA-256 is "
        f"{digest}, not {blob.name}. The next start fetches it again."
    )


def _explain(repository: str, name: str, revision: str | None, error: Exception) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    kinds = {type(each).__name__ for each in causes}
    if "GatedRepoError" in kinds:
        return f"The repository {repository!r} asks for its terms to be accepted: do so there, and set HF_TOKEN."
    if "RepositoryNotFoundError" in kinds:
        return f"The hub has no repository {repository!r}, or it is private: correct the name, or set HF_TOKEN."
    if "RevisionNotFoundError" in kinds:
        return f"The repository {repository!r} has no commit {revision!r}."
    if kinds & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"}:
        return (
            f"{repository!r} could not be fetched: the model hub cannot be reached from here. Fetch it where there is "
            "a network and set 'cache_dir' to that cache or 'model' to 'local-dir:PATH', "
            f"or use {lite.NAME!r}, which needs none."
        )
    return f"{name!r} of {repository!r} could not be fetched whole ({error}); the next start tries it again."


# Files on this machine.


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


def folder_problem(folder: Path) -> str:
    """Return why open_clip finds no model in a folder, as a predicate; empty if it finds one."""
    try:
        if not folder.is_dir():
            return "does not exist"
        if not (folder / CONFIG).is_file():
            return f"has no {CONFIG!r}"
        if not any(path.suffix in _WEIGHTS_SUFFIXES and path.is_file() for path in folder.iterdir()):
            return "has no file of weights"
    except OSError as error:
        return f"cannot be read ({error})"
    return ""


def folder_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, by its path in the folder.

    :raises EmbedderError: if a file cannot be read or is not whole.
    """
    try:
        return {path.relative_to(folder).as_posix(): weights_digest(path) for path in folder_files(folder)}
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
    :raises EmbedderError: if it is a file of weights and not whole.
    """
    problem = weights_problem(path)
    if problem:
        raise EmbedderError(problem)
    return lite.file_digest(path)


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
