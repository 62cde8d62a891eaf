"""Choose the scale of the learned correction of ``words``: ``python -m training.lite.correction --data DATA --out
OUT``.

The correction is trained on clothes. Its scale is chosen on groceries, which are not in its training data (their
``train`` part), and reported on parts that neither the training nor the choice has used: groceries' ``val`` and
``test``, clothes and garments in street photos whose number is a multiple of 5.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from imagesim.embedders import lite, lite_model
from imagesim.embedders.openclip import OpenClipEmbedder
from training.lite import captions, evaluate, features

SCALES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
BASIC = ("Black", "White", "Grey", "Blue", "Red", "Green", "Yellow", "Pink", "Purple", "Orange", "Brown", "Beige")


@dataclass
class Part:
    """Pictures of one trade: the input of the heads, and labels by name."""

    seen: dict[str, torch.Tensor]
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.seen["pooled"])


def pictures(data: Path, most: int) -> dict[str, list[tuple[features.Picture, dict[str, str]]]]:
    """Return at most ``most`` pictures of each part, chosen at random."""
    with (data / "grocery" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, list[tuple[features.Picture, dict[str, str]]]] = {}
    for row in rows:
        name = "grocery products" if row["kind"] == "product" else f"grocery {row['split']}"
        path = data / "grocery" / "images" / f"{row['id']}.jpg"
        labels = {"type": row["coarse"].replace("-", " "), "product": row["product"]}
        parts.setdefault(name, []).append((features.Picture("grocery", 0, path, row), labels))
    for name, source in (("clothes", features.fashion(data)), ("street", features.outfits(data))):
        for picture in source:
            if picture.validation:
                labels = {"type": picture.labels["articleType"], "colour": picture.labels.get("baseColour", "")}
                parts.setdefault(name, []).append((picture, labels))
    rng = np.random.default_rng(0)
    return {name: [part[i] for i in rng.permutation(len(part))[:most]] for name, part in parts.items()}


def describe(part: list[tuple[features.Picture, dict[str, str]]], file: Path, trunk: Any) -> Part:
    """Return the input of the heads for these pictures, computed once and stored in ``file``."""
    if not file.exists():
        batches: list[dict[str, torch.Tensor]] = []
        for start in range(0, len(part), features.BATCH):
            images = [features.load(picture) for picture, _ in part[start : start + features.BATCH]]
            pixels = np.stack([np.asarray(image, np.float32) for image in images])
            x = torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                batches.append({k: v for k, v in lite_model.describe(trunk, x).items() if k != "map"})
        torch.save({name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}, file)
    labels = {name: np.array([each[name] for _, each in part]) for name in part[0][1]}
    return Part(torch.load(file), labels)


def shipped_heads() -> lite_model.LiteHeads:
    """Return the heads with the weights in the app."""
    prefix = "visual.trunk.heads."
    state = {k.removeprefix(prefix): v.float() for k, v in load_file(lite.WEIGHTS).items() if k.startswith(prefix)}
    heads = lite_model.LiteHeads(**lite.sizes())
    heads.load_state_dict(state)
    return heads.eval()


class Figures:
    """The figures of every part for one scale of the correction."""

    def __init__(self, parts: dict[str, Part], classifier: Any, embedder: OpenClipEmbedder) -> None:
        self.parts, self.classifier, self.embedder = parts, classifier, embedder
        self.words = embedder.components["words"]
        self.known: dict[str, np.ndarray] = {}

    def vectors(self, heads: lite_model.LiteHeads, part: Part) -> np.ndarray:
        with torch.inference_mode():
            return heads(part.seen, self.classifier(part.seen["pooled"])).numpy()  # type: ignore[no-any-return]

    def texts(self, wordings: list[list[str]]) -> np.ndarray:
        unknown = sorted({text for some in wordings for text in some} - set(self.known))
        self.known.update(zip(unknown, self.embedder.embed_texts(unknown)[:, self.words], strict=True))
        return _unit(np.stack([np.mean([self.known[text] for text in some], axis=0) for some in wordings]))

    def __call__(self, heads: lite_model.LiteHeads) -> dict[str, float]:
        out: dict[str, float] = {}
        vectors = {name: self.vectors(heads, part) for name, part in self.parts.items()}
        for name, part in self.parts.items():
            if name == "grocery products":
                continue
            whole, only, kinds = vectors[name], _unit(vectors[name][:, self.words]), part.labels["type"]
            types = np.unique(kinds)
            named = self.texts([captions.evaluation_texts(kind) for kind in types])
            out[f"{name}: similar, type"] = evaluate.image_to_image(whole, kinds)
            out[f"{name}: zero-shot type"] = evaluate.zero_shot(named, only, np.searchsorted(types, kinds))[0]
            out[f"{name}: words, type"] = evaluate.text_to_image(named, types, only, kinds, 3)
            if "product" in part.labels:
                products = self.parts["grocery products"].labels["product"]
                right = products[(whole @ vectors["grocery products"].T).argmax(1)] == part.labels["product"]
                out[f"{name}: photo to product, first"] = float(right.mean())
            if name == "clothes":
                both = np.char.add(np.char.add(kinds, "|"), part.labels["colour"])
                pairs = np.unique(both)
                asked = self.texts([captions.evaluation_texts(*pair.split("|"))[:1] for pair in pairs])
                out["clothes: similar, type and colour"] = evaluate.image_to_image(whole, both)
                out["clothes: words, type and colour"] = evaluate.text_to_image(asked, pairs, only, both, 3)
                ok = np.isin(part.labels["colour"], BASIC)
                target = np.array([BASIC.index(colour) for colour in part.labels["colour"][ok]])
                colours = self.texts([captions.evaluation_texts("item", colour) for colour in BASIC])
                out["clothes: colour word"] = evaluate.zero_shot(colours, only[ok], target)[1]
        return out


def scaled(heads: lite_model.LiteHeads, scale: float) -> lite_model.LiteHeads:
    """Return the shipped heads with the correction multiplied by ``scale``."""
    other = shipped_heads()
    with torch.no_grad():
        last, first = other.mlp[2], heads.mlp[2]
        last.weight.copy_(first.weight * scale)
        last.bias.copy_(first.bias * scale)
    return other


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite.correction", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with grocery/, fashion/ and outfits/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features")
    parser.add_argument("--pictures", type=int, default=1000, help="maximum number of pictures of each part")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    trunk: Any = lite.load_trunk()
    parts = {}
    for name, part in pictures(arguments.data, arguments.pictures).items():
        parts[name] = describe(part, arguments.out / f"{name.replace(' ', '-')}-{len(part)}.pt", trunk)
        print(f"{name}: {len(part)} pictures", flush=True)
    figures = Figures(parts, trunk.classifier, OpenClipEmbedder(precision="fp32"))
    heads = shipped_heads()
    table = []
    for scale in SCALES:
        table.append(figures(scaled(heads, scale)))
        print(f"{scale}: {table[-1]}", flush=True)
    print(f"{'':42s}" + "".join(f"{scale:7.2f}" for scale in SCALES))
    for name in table[0]:
        print(f"{name:42s}" + "".join(f"{row[name]:7.3f}" for row in table))


if __name__ == "__main__":
    main()
