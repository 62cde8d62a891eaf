"""Train the weights that ship, from the towers and a data folder: ``python -m training.lite --data DIR --out DIR``.

``--size base`` trains those of the larger size. Its figures are printed by :mod:`training.lite.sizes`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagesim.embedders.lite import SIZES
from imagesim.embedders.lite_model import CLASSES
from training.lite import captions, dataset, features, heads, table
from training.lite.dataset import Rows
from training.lite.pack import pack
from training.lite.recipes import RECIPES, Recipe
from training.lite.text import TextCache

PER_ROW = 2


def train(config: heads.Config, rows: Rows, texts: TextCache, log: Any = None) -> heads.Trainer:
    """Train heads for these rows, all of which are used."""
    owner = np.repeat(np.arange(len(rows)), PER_ROW)
    # The same picture has the same caption in every view, unless its colour was changed.
    drawn = [np.random.default_rng((int(rows.number[i]), k % PER_ROW)) for k, i in enumerate(owner)]
    pool = [captions.draw(rows.labels[i], rng) for i, rng in zip(owner, drawn, strict=True)]
    things, classes = heads.thing_texts()
    vectors = texts(things)
    names = np.array([": " not in one for one in things])
    class_vectors = np.stack([vectors[names & (classes == k)].mean(0) for k in range(CLASSES)])
    trainer = heads.Trainer(config, rows, pool, owner, texts([c.text for c in pool]), class_vectors, vectors, classes)
    trainer.train(log)
    return trainer


def measure(trainer: heads.Trainer, figures: table.Table, weights: tuple[float, float, float]) -> dict[str, float]:
    """Return the table of these heads with these weights of the components."""
    trainer.finish()
    trainer.heads.weights.copy_(torch.tensor(weights).sqrt())
    config = trainer.config
    start = config.shape + config.colour
    return figures(
        table.encoder(trainer.heads, trainer.class_weight, trainer.class_bias),
        table.embedder(trainer.text),
        slice(start, start + config.words),
    )


def late(rows: Rows) -> np.ndarray:
    """Return the pictures from 2015 on: another studio, other models, another ground than the rest of the fashion
    set."""
    return np.isin(rows.label("year"), ["2015", "2016", "2017", "2018"])


def phone(rows: Rows) -> np.ndarray:
    """Return the views that imitate a phone."""
    return np.char.find(rows.view, "phone") >= 0


def write(trainer: heads.Trainer, recipe: Recipe, out: Path) -> None:
    """Write the files of these heads that ship in the app."""
    config, state = trainer.config, trainer.finish()
    state["visual.trunk.heads.weights"] = torch.tensor(recipe.shares).sqrt()
    if recipe.unlike is not None:
        state["visual.trunk.heads.unlike_weights"] = torch.tensor(recipe.unlike).sqrt()
    sizes = {name: getattr(config, name) for name in ("shape", "colour", "words", "hidden")}
    if config.size != "lite":
        sizes |= {"stages": trainer.rows.seen["stages"].shape[1], "axes": config.axes}
    pack(state, sizes, config.text, out, SIZES[config.size])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with fashion/ and outfits/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features, weights and the table")
    parser.add_argument("--size", choices=sorted(RECIPES), default="lite", help="the size of the model")
    parser.add_argument("--without", choices=sorted(features.SOURCES), help="a source to train the larger size without")
    parser.add_argument("--seeds", type=int, default=3, help="number of trainings for the table")
    parser.add_argument("--hold-out", action="store_true", help="train without one kind of source as well, and compare")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--config", type=json.loads, default={}, help="JSON that overrides training.lite.heads.Config")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    began = time.time()

    def log(line: str) -> None:
        print(f"[{time.time() - began:6.0f} s] {line}", flush=True)

    recipe, folder = RECIPES[arguments.size], arguments.out / f"features-{arguments.size}"
    features.extract(arguments.data, folder, size=SIZES[arguments.size], most=recipe.most, log=log)
    rows = dataset.load(arguments.data, folder)
    log(f"{len(rows)} rows")
    texts = TextCache(arguments.out / "texts.npz")
    config = replace(recipe.config, **arguments.config)
    if arguments.size != "lite":
        if arguments.without:
            rows = rows.take(~np.char.startswith(rows.view, arguments.without))
        write(train(config, rows, texts, log), recipe, arguments.out)
        return
    texts(table.texts(rows))
    figures = table.Table(rows, texts.known)
    results: list[dict[str, float]] = []
    for seed in range(arguments.seeds):
        trainer = train(replace(config, seed=seed), rows.take(~rows.validation), texts, log)
        results.append(measure(trainer, figures, recipe.shares))
        log(f"seed {seed}: {json.dumps(results[-1])}")
        if seed == 0:
            write(trainer, recipe, arguments.out)
    held_out: dict[str, dict[str, dict[str, float]]] = {}
    for name, source in {"late": late, "phone": phone}.items() if arguments.hold_out else ():
        part = table.Table(rows, texts.known, late(rows) if name == "late" else None)
        learned = rows.take(~rows.validation)
        held_out[name] = {
            "seen": measure(trainer, part, recipe.shares),
            "not seen": measure(train(trainer.config, learned.take(~source(learned)), texts), part, recipe.shares),
        }
        log(f"without {name}: {json.dumps(held_out[name])}")
    mean = {name: float(np.mean([r[name] for r in results])) for name in results[0]}
    spread = {name: float(np.std([r[name] for r in results], ddof=1)) if len(results) > 1 else 0.0 for name in mean}
    found = {
        "config": asdict(config),
        "weights": recipe.shares,
        "seeds": results,
        "mean": mean,
        "deviation": spread,
        "held out": held_out,
    }
    (arguments.out / "table.json").write_text(json.dumps(found, indent=2) + "\n")
    for name in mean:
        print(f"{name:42s} {mean[name]:.3f} ± {spread[name]:.3f}")


if __name__ == "__main__":
    main()
