"""Fetch the files of a model from the hub once, and verify their checksums.

open_clip could fetch them by itself, but it asks the hub at every start, takes the newest version, falls back to
another file if one cannot be fetched, and verifies no checksum. This module uses the files in the cache folder without
asking the hub, so that the weights behind an index do not change between two starts. The hub's own client resumes a
download when the connection breaks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from imagesim.embedders import lite
from imagesim.exceptions import EmbedderError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""The files that tokenizers can consist of; no tokenizer has all of them."""
TEXT_CONFIG = "config.json"
"""The configuration file of a text tower from transformers."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def configuration(repository: str, revision: str | None, cache_dir: Path | None) -> Path:
    """Return open_clip's configuration of a model, fetched if the cache folder lacks it.

    :raises EmbedderError: if it cannot be fetched.
    """
    return fetch(repository, (CONFIG,), revision, cache_dir)


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
    path.unlink(missing_ok=True)  # another process that has found it is faster
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
