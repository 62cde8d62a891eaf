"""The thousand classes of the image tower, by name: ImageNet's synsets, from timm's metadata."""

from __future__ import annotations

from functools import cache

# ImageNet's own clothes: the fashion set has better names for them.
WORN = frozenset(
    """apron, backpack, bathing cap, bearskin, bikini, bolo tie, bonnet, bow tie, brassiere, buckle, cardigan, clog,
    cloak, clutch, Christmas stocking, cowboy boot, cowboy hat, diaper, feather boa, fur coat, gown, hoopskirt, jean,
    jersey, kimono, lab coat, Loafer, mailbag, maillot, miniskirt, mitten, necklace, overskirt, pajama, poncho, purse,
    running shoe, sandal, sarong, shower cap, sock, sombrero, stole, suit, sunglass, sunglasses, sweatshirt,
    swimming trunks, trench coat, vestment, wallet, Windsor tie, wig, wool, academic gown, abaya, digital watch,
    stopwatch, wooden spoon, velvet, hair spray, perfume, umbrella, mask, military uniform, breastplate, cuirass,
    bulletproof vest, pickelhaube, crash helmet, football helmet, handkerchief, bib, knee pad""".replace("\n", " ")
    .replace("    ", " ")
    .split(", ")
)


@cache
def names() -> list[list[str]]:
    """Return the names of each of the 1,000 classes, in the trunk's order, the most common first."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [info.label_name_to_description(synset, detailed=False).split(", ") for synset in info.label_names()]


@cache
def definitions() -> list[str]:
    """Return the dictionary definition of each class."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return [info.label_name_to_description(synset, detailed=True).partition(": ")[2] for synset in info.label_names()]


def worn() -> list[int]:
    """Return the classes that are clothes or are worn like them."""
    return [number for number, words in enumerate(names()) if any(word.strip() in WORN for word in words)]
