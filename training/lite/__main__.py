"""Train the weights that ship, from the towers and a data folder: ``python -m training.lite --data DIR --out DIR``."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagesim.embedders.lite_model import CLASSES
from training.lite import captions, dataset, features, heads, table, text
from training.lite.dataset import Rows
from training.lite.pack import pack

PER_ROW = 2
WEIGHTS = (0.2, 0.15, 0.65)  # shares of shape, colour and words in the similarity of two pictures


class TextCache:
    """The text tower's output for every text so far, on disk: it never changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as file:
                self.known = dict(zip(file["texts"].tolist(), file["vectors"], strict=True))

    def __call__(self, texts: list[str]) -> np.ndarray:
        missing = sorted(set(texts) - self.known.keys())
        if missing:
            self.known.update(zip(missing, text.embed(missing), strict=True))
            np.savez(self.path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[one] for one in texts])


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.lite", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder with fashion/ and outfits/")
    parser.add_argument("--out", type=Path, required=True, help="folder for features, weights and the table")
    parser.add_argument("--seeds", type=int, default=3, help="number of trainings for the table")
    parser.add_argument("--hold-out", action="store_true", help="train without one kind of source as well, and compare")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--config", type=json.loads, default={}, help="JSON that overrides training.lite.heads.Config")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    began = time.time()

    def log(line: str) -> None:
        print(f"[{time.time() - began:6.0f} s] {line}", flush=True)

    features.extract(arguments.data, arguments.out / "features", log=log)
    rows = dataset.load(arguments.data, arguments.out / "features")
    log(f"{len(rows)} rows")
    texts = TextCache(arguments.out / "texts.npz")
    texts(table.texts(rows))
    figures = table.Table(rows, texts.known)
    config = heads.Config(**arguments.config)
    results: list[dict[str, float]] = []
    for seed in range(arguments.seeds):
        trainer = train(replace(config, seed=seed), rows.take(~rows.validation), texts, log)
        results.append(measure(trainer, figures, WEIGHTS))
        log(f"seed {seed}: {json.dumps(results[-1])}")
        if seed == 0:
            sizes = {name: getattr(config, name) for name in ("shape", "colour", "words", "hidden")}
            pack(trainer.finish(), sizes, config.text, arguments.out)
    held_out: dict[str, dict[str, dict[str, float]]] = {}
    for name, source in {"late": late, "phone": phone}.items() if arguments.hold_out else ():
        part = table.Table(rows, texts.known, late(rows) if name == "late" else None)
        learned = rows.take(~rows.validation)
        held_out[name] = {
            "seen": measure(trainer, part, WEIGHTS),
            "not seen": measure(train(trainer.config, learned.take(~source(learned)), texts), part, WEIGHTS),
        }
        log(f"without {name}: {json.dumps(held_out[name])}")
    mean = {name: float(np.mean([r[name] for r in results])) for name in results[0]}
    spread = {name: float(np.std([r[name] for r in results], ddof=1)) if len(results) > 1 else 0.0 for name in mean}
    found = {
        "config": asdict(config),
        "weights": WEIGHTS,
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
