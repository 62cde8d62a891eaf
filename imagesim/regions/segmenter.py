"""The image tower of the model in the box with the head that ships with the app: a photo -> what each cell holds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file

from imagesim.embedders.precision import lower_precisions
from imagesim.embedders.reduced_precision import DTYPES, lowered
from imagesim.embedders.towers import file_digest, load_trunk
from imagesim.exceptions import EmbedderError
from imagesim.regions.network import RegionHead, features, folded
from imagesim.regions.people import Map

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ASSETS = Path(__file__).parent / "assets"
WEIGHTS = ASSETS / "head.safetensors"
CONFIG = ASSETS / "head.json"

PIXELS = 512 * 352  # a photo is looked at with about so many
STEP = 32
WORN_SHARE = 0.02  # of an item on a plain ground is skin or hair: somebody wears it
LONGEST = 3.0  # a photo longer than this many times its width is squeezed


@cache
def config() -> dict[str, Any]:
    """What goes with the weights: the classes, what counts as sure, the checksum."""
    loaded: dict[str, Any] = json.loads(CONFIG.read_text())
    return loaded


def input_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which a photo of ``size`` is looked at: multiples of STEP, its shape nearly kept."""
    width, height = size
    aspect = min(LONGEST, max(1 / LONGEST, width / height))
    wide = max(STEP, round((PIXELS * aspect) ** 0.5 / STEP) * STEP)
    return wide, max(STEP, round(PIXELS / wide / STEP) * STEP)


def resized(image: Image) -> Image:
    """The photo at the size the network looks at."""
    return image.resize(input_size(image.size), Pillow.Resampling.BILINEAR, reducing_gap=1.25)


def tensor_of(image: Image) -> Tensor:
    """A photo that was ``resized`` as float32 (1, 3, height, width) in 0..1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


class Segmenter:
    """The two in memory, on the CPU; safe to use from several threads.

    The tower is a copy with its batch norms folded away, a fifth faster than the embedder's own and 14 MB large.

    :param precision: ``fp32``, ``bf16`` or ``auto``: bf16 where the processor computes in it natively.
    :raises EmbedderError: if the tower's package is missing or the head is damaged.
    """

    def __init__(self, precision: str = "auto") -> None:
        if file_digest(WEIGHTS) != config()["checksum"]:
            raise EmbedderError(f"{WEIGHTS.name} is damaged: install imagesim again.")
        trunk: Any = load_trunk()
        trunk.conv_head = trunk.bn2 = trunk.classifier = torch.nn.Identity()
        self.trunk = folded(trunk)
        self.classes: list[str] = config()["classes"]
        head: Any = RegionHead(len(self.classes), len(config()["labels"]))
        head.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()}, strict=False)
        self.limits: dict[str, float] = config()["limits"]
        self.head = folded(head.to(memory_format=torch.channels_last))
        if precision == "auto":
            precision = next(iter(lower_precisions(torch.device("cpu"))), "fp32")
        self.dtype = DTYPES[precision]
        if self.dtype != torch.float32:
            lowered(self.trunk, self.dtype)
            lowered(self.head, self.dtype)

    def is_worn(self, probabilities: Map, box: tuple[float, float, float, float]) -> bool:
        """Whether skin or hair is seen within the box."""
        _, height, width = probabilities.shape
        rows = slice(int(box[1] * height), int((box[1] + box[3]) * height) + 1)
        columns = slice(int(box[0] * width), int((box[0] + box[2]) * width) + 1)
        body = probabilities[[self.classes.index("skin"), self.classes.index("hair")]].sum(axis=0)[rows, columns]
        return float((body > 0.5).mean()) > WORN_SHARE

    def look(self, image: Image) -> tuple[Map, Map]:
        """A photo that was ``resized`` -> probabilities (classes, height, width) at a quarter of its size, and
        presence (labels,)."""
        pixels = ((tensor_of(image) - 0.5) / 0.5).to(self.dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            logits, presence = self.head(*features(self.trunk, pixels))
            return logits[0].float().softmax(dim=0).numpy(), presence[0].float().sigmoid().numpy()
