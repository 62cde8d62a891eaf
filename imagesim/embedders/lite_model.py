"""The image tower of the built-in model, as timm (and therefore open_clip) creates it.

A vector has three components, each of unit length before it is weighted:

* ``shape``, the feature of the frozen trunk, whitened and reduced, and in ``lite`` centred;
* ``colour``, a soft histogram of CIE Lab over the salient part of the picture, and a learned estimate of the colour
  from the early stages that depends less on light and background;
* ``words``, in two parts: the trunk's probabilities of a thousand ImageNet classes times the vectors of their names
  (ConSE, https://arxiv.org/abs/1312.5650) in a learned projection of the text tower, with a learned correction; and the
  same in a plain projection, for pictures unlike those that the heads were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from imagesim.embedders import lite
from imagesim.embedders.lite import BASE, LITE, Size
from imagesim.embedders.process import import_torchvision
from imagesim.embedders.reduced_precision import DTYPES, convert, fold_batch_norms

import_torchvision()  # timm imports it
from timm.models import create_model, register_model  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = 1000
WIDTH = 1280
STAGES = 5
"""The number of early stages that are pooled: they retain colour and texture, which the last stage does not."""
THUMB = 32


def describe(trunk: Any, x: Tensor) -> dict[str, Tensor]:
    """Run the frozen trunk once and pool what the heads need, float32.

    :param x: float32 of shape (n, 3, height, width) in -1..1, channels last.
    :returns: ``pooled`` (n, 1280), the feature of the trunk; ``map`` (n, channels, h, w), its last stage before
    the head; ``salience`` (n, h, w) in 0..1, the trunk's mean activation; ``stages`` and ``salient``
    (n, 272 with Lite0 and 296 with Lite2), the mean of the early stages over the picture and over the salient part of
    it; ``thumb`` (n, 3, 32, 32), the picture itself, reduced.
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


def lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in 0..1 to CIE Lab (D65), both of shape (..., 3)."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = rgb.new_tensor([[0.4339, 0.2126, 0.0177], [0.3762, 0.7152, 0.1095], [0.1899, 0.0722, 0.8728]])
    xyz = linear @ matrix
    f = torch.where(xyz > 0.008856, xyz.clamp_min(1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


class Likeness(nn.Module):
    """Estimate how much a picture is like those that the heads were trained on, 0 to 1.

    A logistic function of the share of its feature's squared distance from the training mean that lies along the
    principal directions of the training features: a one-class model (reconstruction error of a PCA), which needs no
    pictures of other trades.

    :param axes: the number of directions.
    """

    axes: Tensor
    centre: Tensor
    width: Tensor

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.register_buffer("axes", torch.zeros(axes, WIDTH))
        self.register_buffer("centre", torch.tensor(0.5))
        self.register_buffer("width", torch.ones(()))

    def share(self, centred: Tensor) -> Tensor:
        """Return the share along the directions: (n, 1280) -> (n, 1)."""
        along = (centred @ self.axes.T).square().sum(1, keepdim=True)
        return along / centred.square().sum(1, keepdim=True).clamp_min(1e-6)

    def forward(self, centred: Tensor) -> Tensor:
        return torch.sigmoid((self.share(centred) - self.centre) / self.width)


class LiteHeads(nn.Module):
    """The heads that compute a vector from the features of the trunk.

    :param shape, colour, words: the number of dimensions of each component.
    :param hidden: the width of the correction's hidden layer.
    :param stages: the number of channels of the early stages together.
    :param axes: the number of directions of :class:`Likeness`, which sets the correction and the weights of the
        components for each picture; with 0, they are the same for all.
    :param plain: the dimensions of ``words`` that hold the plain part, which needs ``axes``.
    """

    palette: Tensor
    colour_mean: Tensor
    mean: Tensor
    scale: Tensor
    classes: Tensor
    weights: Tensor
    temperature: Tensor
    tint_share: Tensor
    correction: Tensor
    unlike_weights: Tensor
    plain_classes: Tensor
    plain_limit: Tensor
    plain_share: Tensor
    text_shares: Tensor
    text_colour: Tensor

    def __init__(
        self, shape: int, colour: int, words: int, hidden: int, stages: int = 272, axes: int = 0, plain: int = 0
    ) -> None:
        super().__init__()
        learned = words - plain
        bins = colour // 2
        inputs = WIDTH + 2 * stages + bins
        self.shape = nn.Linear(WIDTH, shape)
        self.register_buffer("palette", torch.zeros(bins, 3))
        self.register_buffer("colour_mean", torch.zeros(bins))
        self.tint = nn.Sequential(
            nn.Linear(2 * stages + bins, hidden // 4), nn.GELU(), nn.Linear(hidden // 4, colour - bins)
        )
        self.register_buffer("tint_share", torch.tensor(0.5))
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("classes", torch.zeros(CLASSES, learned))
        self.mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, learned))
        self.register_buffer("weights", torch.ones(3))
        self.register_buffer("temperature", torch.ones(()))
        self.likeness = Likeness(axes) if axes else None
        if axes:  # of pictures unlike the training pictures, and of pictures like them
            self.register_buffer("correction", torch.ones(2))
            self.register_buffer("unlike_weights", torch.ones(3))
        self.plain = plain
        if plain:
            self.register_buffer("plain_classes", torch.zeros(CLASSES, plain))
            # The likeness from which the plain part is empty, and the share of that part if there is no likeness.
            self.register_buffer("plain_limit", torch.ones(()))
            self.register_buffer("plain_share", torch.ones(()))
            self.register_buffer("text_shares", torch.ones(2))  # see TextParts
            self.register_buffer("text_colour", torch.ones(2))

    def histogram(self, thumb: Tensor, salience: Tensor) -> Tensor:
        """Return the share of each colour of the palette in the salient part: (n, 3, h, w) in -1..1 -> (n, colours)."""
        pixels = lab((thumb / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)).flatten(1, 2)
        weight = F.interpolate(salience[:, None], thumb.shape[-2:], mode="bilinear", align_corners=False)
        weight = weight.flatten(1) + 0.02
        near = torch.cdist(pixels, self.palette.expand(pixels.shape[0], -1, -1)) ** 2
        soft = torch.softmax(-near / (2 * 8.0**2), -1)
        return torch.einsum("np,npc->nc", weight / weight.sum(1, keepdim=True), soft)

    def trust(self, pooled: Tensor) -> tuple[Tensor | float, Tensor | float, Tensor]:
        """Return the factor of the correction and the share of the plain part of ``words``, (n, 1) each, and the
        weights of the components, (n, 3); or one for all.

        :param pooled: the features of pictures, (n, 1280).
        """
        if self.likeness is None:
            return 1.0, 0.0, self.weights[None]
        like = self.likeness(pooled - self.mean[:WIDTH])
        least, most = self.correction
        plain = self.plain_share * (1 - like / self.plain_limit).clamp(min=0) if self.plain else 0.0
        weights = torch.lerp(self.unlike_weights.square(), self.weights.square(), like).sqrt()
        return least + (most - least) * like, plain, weights

    def colour_part(self, histogram: Tensor, inputs: Tensor) -> Tensor:
        """Return the colour component, (n, colour), of unit length.

        :param histogram: the square roots of :meth:`histogram`.
        :param inputs: the standardised input of the learned layers.
        """
        measured = F.normalize(histogram - self.colour_mean, dim=1) * (1 - self.tint_share).sqrt()
        learned = F.normalize(self.tint(inputs[:, WIDTH:]), dim=1) * self.tint_share.sqrt()
        return torch.cat([measured, learned], 1)

    def forward(self, seen: dict[str, Tensor], logits: Tensor) -> Tensor:
        pooled = seen["pooled"]
        histogram = self.histogram(seen["thumb"], seen["salience"]).clamp_min(0).sqrt()
        inputs = torch.cat([pooled, seen["stages"], seen["salient"], histogram], 1)
        inputs = (inputs - self.mean) * self.scale
        guess = torch.softmax(logits / self.temperature, 1)
        factor, plain, weights = self.trust(pooled)
        words = guess @ self.classes + self.mlp(inputs) * factor
        if isinstance(plain, torch.Tensor):
            learned = F.normalize(words, dim=1) * (1 - plain).sqrt()
            words = torch.cat([learned, F.normalize(guess @ self.plain_classes, dim=1) * plain.sqrt()], 1)
        shape = self.shape(pooled)
        colour = self.colour_part(histogram, inputs)
        parts = zip((shape, colour, words), weights.unbind(1), strict=True)
        return torch.cat([F.normalize(part, dim=1) * weight[:, None] for part, weight in parts], 1)


class TextParts(nn.Module):
    """The projection of the text tower, with the parts of a text's vector brought to their lengths.

    The learned and the plain part of ``words`` have the same shares in every text, because a text does not say which
    pictures it will be compared with. The ``colour`` of a text that names none is short, and becomes zero.

    :param heads: those of the image tower.
    """

    shares: Tensor
    colour: Tensor

    def __init__(self, projection: nn.Module, heads: LiteHeads) -> None:
        super().__init__()
        self.projection = projection
        colour, learned = heads.colour_mean.shape[0] * 2, heads.classes.shape[1]
        self.sizes = [heads.shape.out_features, colour, learned, heads.plain]
        self.register_buffer("shares", heads.text_shares.clone())
        self.register_buffer("colour", heads.text_colour.clone())

    def forward(self, pooled: Tensor) -> Tensor:
        shape, colour, learned, plain = self.projection(pooled).split(self.sizes, 1)
        least, factor = self.colour.unbind()
        more, rest = self.shares.sqrt().unbind()
        length = colour.norm(dim=1, keepdim=True)
        colour = colour * (factor * (1 - least / length.clamp_min(1e-6)).clamp_min(0))
        return torch.cat([shape, colour, F.normalize(learned, dim=1) * more, F.normalize(plain, dim=1) * rest], 1)


class LiteTower(nn.Module):
    """The frozen trunk and the heads; its input is the output of open_clip's preprocessing, in -1..1."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.trunk: Any = create_model(size.trunk, pretrained=False)
        self.heads = LiteHeads(**lite.sizes(size))
        self.num_features = lite.dims(size)

    def lower(self, precision: str) -> None:
        """Convert the trunk to ``bf16`` or ``fp16``; the heads and the classifier are small and stay in fp32."""
        fold_batch_norms(self.trunk)
        if precision != "fp32":
            convert(self.trunk, DTYPES[precision])
            self.trunk.classifier.float()

    def forward(self, x: Tensor) -> Tensor:
        seen = describe(self.trunk, x)
        vector: Tensor = self.heads(seen, self.trunk.classifier(seen["pooled"]))
        return vector


@register_model
def imagesim_lite(pretrained: bool = False, **kwargs: Any) -> LiteTower:
    """Create the model, as the entry point for timm; the sizes of the heads are those of the weights in the app."""
    return LiteTower(LITE)


@register_model
def imagesim_base(pretrained: bool = False, **kwargs: Any) -> LiteTower:
    """Create the larger size, as the entry point for timm."""
    return LiteTower(BASE)
