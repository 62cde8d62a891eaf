"""The main colours of a product's picture, by name, measured from its pixels without the embedding model.

The names are the eleven basic colour terms of B. Berlin and P. Kay, *Basic Color Terms* (1969). A small network gives
each pixel, in CIE Lab, the probability of each name. As in J. van de Weijer et al., "Learning color names for
real-world applications" (IEEE TIP 18, 2009), it was trained on labels of whole pictures, not of pixels; and on the
colours of the xkcd colour survey (CC0) whose names end in one of the eleven. ``training/colours.py`` trains it,
``python -m benchmarks.colours`` measures it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.utils.translation import get_language, pgettext_lazy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    Array = npt.NDArray[np.float32]

RULE = 1
"""The version of the rule. Pictures measured by another one are measured again, by a reconcile or a rebuild."""

NAMES = {
    "black": pgettext_lazy("colour", "black"),
    "white": pgettext_lazy("colour", "white"),
    "grey": pgettext_lazy("colour", "grey"),
    "red": pgettext_lazy("colour", "red"),
    "orange": pgettext_lazy("colour", "orange"),
    "brown": pgettext_lazy("colour", "brown"),
    "yellow": pgettext_lazy("colour", "yellow"),
    "green": pgettext_lazy("colour", "green"),
    "blue": pgettext_lazy("colour", "blue"),
    "purple": pgettext_lazy("colour", "purple"),
    "pink": pgettext_lazy("colour", "pink"),
}
"""The colours, with their names in the active language."""

COLOURS = tuple(NAMES)


UNTRANSLATED = {
    "ar": "أسود أبيض رمادي أحمر برتقالي بني أصفر أخضر أزرق بنفسجي وردي",
    "cs": "černá bílá šedá červená oranžová hnědá žlutá zelená modrá fialová růžová",
    "da": "sort hvid grå rød orange brun gul grøn blå lilla lyserød",
    "el": "μαύρο λευκό γκρι κόκκινο πορτοκαλί καφέ κίτρινο πράσινο μπλε μωβ ροζ",
    "fi": "musta valkoinen harmaa punainen oranssi ruskea keltainen vihreä sininen violetti vaaleanpunainen",
    "he": "שחור לבן אפור אדום כתום חום צהוב ירוק כחול סגול ורוד",
    "hu": "fekete fehér szürke piros narancssárga barna sárga zöld kék lila rózsaszín",
    "ja": "黒 白 灰色 赤 橙色 茶色 黄色 緑 青 紫 桃色",
    "ko": "검정 흰색 회색 빨강 주황 갈색 노랑 초록 파랑 보라 분홍",
    "nb": "svart hvit grå rød oransje brun gul grønn blå lilla rosa",
    "ru": "чёрный белый серый красный оранжевый коричневый жёлтый зелёный синий фиолетовый розовый",
    "sv": "svart vit grå röd orange brun gul grön blå lila rosa",
    "tr": "siyah beyaz gri kırmızı turuncu kahverengi sarı yeşil mavi mor pembe",
    "zh": "黑色 白色 灰色 红色 橙色 棕色 黄色 绿色 蓝色 紫色 粉色",
}
"""The colours in the same order, in languages of texts into which the pages are not translated."""
UNTRANSLATED["no"] = UNTRANSLATED["nb"]


def words_for(colour: str) -> tuple[str, ...]:
    """Return what a colour is called in the active language: its name, and another spelling of it; the text itself if
    it is not one of :data:`COLOURS`."""
    known = colour.lower()
    name = str(NAMES.get(known, colour))
    written = UNTRANSLATED.get((get_language() or "").partition("-")[0])
    if written and name == known in NAMES:
        return (written.split()[COLOURS.index(known)],)
    return (name, "gray") if name == "grey" else (name,)


MAIN_SHARE = 0.5
"""The minimum share of the product for a main colour."""

PLAIN_SHARE = 0.85
"""The minimum share of the border of the picture that has the colour of its ground: in front of anything else, the
product cannot be told from what is around it, and no colour is named."""

SIDE = 64
"""Pixels of the sides of the reduced picture that is measured."""

SPREAD = 0.25
"""Standard deviation of the weight around the product's centre, in sides of its box: hair, trousers and shoes of a
person who wears it are at the rim."""

SAME_GROUND = 3.0
"""Difference in Lab (CIE 1976) up to which a pixel that touches the ground belongs to it."""

PLAIN_GROUND = 6.0
"""Difference in Lab (CIE 1976) up to which a pixel of the border counts as of the same ground."""

WEIGHTS = Path(__file__).parent / "assets" / "colours.json"


def measure(image: Image) -> tuple[str, ...]:
    """Return the names of the main colours of the product on an RGB image, the largest first; empty if no colour
    prevails, or if the ground is not plain."""
    shares = share_of_names(image)
    return tuple(sorted((name for name in COLOURS if shares[name] >= MAIN_SHARE), key=lambda name: -shares[name]))


def share_of_names(image: Image) -> dict[str, float]:
    """Return the share of each of :data:`COLOURS` in the product on an RGB image; they sum to 1, or are all 0 if there
    is no plain ground, or nothing on it."""
    import numpy as np
    from PIL.Image import Resampling

    pixels = lab(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Resampling.BOX), dtype=np.float32))
    weights = product_weights(pixels)
    named = np.bincount(_classify(pixels.reshape(-1, 3)), weights=weights.ravel(), minlength=len(COLOURS))
    total = float(weights.sum())
    return {name: float(share) / total if total else 0.0 for name, share in zip(COLOURS, named, strict=True)}


def lab(rgb: Array) -> Array:
    """Convert sRGB in 0..255 to CIE Lab (D65), both of shape (..., 3)."""
    import numpy as np

    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4339, 0.2126, 0.0177], [0.3762, 0.7152, 0.1095], [0.1899, 0.0722, 0.8728]])
    xyz = linear @ matrix
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    converted: Array = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1).astype(np.float32)
    return converted


def product_weights(pixels: Array) -> Array:
    """Return the weight of each pixel: 0 on the ground, which joins the border of the picture and has its median
    colour, and elsewhere more towards the centre of the product. All 0 if the ground is not plain.

    :param pixels: Lab, of shape (height, width, 3).
    """
    import numpy as np

    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, axis=0)
    product = ~_joined_to_border(((pixels - ground) ** 2).sum(-1) < SAME_GROUND**2)
    rows, columns = np.flatnonzero(product.any(1)), np.flatnonzero(product.any(0))
    if not len(rows) or (((border - ground) ** 2).sum(-1) < PLAIN_GROUND**2).mean() < PLAIN_SHARE:
        return np.zeros(product.shape, np.float32)
    y = (np.arange(product.shape[0]) + 0.5 - rows[0]) / (rows[-1] + 1 - rows[0]) - 0.5
    x = (np.arange(product.shape[1]) + 0.5 - columns[0]) / (columns[-1] + 1 - columns[0]) - 0.5
    weights: Array = product * np.exp(-(y[:, None] ** 2 + x**2) / (2 * SPREAD**2))
    return weights


def _joined_to_border(where: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels of ``where`` that are connected with the border of the picture within it."""
    import numpy as np

    found = np.zeros_like(where)
    found[[0, -1]], found[:, [0, -1]] = where[[0, -1]], where[:, [0, -1]]
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= where
        if (grown == found).all():
            return found
        found = grown


def _classify(pixels: Array) -> npt.NDArray[np.intp]:
    """Return the number of the most probable name of each pixel, for Lab of shape (n, 3)."""
    import numpy as np

    first, second, last = _layers()
    hidden = np.tanh((pixels - (50, 0, 0)) / (50, 40, 40) @ first[0] + first[1])
    scores: Array = np.tanh(hidden @ second[0] + second[1]) @ last[0] + last[1]
    numbers: npt.NDArray[np.intp] = scores.argmax(1)
    return numbers


@cache
def _layers() -> list[tuple[Array, Array]]:
    """Return the weights and the bias of each layer of the network."""
    import numpy as np

    layers = json.loads(WEIGHTS.read_text("utf-8"))["layers"]
    return [(np.array(each["weight"], np.float32).T, np.array(each["bias"], np.float32)) for each in layers]
