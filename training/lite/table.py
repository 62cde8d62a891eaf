"""Every figure of the model card, on the validation part and on substitutes for other sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from training.lite import captions, evaluate
from training.lite.dataset import Rows

BASIC = ("Black", "White", "Grey", "Blue", "Red", "Green", "Yellow", "Pink", "Purple", "Orange", "Brown", "Beige")


def texts(rows: Rows) -> list[str]:
    """Return every text that the figures need for these rows, so that each is embedded once."""
    asked: set[str] = set()
    for kind in {*captions.TYPES, *rows.label("articleType")}:
        asked.update(captions.evaluation_texts(str(kind)))
    for colour in captions.COLOURS:
        asked.update(captions.evaluation_texts("item", colour))
    for pair in np.unique(rows.take(rows.validation).label("articleType", "baseColour")):
        asked.update(captions.evaluation_texts(*pair.split("|"))[:1])
    return sorted(asked)


class Table:
    """Computes the figures; ``embed`` converts texts to the words component, ``encode`` rows to weighted vectors."""

    def __init__(self, rows: Rows, known: dict[str, np.ndarray], reported: np.ndarray | None = None) -> None:
        """:param reported: the rows of the validation part to report; all of it by default."""
        self.rows, self.known = rows, known
        kinds = rows.label("articleType")
        fashion = np.char.startswith(rows.view, "fashion")
        everything = kinds[rows.view == "fashion-clean"]
        self.types = evaluate.common(list(everything))
        held = rows.validation & (~fashion | np.isin(kinds, self.types))
        if reported is not None:
            held &= reported
        self.parts = {view: rows.take(held & (rows.view == view)) for view in np.unique(rows.view)}

    def __call__(self, encode: Any, embed: Any, words: slice) -> dict[str, float]:
        vectors = {view: encode(part) for view, part in self.parts.items() if len(part)}
        out: dict[str, float] = {}
        clean, base = self.parts["fashion-clean"], vectors["fashion-clean"]
        kinds = clean.label("articleType")
        both = clean.label("articleType", "baseColour")
        out["image-image type"] = evaluate.image_to_image(base, kinds)
        out["image-image type+colour"] = evaluate.image_to_image(base, both)
        only = {view: _unit(vector[:, words]) for view, vector in vectors.items()}
        wanted = np.unique(both)
        asked = self.ask(embed, [captions.evaluation_texts(*w.split("|"))[:1] for w in wanted])
        out["text-image colour+type"] = evaluate.text_to_image(asked, wanted, only["fashion-clean"], both, 1)
        out["text-image colour+type, 3 or more"] = evaluate.text_to_image(asked, wanted, only["fashion-clean"], both, 3)
        named = self.ask(embed, [captions.evaluation_texts(kind) for kind in self.types])
        index = np.searchsorted(self.types, kinds)
        out["zero-shot type"], out["zero-shot type, mean of types"] = evaluate.zero_shot(
            named, only["fashion-clean"], index
        )
        for view in ("fashion-phone-1", "fashion-shop-1"):
            if view not in vectors:
                continue
            short = view.split("-")[1]
            out[f"{short}->clean type"] = evaluate.image_to_image(base, kinds, vectors[view])
            out[f"{short}->clean type+colour"] = evaluate.image_to_image(base, both, vectors[view])
            out[f"{short} within type"] = evaluate.image_to_image(vectors[view], kinds)
            same = (vectors[view] @ base.T).argmax(1) == np.arange(len(base))
            out[f"{short}->clean same item"] = float(same.mean())
            out[f"{short} zero-shot type"] = evaluate.zero_shot(named, only[view], index)[0]
        colours = self.ask(embed, [captions.evaluation_texts("item", colour) for colour in BASIC])
        for view in only:
            if view.startswith("fashion"):
                labels = self.parts[view].label("baseColour")
                ok = np.isin(labels, BASIC)
                target = np.array([BASIC.index(c) for c in labels[ok]])
                out[f"{view} colour word"] = evaluate.zero_shot(colours, only[view][ok], target)[1]
        street, street_vectors = self.parts.get("outfits-clean"), vectors.get("outfits-clean")
        if street is not None and street_vectors is not None:
            garments = street.label("articleType")
            match = np.array([[k in captions.SAME.get(g, ()) for k in kinds] for g in garments], bool)
            asked_rows = match.any(1)
            out["street->shop type"] = evaluate.precision((street_vectors @ base.T)[asked_rows], match[asked_rows])
            out["street within type"] = evaluate.image_to_image(street_vectors, garments)
            here = [g for g in np.unique(garments) if g in captions.TYPES]
            named = self.ask(embed, [captions.evaluation_texts(g) for g in here])
            ok = np.isin(garments, here)
            out["street zero-shot type"] = evaluate.zero_shot(
                named, only["outfits-clean"][ok], np.searchsorted(here, garments[ok])
            )[0]
        return out

    def ask(self, embed: Any, wordings: list[list[str]]) -> np.ndarray:
        return np.stack([_unit(embed(np.stack([self.known[t] for t in some])).mean(0)) for some in wordings])


def encoder(heads: Any, class_weight: torch.Tensor, class_bias: torch.Tensor) -> Any:
    """Return a function that converts rows to vectors, with these heads."""

    def encode(rows: Rows) -> np.ndarray:
        out = []
        with torch.inference_mode():
            for i in range(0, len(rows), 512):
                seen = {name: value[i : i + 512].float() for name, value in rows.seen.items()}
                out.append(heads(seen, seen["pooled"] @ class_weight.T + class_bias))
        return torch.cat(out).numpy()

    return encode


def embedder(text: Any) -> Any:
    """Return a function that converts MiniLM vectors to unit rows of the words component, with this projection."""

    def embed(vectors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return F.normalize(text(torch.from_numpy(vectors)), dim=1).numpy()

    return embed


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
