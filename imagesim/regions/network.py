"""The segmentation head of the built-in finder, on the frozen multi-scale features of the image tower.

Attention over the coarsest stage sees the whole photo at once, a light feature pyramid [1]_ of inverted
depthwise-separable blocks [2]_ brings it back to a quarter of the input, and what the photo as a whole seems to hold
(presence) moves every pixel's choice, so that a dress is not half a top.

.. [1] Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.
.. [2] Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagesim.embedders.reduced_precision import folded

__all__ = ["RegionHead", "features", "folded"]

STAGES = (1, 2, 3, 4)  # of the trunk, at strides 4, 8, 16 and 32
CHANNELS = (24, 40, 112, 320)


class Separable(nn.Module):
    """A residual block: depthwise 5 x 5, then twice the width and back."""

    def __init__(self, width: int, *, expansion: int = 2, kernel: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width * expansion, 1),
            nn.Hardswish(),
            nn.Conv2d(width * expansion, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.layers(x))


class Attention(nn.Module):
    """One pre-norm transformer block over the cells of a feature map."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(tokens)).reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        tokens = tokens + self.out(seen)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return cast(Tensor, tokens.transpose(1, 2).reshape(n, c, h, w))


class Presence(nn.Module):
    """Logits of shape (n, labels) of what the photo holds: one learned query a label looks over the feature map."""

    def __init__(self, width: int, fine: int, labels: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(labels, width) * width**-0.5)
        self.answers = nn.Parameter(torch.randn(labels, width) * width**-0.5)
        self.bias = nn.Parameter(torch.full((labels,), -1.0))
        self.fine = nn.Linear(fine, labels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        cells = coarse.flatten(2)
        weights = (self.queries @ cells).softmax(dim=-1)  # (n, labels, cells)
        pooled = weights @ cells.transpose(1, 2)
        return (pooled * self.answers).sum(-1) + self.bias + cast(Tensor, self.fine(fine.amax(dim=(2, 3))))


class RegionHead(nn.Module):
    """Features at strides 4, 8, 16, 32 -> pixel logits (n, classes, h / 4, w / 4) and presence logits (n, labels).

    The first class is the ground; the next ``labels`` ones are the garments in order; the rest (skin, hair, other
    things worn) only give context.
    """

    def __init__(
        self,
        classes: int,
        labels: int,
        *,
        channels: Sequence[int] = CHANNELS,
        width: int = 128,
        fine: int = 96,
        finest: int = 48,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.in32 = _conv(channels[3] + 2, width)
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.look = Attention(width)
        self.in16 = _conv(channels[2] + 2, width)
        self.mix16 = nn.Sequential(Separable(width), Separable(width))
        self.down8 = nn.Conv2d(width, fine, 1)
        self.in8 = _conv(channels[1] + 2, fine)
        self.mix8 = nn.Sequential(Separable(fine), Separable(fine))
        self.down4 = nn.Conv2d(fine, finest, 1)
        self.in4 = _conv(channels[0], finest)
        self.mix4 = nn.Sequential(Separable(finest), Separable(finest))
        self.drop = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(finest, classes, 1)
        self.presence = Presence(width, fine, labels)
        self.gate = nn.Parameter(torch.zeros(labels))

    def forward(self, s4: Tensor, s8: Tensor, s16: Tensor, s32: Tensor) -> tuple[Tensor, Tensor]:
        coarse = self.in32(_placed(s32))
        coarse = self.look(coarse + self.position(coarse))
        middle = self.mix16(self.in16(_placed(s16)) + _resized(coarse, s16))
        fine = self.mix8(self.in8(_placed(s8)) + _resized(self.down8(middle), s8))
        finest = self.mix4(self.in4(s4) + _resized(self.down4(fine), s4))
        logits = self.classify(self.drop(finest))
        presence = self.presence(middle, fine)
        push = F.softplus(self.gate) * F.logsigmoid(presence)
        labels = logits[:, 1 : 1 + self.labels] + push[:, :, None, None]
        return torch.cat([logits[:, :1], labels, logits[:, 1 + self.labels :]], dim=1), presence


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish())


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _placed(x: Tensor) -> Tensor:
    """The map with where each cell lies, x and y in -1..1, as two channels more."""
    n, _, h, w = x.shape
    ys = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype).view(1, 1, h, 1).expand(n, 1, h, w)
    xs = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).view(1, 1, 1, w).expand(n, 1, h, w)
    return torch.cat([x, xs, ys], dim=1)


def features(trunk: Any, pixels: Tensor) -> list[Tensor]:
    """The stages of the image tower that the head reads; ``pixels`` is RGB scaled to -1..1, (n, 3, height, width)."""
    stages: list[Tensor] = trunk.forward_intermediates(pixels, indices=list(STAGES), intermediates_only=True)
    return stages
