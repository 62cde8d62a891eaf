"""Views of the photos, written once by many processes and read in random order by every training.

    python training/regions/views.py --data DATA --out VIEWS [--pseudo MASKS]

A view is a photo as another camera might have framed it. Creating one takes longer than training on it with a GPU,
and a teacher and its student can share them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import data
import numpy as np

EARLY, LATE = "early", "late"
ARRAYS = ("image", "target", "presence")
BATCHES_AHEAD = 6


def write(folder: Path, source: Path, pseudo: Path | None, worker: int, workers: int, passes: dict[str, int]) -> None:
    """Write every ``workers``-th pass through the photos, one file per shape and array."""
    photos = data.load_photos(source / "outfits")
    if pseudo:
        photos += data.load_tagged(source / "outfits-tags", pseudo)
    products = data.load_products(source / "fashion", most=120, seed=0)
    nothing = data.load_groceries(source / "grocery", most=400, seed=0)
    for kind, count in passes.items():
        shapes: dict[tuple[int, ...], list[data.Sample]] = {}
        for number in range(worker, count, workers):
            maker = data.Maker(photos, products, nothing, 2 * number + (kind == LATE))
            for sample in maker.views(late=kind == LATE):
                shapes.setdefault(sample.target.shape, []).append(sample)
        for (height, width), samples in shapes.items():
            name = f"{kind}-{height}x{width}-{worker}"
            np.save(folder / f"{name}-image.npy", np.stack([np.asarray(s.image) for s in samples]))
            np.save(folder / f"{name}-target.npy", np.stack([s.target for s in samples]))
            np.save(folder / f"{name}-presence.npy", np.stack([s.presence for s in samples]))
            np.save(folder / f"{name}-about.npy", np.array([[s.weak, s.aside] for s in samples]))
    if worker == 0:
        counts = sum(np.bincount(np.asarray(p.mask).ravel(), minlength=256) for p in photos)
        np.save(folder / "pixels.npy", counts[: len(data.CLASSES)])


@dataclass
class Batch:
    images: np.ndarray  # uint8 (n, height, width, 3)
    targets: np.ndarray  # uint8 (n, height / STRIDE, width / STRIDE)
    presence: np.ndarray  # float32 (n, labels), -1 where unknown
    weak: Sequence[int]  # the class that some of the ignored pixels of each have, or -1


class Views:
    """Yields random batches endlessly, read ahead by a thread; all views of a batch have one shape.

    ``aside``: whether held-out photos are included.
    """

    def __init__(self, folder: Path, kind: str, *, batch: int, seed: int, aside: bool) -> None:
        self.batch, self.random = batch, random.Random(seed)
        self._shapes: dict[str, list[tuple[tuple[np.ndarray, ...], int]]] = {}
        for path in sorted(folder.glob(f"{kind}-*-about.npy")):
            arrays = [
                np.load(str(path).replace("about", part), mmap_mode="r") for part in ("image", "target", "presence")
            ]
            about = np.load(path)
            places = self._shapes.setdefault(path.name.split("-")[1], [])
            places += [((*arrays, about), i) for i in np.flatnonzero(aside | (about[:, 1] == 0))]
        self._unseen: dict[str, list[tuple[tuple[np.ndarray, ...], int]]] = {shape: [] for shape in self._shapes}
        self._line: Queue[Batch] = Queue(BATCHES_AHEAD)
        threading.Thread(target=self._read, daemon=True).start()

    def __len__(self) -> int:
        return sum(map(len, self._shapes.values()))

    def next(self) -> Batch:
        return self._line.get()

    def _read(self) -> None:
        names, sizes = list(self._shapes), [len(places) for places in self._shapes.values()]
        while True:
            shape = self.random.choices(names, sizes)[0]
            unseen = self._unseen[shape]
            if len(unseen) < self.batch:
                unseen[:] = self.random.sample(self._shapes[shape], len(self._shapes[shape]))
            drawn = [unseen.pop() for _ in range(min(self.batch, len(unseen)))]
            images, targets, presence, about = (np.stack([arrays[n][i] for arrays, i in drawn]) for n in range(4))
            self._line.put(Batch(images, targets, presence, about[:, 0].tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with outfits/, fashion/ and grocery/")
    parser.add_argument("--pseudo", type=Path, help="the masks that pseudo.py wrote for outfits-tags/")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the views, 15 GB")
    parser.add_argument("--passes", type=int, default=64, help="passes through all photos, most of them smaller")
    parser.add_argument("--late", type=int, default=24, help="passes with the size of the finder's input")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    workers = os.cpu_count() or 1
    passes = {EARLY: args.passes, LATE: args.late}
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.starmap(write, [(args.out, args.data, args.pseudo, worker, workers, passes) for worker in range(workers)])


if __name__ == "__main__":
    main()
