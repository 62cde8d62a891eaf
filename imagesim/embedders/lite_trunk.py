"""What the model in the box sees in a picture before its heads: shapes, textures and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

STAGES = 5
"""How many early stages are pooled: colour and texture live there, and are gone from the last one."""
STAGE_WIDTH = 16 + 24 + 40 + 80 + 112
THUMB = 32


def describe(trunk: Any, x: Tensor) -> dict[str, Tensor]:
    """Run the frozen trunk once and pool what the heads need, float32.

    :param x: float32 of shape (n, 3, height, width) in -1..1, channels last.
    :returns: ``pooled`` (n, 1280), the trunk's own feature; ``map`` (n, 320, h, w), its last stage before
        the head; ``salience`` (n, h, w) in 0..1, where the trunk sees something; ``stages`` and ``salient``
        (n, 272), the mean of the early stages over the picture and over the salient part of it; ``thumb``
        (n, 3, 32, 32), the picture itself, small.
    """
    early = []
    y = trunk.bn1(trunk.conv_stem(x.to(trunk.conv_stem.weight.dtype)))
    for number, stage in enumerate(trunk.blocks):
        y = stage(y)
        if number < STAGES:
            early.append(y)
    top = trunk.bn2(trunk.conv_head(y))
    salience = top.float().mean(1)
    low, high = salience.amin((1, 2), keepdim=True), salience.amax((1, 2), keepdim=True)
    salience = (salience - low) / (high - low).clamp_min(1e-6)
    means, salient = [], []
    for stage in early:
        weight = F.interpolate(salience[:, None], stage.shape[-2:], mode="bilinear", align_corners=False)
        weight = (weight / weight.sum((2, 3), keepdim=True).clamp_min(1e-6)).to(stage.dtype)
        means.append(stage.mean((2, 3)).float())
        salient.append((stage * weight).sum((2, 3), dtype=torch.float32))
    return {
        "pooled": top.mean((2, 3), dtype=torch.float32),
        "map": y,
        "salience": salience,
        "stages": torch.cat(means, 1),
        "salient": torch.cat(salient, 1),
        "thumb": F.adaptive_avg_pool2d(x.float(), THUMB),
    }
