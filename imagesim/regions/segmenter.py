"""The network of the built-in finder: the image tower of the built-in model, and a segmentation head.

The tower was trained with the head: its weights here are those of its package plus differences, which are stored with
the head.

Attention over the coarsest stage covers the whole photo. A light feature pyramid [1]_ of inverted depthwise-separable
blocks [2]_ returns to a quarter of the input's size. The probability that a label is in the photo at all (presence)
shifts its logit in every cell.

.. [1] Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.
.. [2] Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagesim.embedders.lite import file_digest, load_trunk, load_weights
from imagesim.embedders.precision import lower_precisions
from imagesim.embedders.reduced_precision import DTYPES, convert, fold_batch_norms
from imagesim.exceptions import EmbedderError
from imagesim.regions.boxes import WEIGHTS, Map, config

if TYPE_CHECKING:
    from PIL.Image import Image

HEAD, TRUNK = "head.", "trunk."
"""The prefixes, in the file of weights, of the tensors of the head and of what is added to those of the tower."""
STAGES = (1, 2, 3, 4)  # of the trunk, at strides 4, 8, 16 and 32
CHANNELS = (24, 40, 112, 320)


def to_tensor(image: Image) -> Tensor:
    """Convert a photo of :func:`resize` to float32 (1, 3, height, width) in 0..1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


class Segmenter:
    """The image tower and the head in memory, on the CPU. Thread-safe.

    The tower is a copy (14 MB) with its batch norms folded, a fifth faster than the embedder's.

    :param precision: ``fp32``, ``bf16`` or ``auto``: bf16 if the processor computes it natively.
    :raises EmbedderError: if the tower's package is missing or the weights are damaged.
    """

    def __init__(self, precision: str) -> None:
        if file_digest(WEIGHTS) != config()["checksum"]:
            raise EmbedderError(f"{WEIGHTS.name} is damaged: reinstall django-imagesim.")
        weights = load_weights(WEIGHTS)
        trunk: Any = load_trunk()
        trunk.conv_head = trunk.bn2 = trunk.classifier = torch.nn.Identity()
        for name, value in trunk.named_parameters():
            value += weights[TRUNK + name]
        self.trunk = fold_batch_norms(trunk)
        self.classes: list[str] = config()["classes"]
        head: Any = RegionHead(len(self.classes), len(config()["labels"]))
        own = {name.removeprefix(HEAD): value for name, value in weights.items() if name.startswith(HEAD)}
        head.load_state_dict(own, strict=False)
        self.limits: dict[str, float] = config()["limits"]
        self.head = fold_batch_norms(head.to(memory_format=torch.channels_last))
        if precision == "auto":
            precision = next(iter(lower_precisions(torch.device("cpu"))), "fp32")
        self.dtype = DTYPES[precision]
        if self.dtype != torch.float32:
            convert(self.trunk, self.dtype)
            convert(self.head, self.dtype)

    def predict(self, image: Image) -> tuple[Map, Map]:
        """Return the probabilities of a photo of :func:`resize` (classes, height, width) at a quarter of its size, and
        the presence (labels,)."""
        pixels = ((to_tensor(image) - 0.5) / 0.5).to(self.dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            logits, presence = self.head(*features(self.trunk, pixels))
            return logits[0].float().softmax(dim=0).numpy(), presence[0].float().sigmoid().numpy()


class Separable(nn.Module):
    """A residual block: depthwise 5 x 5, then twice the width and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, 2 * width, 1),
            nn.Hardswish(),
            nn.Conv2d(2 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.layers(x))


class Attention(nn.Module):
    """One pre-norm transformer block of four heads over the cells of a feature map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = 4
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm1(tokens)).reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        tokens = tokens + self.out(attended)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return cast(Tensor, tokens.transpose(1, 2).reshape(n, c, h, w))


class Presence(nn.Module):
    """Compute the logits (n, labels) of presence: one learned query per label attends to the feature map."""

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
    """Compute pixel logits (n, classes, h / 4, w / 4) and presence logits (n, labels) from features at strides 4 to 32.

    The first class is the ground; the next ``labels`` ones are the garments in order; the rest (skin, hair, other
    things worn) are context.
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
        coarse = self.in32(_with_position(s32))
        coarse = self.look(coarse + self.position(coarse))
        middle = self.mix16(self.in16(_with_position(s16)) + _upsampled(coarse, s16))
        fine = self.mix8(self.in8(_with_position(s8)) + _upsampled(self.down8(middle), s8))
        finest = self.mix4(self.in4(s4) + _upsampled(self.down4(fine), s4))
        logits = self.classify(self.drop(finest))
        presence = self.presence(middle, fine)
        labels = logits[:, 1 : 1 + self.labels] + self.push(presence)
        return torch.cat([logits[:, :1], labels, logits[:, 1 + self.labels :]], dim=1), presence

    def push(self, presence: Tensor) -> Tensor:
        """Return what the logits of presence add to those of each label's cells (n, labels, 1, 1)."""
        return (F.softplus(self.gate) * F.logsigmoid(presence))[:, :, None, None]


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish())


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _with_position(x: Tensor) -> Tensor:
    """Return the map with two more channels: the position of each cell, x and y in -1..1."""
    n, _, h, w = x.shape
    ys = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype).view(1, 1, h, 1).expand(n, 1, h, w)
    xs = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).view(1, 1, 1, w).expand(n, 1, h, w)
    return torch.cat([x, xs, ys], dim=1)


def features(trunk: Any, pixels: Tensor) -> list[Tensor]:
    """Return the stages of the image tower that the head uses; ``pixels`` is RGB scaled to -1..1, (n, 3, height,
    width)."""
    stages: list[Tensor] = trunk.forward_intermediates(pixels, indices=list(STAGES), intermediates_only=True)
    return stages
