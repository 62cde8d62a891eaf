"""How the weights of each size are trained: pictures, heads and shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.lite.features import ALL
from training.lite.heads import Config


@dataclass(frozen=True)
class Stage:
    """One training of the heads, which continues from the previous stage.

    :param most: see :func:`training.lite.features.extract`."""

    config: Config
    most: Mapping[str, int | None]


@dataclass(frozen=True)
class Recipe:
    """:param shares: the shares of shape, colour and words in the similarity of two pictures.
    :param unlike: the shares for pictures unlike the training pictures."""

    stages: Sequence[Stage]
    shares: tuple[float, float, float]
    unlike: tuple[float, float, float]


RECIPES = {
    "lite": Recipe(
        [
            Stage(Config(), ALL),
            Stage(
                Config(
                    epochs=6,
                    batch=256,
                    rate=3e-4,
                    things=128,
                    axes=64,
                    centre=0.4,
                    width=0.03,
                    correction=(0.4, 0.7),
                    plain=96,
                    keep=0.3,
                    seed=1,
                ),
                {
                    "fashion-clean": 2016,
                    "fashion-phone-1": 288,
                    "fashion-colour-1": 768,
                    "fashion-shop-1": 96,
                    "outfits-clean": 768,
                    "grocery-clean": 2640,
                    "grocery-shop-1": 480,
                },
            ),
        ],
        (0.2, 0.15, 0.65),
        unlike=(0.65, 0.15, 0.2),
    ),
    "base": Recipe(
        [
            Stage(
                Config(
                    size="base",
                    shape=384,
                    centred=False,
                    ridge=1.0,
                    hidden=1536,
                    members=2,
                    epochs=22,
                    batch=256,
                    rate=1.5e-3,
                    things=96,
                    pair_gender=True,
                    axes=64,
                    centre=0.4,
                    width=0.03,
                    correction=(0.1, 0.7),
                    plain=96,
                ),
                {
                    "fashion-clean": 7671,
                    "fashion-phone-1": 7671,
                    "fashion-colour-1": 6475,
                    "fashion-shop-1": 3000,
                    "outfits-clean": 2061,
                    "outfits-shop-1": 2061,
                    "grocery-clean": 2640,
                    "grocery-shop-1": 1000,
                },
            )
        ],
        (0.22, 0.12, 0.66),
        unlike=(0.65, 0.15, 0.2),
    ),
}
