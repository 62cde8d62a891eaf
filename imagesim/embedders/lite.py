"""The built-in model: assembled once in the user's cache folder from two packages and the app's own weights.

The result is an ordinary open_clip model, loaded with ``local-dir:`` like any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from imagesim.embedders import towers
from imagesim.embedders.towers import file_digest
from imagesim.exceptions import EmbedderError

NAME = "imagesim-lite"
ASSETS = Path(__file__).parent / "assets"
WEIGHTS = ASSETS / "lite.safetensors"
CONFIG = ASSETS / "lite.json"
COMPONENTS = ("shape", "colour", "words")

_TOKENIZER = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_MANIFEST = "imagesim.json"


@cache
def config() -> dict[str, Any]:
    """The description of the app's own weights: sizes, checksums, text projection."""
    loaded: dict[str, Any] = json.loads(CONFIG.read_text())
    return loaded


def sizes() -> dict[str, int]:
    """The sizes of the heads."""
    return dict(config()["sizes"])


def components() -> Mapping[str, slice]:
    """The slice of each part of a vector."""
    slices, start = {}, 0
    for name in COMPONENTS:
        slices[name] = slice(start, start + sizes()[name])
        start = slices[name].stop
    return slices


def dims() -> int:
    """The length of a vector."""
    return sum(sizes()[name] for name in COMPONENTS)


@cache
def digest() -> str:
    """A digest of all that determines the vectors: our weights, the towers, and how they are combined."""
    known = json.dumps([config(), open_clip_config()], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()


def cache_folder() -> Path:
    """The folder ``imagesim`` in this user's cache folder."""
    if "XDG_CACHE_HOME" in os.environ:
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path.home() / ".cache"
    return base / "imagesim"


def folder(cache_dir: Path | None = None) -> Path:
    """The folder with the assembled model, assembled now if it is missing or damaged.

    Safe with several processes at once: each assembles in a folder of its own, and the first to finish is kept.

    :raises EmbedderError: if a package is missing or another version, or the folder cannot be written.
    """
    parent = cache_dir or cache_folder()
    target = parent / f"{NAME}-{digest()[:16]}"
    if intact(target):
        return target
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=parent, ignore_cleanup_errors=True) as scratch:
            built = Path(scratch) / "new"
            built.mkdir()
            _assemble(built)
            if target.exists() and not intact(target):
                target.rename(Path(scratch) / "damaged")
            try:
                built.rename(target)
            except OSError:
                if not intact(target):  # else another process was first
                    raise
    except OSError as error:
        raise EmbedderError(
            f"The built-in model cannot be put into {str(parent)!r} ({error}): "
            "name a writable folder with the embedder's option 'cache_dir'."
        ) from error
    return target


def intact(target: Path) -> bool:
    """Whether every file of the model is there, unchanged."""
    try:
        manifest = json.loads((target / _MANIFEST).read_text())
        return all(file_digest(target / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _assemble(target: Path) -> None:
    from safetensors.torch import load_file, save_file

    expected = config()
    text = towers.text_path()
    _expect(towers.trunk_path(), expected["trunk_sha256"])
    _expect(text / "model.safetensors", expected["text_sha256"])
    _expect(WEIGHTS, expected["checksum"])

    state = {f"visual.trunk.trunk.{name}": value for name, value in towers.trunk_state_dict().items()}
    for name, value in load_file(text / "model.safetensors").items():
        if not name.startswith("pooler.") and name != "embeddings.position_ids":
            state[f"text.transformer.{name}"] = value
    state |= {name: value.float() for name, value in load_file(WEIGHTS).items()}
    save_file({name: value.contiguous() for name, value in state.items()}, target / "open_clip_model.safetensors")
    for name in _TOKENIZER:
        shutil.copyfile(text / name, target / name)
    (target / "open_clip_config.json").write_text(json.dumps(open_clip_config(), indent=2))
    manifest = {path.name: file_digest(path) for path in sorted(target.iterdir())}
    (target / _MANIFEST).write_text(json.dumps(manifest, indent=2))


def open_clip_config() -> dict[str, Any]:
    """The model's configuration for open_clip. The text tower's name is replaced by the folder on loading."""
    return {
        "model_cfg": {
            "embed_dim": dims(),
            "vision_cfg": {
                "image_size": towers.IMAGE_SIZE,
                "timm_model_name": "imagesim_lite",
                "timm_pool": "",
                "timm_proj": "none",
            },
            "text_cfg": {
                "hf_model_name": "sentence-transformers/all-MiniLM-L6-v2",
                "hf_tokenizer_name": "sentence-transformers/all-MiniLM-L6-v2",
                "hf_proj_type": config()["text_projection"],
                "hf_pooler_type": "mean_pooler",
                "context_length": 64,
            },
            "custom_text": True,
        },
        "preprocess_cfg": {
            "mean": towers.MEAN,
            "std": towers.STD,
            "interpolation": "bicubic",
            "resize_mode": "longest",
            "fill_color": 255,
        },
    }


def _expect(path: Path, digest: str) -> None:
    if file_digest(path) != digest:
        raise EmbedderError(
            f"{path.name!r} is not the file that the built-in model was made with: "
            "reinstall with pip install --force-reinstall 'imagesim[lite]'."
        )
