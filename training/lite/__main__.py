"""Train the shipped weights from the towers and a data folder: ``python -m training.lite --data DIR --out DIR``.

``--size base`` trains those of the larger size. :mod:`training.lite.sizes` prints their figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagesim.embedders.lite import SIZES, load_weights
from imagesim.embedders.lite_model import CLASSES
from training.lite import captions, dataset, features, heads, unlike
from training.lite.dataset import Rows
from training.lite.pack import pack
from training.lite.recipes import RECIPES, Recipe
from training.lite.text import TextCache

PER_ROW = 2


def train(
    config: heads.Config,
    rows: Rows,
    texts: TextCache,
    log: Any = None,
    start: Mapping[str, torch.Tensor] | None = None,
) -> heads.Trainer:
    """Train heads on all these rows, continuing from the weights ``start`` if given."""
    owner = np.repeat(np.arange(len(rows)), PER_ROW)
    # The same picture has the same caption in every view, unless its colour was changed.
    drawn = [np.random.default_rng((int(rows.number[i]), k % PER_ROW)) for k, i in enumerate(owner)]
    pool = [captions.draw(rows.labels[i], rng) for i, rng in zip(owner, drawn, strict=True)]
    things, classes = heads.thing_texts()
    vectors = texts(things)
    names = np.array([": " not in one for one in things])
    class_vectors = np.stack([vectors[names & (classes == k)].mean(0) for k in range(CLASSES)])
    trainer = heads.Trainer(
        config, rows, pool, owner, texts([c.text for c in pool]), class_vectors, vectors, classes, start
    )
    trainer.train(log)
    return trainer


def write(trainer: heads.Trainer, recipe: Recipe, texts: TextCache, out: Path) -> None:
    """Write the files for these heads that ship with the app."""
    config, state = trainer.config, trainer.finish()
    if config.plain:
        state = unlike.adapt(trainer, state, texts)
    state["visual.trunk.heads.weights"] = torch.tensor(recipe.shares).sqrt()
    state["visual.trunk.heads.unlike_weights"] = torch.tensor(recipe.unlike).sqrt()
    sizes = {name: getattr(config, name) for name in ("shape", "colour", "words", "hidden")}
    sizes |= {"stages": trainer.rows.seen["stages"].shape[1], "axes": config.axes, "plain": config.plain}
    pack(state, sizes, config.text, out, SIZES[config.size])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with fashion/, outfits/ and grocery/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features and weights")
    parser.add_argument("--size", choices=sorted(RECIPES), default="lite", help="the size of the model")
    parser.add_argument("--without", choices=sorted(features.SOURCES), help="a source to train without")
    parser.add_argument(
        "--start", type=Path, help="a file of weights from the stage before the last, to train only the last"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--config", type=json.loads, default={}, help="JSON that overrides the last training.lite.heads.Config"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("medium")  # products in bf16 where the processor has it, for speed
    began = time.time()

    def log(line: str) -> None:
        print(f"[{time.time() - began:6.0f} s] {line}", flush=True)

    recipe, texts = RECIPES[arguments.size], TextCache(arguments.out / "texts.npz")
    state = load_weights(arguments.start) if arguments.start else None
    for number, stage in enumerate(recipe.stages, 1):
        last = number == len(recipe.stages)
        if arguments.start and not last:
            continue
        folder = arguments.out / f"features-{arguments.size}" / f"{number}"
        features.extract(arguments.data, folder, size=SIZES[arguments.size], most=stage.most, log=log)
        rows = dataset.load(arguments.data, folder)
        rows = rows.take(~rows.validation)
        if arguments.without:
            rows = rows.take(~np.char.startswith(rows.view, arguments.without))
        log(f"stage {number}: {len(rows)} rows")
        config = replace(stage.config, **arguments.config) if last else stage.config
        trainer = train(config, rows, texts, log, state)
        state = trainer.finish()
    write(trainer, recipe, texts, arguments.out)


if __name__ == "__main__":
    main()
