"""Print a table, trade by figure, for the plain trunk and the model of each size.

``python -m training.lite.sizes --data DATA --out OUT``; the table is also written to ``OUT/sizes.json``.

``--also NAME=FOLDER`` adds a column for other weights, such as weights trained without a trade
(``python -m training.lite --size base --without grocery``). ``--stamps FOLDER`` adds the figures of ``stamps.py``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imagesim.embedders import lite
from imagesim.embedders.lite_model import LiteHeads, TextParts
from training.lite import demo, stamps
from training.lite.heads import PREFIX
from training.lite.parts import Part, load
from training.lite.text import TextCache
from training.lite.trades import Figures, Vectors, show

PARTS = ("clothes", "phone", "street", "groceries", "groceries products")


class Weights:
    """Heads and a text projection, read from a file of weights."""

    def __init__(self, file: Path, classifier: Any) -> None:
        state = lite.load_weights(file)
        sizes = json.loads(file.with_suffix(".json").read_text())["sizes"]
        self.heads, self.classifier = LiteHeads(**sizes), classifier
        heads = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        self.heads.load_state_dict(heads)
        self.heads.eval()
        rows = state["text.proj.weight"]
        self.dims = sum(sizes[name] for name in lite.COMPONENTS)
        linear = nn.Linear(rows.shape[1], self.dims, bias=False)
        linear.load_state_dict({"weight": F.pad(rows, (0, 0, self.dims - len(rows), 0))})
        self.projection = TextParts(linear, self.heads) if self.heads.plain else linear

    def texts(self, cache: TextCache) -> Callable[[list[str]], np.ndarray]:
        def embed(texts: list[str]) -> np.ndarray:
            with torch.inference_mode():
                vectors: np.ndarray = self.projection(torch.from_numpy(cache(texts))).numpy()
            return vectors

        return embed

    def __call__(self, parts: dict[str, Part]) -> Vectors:
        """Return the vectors of all parts."""
        out: Vectors = {}
        for name, part in parts.items():
            with torch.inference_mode():
                vectors = F.normalize(self.heads(part.seen, self.classifier(part.seen["pooled"])), dim=1)
            out[name] = vectors.numpy(), vectors.numpy()
        return out

    def trunk(self, parts: dict[str, Part]) -> Vectors:
        """Return the trunk's feature, and its class probabilities times the vectors of the classes' names."""
        out: Vectors = {}
        for name, part in parts.items():
            with torch.inference_mode():
                guess = torch.softmax(self.classifier(part.seen["pooled"]), 1) @ self.heads.plain_classes
                words = F.pad(F.normalize(guess, dim=1), (self.dims - guess.shape[1], 0))
            out[name] = F.normalize(part.seen["pooled"], dim=1).numpy(), words.numpy()
        return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite.sizes", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with grocery/, fashion/ and outfits/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features")
    parser.add_argument("--pictures", type=int, default=1500, help="maximum number of pictures of each part")
    parser.add_argument("--also", action="append", default=[], help="NAME=FOLDER of other weights")
    parser.add_argument("--stamps", type=Path, help="the folder into which the package of stamps was unpacked")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    texts = TextCache(arguments.out / "texts.npz")
    table: dict[str, dict[str, float]] = {}
    for name, size in lite.SIZES.items():
        parts = load(arguments.data, arguments.out / f"parts-{name}", arguments.pictures, PARTS, size)
        parts["demo"] = demo.load(arguments.out / f"parts-{name}", size)
        if arguments.stamps:
            parts["stamps"] = stamps.load(arguments.stamps, arguments.out / f"parts-{name}", size)
        classifier = lite.load_trunk(size).classifier
        files = {name: lite.weights_path(size)}
        others = {key: Path(folder) / f"{name}.safetensors" for key, folder in (a.split("=") for a in arguments.also)}
        files |= {key: file for key, file in others.items() if file.exists()}
        for key, file in files.items():
            weights = Weights(file, classifier)
            figures = Figures(parts, weights.texts(texts))
            if key == name:
                table[f"trunk of {name}"] = figures(weights.trunk(parts), "groceries")
            table[key] = figures(weights(parts), "groceries")
    show(table)
    (arguments.out / "sizes.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
