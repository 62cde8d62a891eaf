"""Print a table, trade by figure, for the plain trunk and for the model: ``python -m training.lite.trades --data DATA
--out OUT``.

The model should not be worse than its trunk in any trade. The trades are clothes and street photos, which it was
trained on (their validation part is used here), and groceries, which it was not. The column ``trunk`` is the trunk's
feature as it comes, and for words its class probabilities times the vectors of the classes' names.

In the column ``weights`` a shop has weighted the components (:data:`WEIGHED`). The others are for a gate that the model
in the app does not have (:class:`Gate`); in the last two it has not seen one of the trades. ``--choose`` prints the
table for other settings of it, with the ``train`` part of the groceries, so that the ``val`` and ``test`` parts stay
for the report.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from imagesim.embedders import lite
from imagesim.embedders.lite_model import WIDTH, LiteHeads
from imagesim.embedders.openclip import OpenClipEmbedder
from training.lite import captions, evaluate
from training.lite.parts import Part, load

BASIC = ("Black", "White", "Grey", "Blue", "Red", "Green", "Yellow", "Pink", "Purple", "Orange", "Brown", "Beige")
TRAINED_ON = ("clothes", "phone", "street")
PREFIX = "visual.trunk.heads."

Vectors = dict[str, tuple[np.ndarray, np.ndarray]]
"""For each part: the vectors of its pictures, and what is compared with the vectors of words."""


@dataclass(frozen=True)
class Gate:
    """Settings that depend on how much a picture is like those that the heads were trained on.

    The likeness is a logistic function, of this centre and width, of the share of a feature's squared distance from
    the training mean that lies along the principal directions of the training features: a one-class model, which needs
    no pictures of other trades. Each pair is for a likeness of 0 and of 1, and interpolated between them.
    """

    shares: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.65, 0.2, 0.15), (0.2, 0.15, 0.65))
    correction: tuple[float, float] = (0.3, 0.7)
    centre: float = 0.42
    width: float = 0.03
    directions: int = 64
    parts: tuple[str, ...] = TRAINED_ON
    """The parts that the directions are computed from, each with the same weight."""


SHIPPED = Gate(shares=((0.2, 0.15, 0.65),) * 2, correction=(1.0, 1.0))
"""What the model in the app does: the same for every picture."""

WEIGHED = replace(SHIPPED, shares=((0.6, 0.15, 0.1625),) * 2)
"""The model in the app with the option ``weights={"shape": 3, "words": 0.25}``, for queries with pictures."""


def shipped_heads() -> LiteHeads:
    """Return the heads with the weights in the app."""
    state = {
        k.removeprefix(PREFIX): v.float() for k, v in load_file(lite.weights_path()).items() if k.startswith(PREFIX)
    }
    heads = LiteHeads(**lite.sizes())
    heads.load_state_dict(state)
    return heads.eval()


class Model:
    """The heads in the app with other settings."""

    def __init__(self, parts: dict[str, Part], heads: LiteHeads, classifier: Any) -> None:
        self.parts, self.mean = parts, heads.mean[:WIDTH]
        self.learned = {name: parts[f"{name} learned"].seen["pooled"] - self.mean for name in TRAINED_ON}
        self.pieces: dict[str, list[torch.Tensor]] = {}
        self.axes: dict[tuple[str, ...], torch.Tensor] = {}
        slices = [lite.components()[name] for name in ("shape", "colour")]
        with torch.inference_mode():
            for name, part in parts.items():
                seen = part.seen
                histogram = heads.histogram(seen["thumb"], seen["salience"]).clamp_min(0).sqrt()
                inputs = torch.cat([seen["pooled"], seen["stages"], seen["salient"], histogram], 1)
                logits = classifier(seen["pooled"])
                vectors = heads(seen, logits)
                shape, colour = (F.normalize(vectors[:, each], dim=1) for each in slices)
                guess = torch.softmax(logits / heads.temperature, 1) @ heads.classes
                self.pieces[name] = [shape, colour, guess, heads.mlp((inputs - heads.mean) * heads.scale)]

    def likeness(self, name: str, gate: Gate) -> torch.Tensor:
        """Return how much the pictures of a part are like the training data: (n, 1), 0..1."""
        if gate.parts not in self.axes:
            moment = sum(self.learned[each].T @ self.learned[each] / len(self.learned[each]) for each in gate.parts)
            self.axes[gate.parts] = torch.linalg.eigh(moment)[1]
        centred = self.parts[name].seen["pooled"] - self.mean
        along = (centred @ self.axes[gate.parts][:, -gate.directions :]).square().sum(1, keepdim=True)
        share = along / centred.square().sum(1, keepdim=True)
        return torch.sigmoid((share - gate.centre) / gate.width)

    def __call__(self, gate: Gate) -> Vectors:
        out = {}
        for name, (shape, colour, guess, correction) in self.pieces.items():
            likeness = self.likeness(name, gate)
            words = guess + _between(gate.correction, likeness) * correction
            weights = _between(gate.shares, likeness).sqrt().split(1, dim=1)
            each = [F.normalize(x, dim=1) * w for x, w in zip((shape, colour, words), weights, strict=True)]
            out[name] = torch.cat(each, 1).numpy(), each[2].numpy()
        return out

    def trunk(self) -> Vectors:
        """Return the trunk's feature, and its class probabilities times the vectors of the classes' names."""
        return {
            name: (F.normalize(self.parts[name].seen["pooled"], dim=1).numpy(), F.normalize(guess, dim=1).numpy())
            for name, (_, _, guess, _) in self.pieces.items()
        }


class Figures:
    """The figures of every trade for the vectors of all parts."""

    def __init__(self, parts: dict[str, Part], embed: Callable[[list[str]], np.ndarray]) -> None:
        """:param embed: converts texts to what is compared with the words component of pictures."""
        self.parts, self.embed = parts, embed
        self.known: dict[str, np.ndarray] = {}

    def texts(self, wordings: list[list[str]]) -> np.ndarray:
        unknown = sorted({text for some in wordings for text in some} - set(self.known))
        if unknown:
            self.known.update(zip(unknown, self.embed(unknown), strict=True))
        return _unit(np.stack([np.mean([self.known[text] for text in some], axis=0) for some in wordings]))

    def __call__(self, vectors: Vectors, groceries: str) -> dict[str, float]:
        """:param groceries: the part of the groceries to report."""
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
        return out

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


def choices() -> dict[str, Gate]:
    """Return the settings to compare: what applies to other pictures first, then where the gate stands."""
    gate = Gate()
    like = gate.shares[1]
    out = {f"no gate, {scale}": replace(SHIPPED, correction=(scale, scale)) for scale in (0.3, 0.5, 0.7)}
    for shares in ((0.5, 0.2, 0.3), (0.6, 0.25, 0.15), (0.6, 0.3, 0.1), (0.75, 0.15, 0.1), (0.85, 0.15, 0.0)):
        out["/".join(f"{100 * share:.0f}" for share in shares)] = replace(gate, shares=(shares, like))
    for scale in (0.0, 0.1, 0.2, 0.5):
        out[f"other {scale}"] = replace(gate, correction=(scale, gate.correction[1]))
    for scale in (0.5, 1.0):
        out[f"like {scale}"] = replace(gate, correction=(gate.correction[0], scale))
    for centre, width in ((0.37, 0.03), (0.47, 0.03), (0.42, 0.02), (0.42, 0.05)):
        out[f"{centre} {width}"] = replace(gate, centre=centre, width=width)
    return out


def _between(ends: Sequence[Any], where: torch.Tensor) -> torch.Tensor:
    first, last = (torch.tensor(end) for end in ends)
    return first + (last - first) * where


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite.trades", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with grocery/, fashion/ and outfits/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features")
    parser.add_argument("--pictures", type=int, default=1500, help="maximum number of pictures of each part")
    parser.add_argument("--choose", action="store_true", help="compare settings of the gate as well")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parts = load(arguments.data, arguments.out, arguments.pictures)
    trunk: Any = lite.load_trunk()
    embedder = OpenClipEmbedder(precision="fp32")
    words = embedder.components["words"]
    model = Model(parts, shipped_heads(), trunk.classifier)
    figures = Figures(parts, lambda texts: embedder.embed_texts(texts)[:, words])
    for name in (*TRAINED_ON, "groceries", "groceries products"):
        spread = np.percentile(model.likeness(name, Gate()).numpy(), (5, 50, 95))
        print(f"likeness, {name} (5, 50, 95 %): " + ", ".join(f"{value:.2f}" for value in spread))
    columns = {
        "trunk": model.trunk(),
        "model": model(SHIPPED),
        "weights": model(WEIGHED),
        "gate": model(Gate()),
        "without street": model(Gate(parts=("clothes", "phone"))),
        "without clothes": model(Gate(parts=("street",))),
    }
    show({name: figures(vectors, "groceries") for name, vectors in columns.items()})
    if arguments.choose:
        table = {name: figures(columns[name], "groceries learned") for name in ("trunk", "gate")}
        for name, gate in choices().items():
            table[name] = figures(model(gate), "groceries learned")
        show(table)


def show(table: dict[str, dict[str, float]]) -> None:
    print(f"{'':46}" + "".join(f"{name:>16}" for name in table))
    for figure in next(iter(table.values())):
        print(f"{figure:46}" + "".join(f"{column[figure]:16.3f}" for column in table.values()), flush=True)


if __name__ == "__main__":
    main()
