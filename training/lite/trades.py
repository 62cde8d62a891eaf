"""The figures of every trade: clothes, street photos, groceries, and the other things of the demo shop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.lite import captions, evaluate
from training.lite.parts import Part

BASIC = ("Black", "White", "Grey", "Blue", "Red", "Green", "Yellow", "Pink", "Purple", "Orange", "Brown", "Beige")

Vectors = dict[str, tuple[np.ndarray, np.ndarray]]
"""For each part, the vectors of its pictures, and what is compared with the vectors of words."""


class Figures:
    """The figures of every trade for the vectors of all parts."""

    def __init__(self, parts: dict[str, Part], embed: Callable[[list[str]], np.ndarray]) -> None:
        """:param embed: converts texts to vectors that are compared with the words component of pictures."""
        self.parts, self.embed = parts, embed
        self.known: dict[str, np.ndarray] = {}

    def texts(self, wordings: list[list[str]]) -> np.ndarray:
        unknown = sorted({text for some in wordings for text in some} - set(self.known))
        if unknown:
            self.known.update(zip(unknown, self.embed(unknown), strict=True))
        return _unit(np.stack([np.mean([self.known[text] for text in some], axis=0) for some in wordings]))

    def __call__(self, vectors: Vectors, groceries: str) -> dict[str, float]:
        """:param groceries: which part of the groceries to report."""
        out: dict[str, float] = {}
        for trade, part in (("clothes", "clothes"), ("street", "street"), ("groceries", groceries)):
            self._alone(out, trade, self.parts[part], *vectors[part])
        self._clothes(out, vectors)
        queries, gallery = self.parts[groceries], self.parts["groceries products"]
        nearest = (vectors[groceries][0] @ vectors["groceries products"][0].T).argmax(1)
        for label in ("product", "type"):
            right = gallery.labels[label][nearest] == queries.labels[label]
            out[f"groceries: photo to product, {label} first"] = float(right.mean())
        everything = [self.parts["clothes"], self.parts[groceries]]
        whole, only = (np.concatenate([vectors[part][side] for part in ("clothes", groceries)]) for side in (0, 1))
        kinds = np.concatenate([part.labels["type"] for part in everything])
        foods = np.unique(everything[1].labels["type"])
        named = self.texts([captions.evaluation_texts(kind) for kind in foods])
        out["both in one shop: similar, type"] = evaluate.image_to_image(whole, kinds)
        out["both in one shop: words, type of groceries"] = evaluate.text_to_image(named, foods, only, kinds, 3)
        for trade in ("demo", "stamps"):
            if trade in self.parts:
                self._few(out, trade, *vectors[trade])
        return out

    def _few(self, out: dict[str, float], trade: str, whole: np.ndarray, only: np.ndarray) -> None:
        """Add the figures of pictures of which few are of the same type."""
        labels = self.parts[trade].labels
        types = np.unique(labels["type"])
        named = self.texts([captions.evaluation_texts(kind) for kind in types])
        out[f"{trade}: zero-shot type"] = evaluate.zero_shot(named, only, np.searchsorted(types, labels["type"]))[0]
        out[f"{trade}: words, type"] = evaluate.r_precision(named @ only.T, types[:, None] == labels["type"])
        if "colour" in labels:
            colours = np.unique(labels["colour"])
            named = self.texts([[colour] for colour in colours])
            of_colour = colours[:, None] == labels["colour"]
            out[f"{trade}: words, colour"] = evaluate.r_precision(named @ only.T, of_colour)
        for label in ("type", "category"):
            scores = whole @ whole.T
            np.fill_diagonal(scores, -np.inf)
            same = labels[label][:, None] == labels[label]
            out[f"{trade}: similar, {label}"] = evaluate.r_precision(scores, same)

    def _alone(self, out: dict[str, float], trade: str, part: Part, whole: np.ndarray, only: np.ndarray) -> None:
        kinds = part.labels["type"]
        types = np.unique(kinds)
        named = self.texts([captions.evaluation_texts(kind) for kind in types])
        out[f"{trade}: similar, type"] = evaluate.image_to_image(whole, kinds)
        if trade == "groceries":
            out[f"{trade}: similar, product"] = evaluate.image_to_image(whole, part.labels["product"])
        out[f"{trade}: zero-shot type"] = evaluate.zero_shot(named, only, np.searchsorted(types, kinds))[0]
        out[f"{trade}: words, type"] = evaluate.text_to_image(named, types, only, kinds, 3)

    def _clothes(self, out: dict[str, float], vectors: Vectors) -> None:
        part, (whole, only) = self.parts["clothes"], vectors["clothes"]
        kinds, both = part.labels["type"], part.label("type", "colour")
        pairs = np.unique(both)
        asked = self.texts([captions.evaluation_texts(*pair.split("|"))[:1] for pair in pairs])
        out["clothes: similar, type and colour"] = evaluate.image_to_image(whole, both)
        out["clothes: similar, category and gender"] = evaluate.image_to_image(whole, part.label("category", "gender"))
        out["clothes: words, type and colour"] = evaluate.text_to_image(asked, pairs, only, both, 3)
        ok = np.isin(part.labels["colour"], BASIC)
        target = np.array([BASIC.index(colour) for colour in part.labels["colour"][ok]])
        colours = self.texts([captions.evaluation_texts("item", colour) for colour in BASIC])
        out["clothes: colour word"] = evaluate.zero_shot(colours, only[ok], target)[1]
        phone = vectors["phone"][0]
        out["clothes: photo to product, type"] = evaluate.image_to_image(whole, kinds, phone)
        out["clothes: photo to product, first"] = float(((phone @ whole.T).argmax(1) == np.arange(len(phone))).mean())
        garments = self.parts["street"].labels["type"]
        match = np.array([[kind in captions.SAME.get(garment, ()) for kind in kinds] for garment in garments], bool)
        known = match.any(1)
        out["street: photo to product, type"] = evaluate.precision(
            (vectors["street"][0] @ whole.T)[known], match[known]
        )


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def show(table: dict[str, dict[str, float]]) -> None:
    print(f"{'':46}" + "".join(f"{name:>16}" for name in table))
    for figure in next(iter(table.values())):
        print(f"{figure:46}" + "".join(f"{column[figure]:16.3f}" for column in table.values()), flush=True)
