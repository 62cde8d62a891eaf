"""How the weights of each size are trained: which pictures, which heads, which shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.lite.features import ALL
from training.lite.heads import Config


@dataclass(frozen=True)
class Recipe:
    """:param shares: of shape, colour and words in the similarity of two pictures.
    :param unlike: the shares for pictures unlike the training pictures, for heads with ``axes``.
    :param most: see :func:`training.lite.features.extract`."""

    config: Config
    shares: tuple[float, float, float]
    most: Mapping[str, int | None]
    unlike: tuple[float, float, float] | None = None


RECIPES = {
    "lite": Recipe(Config(), (0.2, 0.15, 0.65), ALL),
    # A third of the views of lite; with all of them, words about clothes should gain most.
    "base": Recipe(
        Config(
            size="base",
            shape=384,
            whitened=False,
            hidden=480,
            epochs=20,
            batch=256,
            rate=2e-3,
            things=96,
            pair_gender=True,
            axes=64,
            centre=0.36,
            width=0.03,
            correction=(0.1, 0.7),
        ),
        (0.3, 0.12, 0.58),
        {"fashion-clean": 4500, "fashion-phone-1": 1800, "outfits-clean": 1500, "grocery-clean": 2640},
        unlike=(0.65, 0.25, 0.1),
    ),
}
