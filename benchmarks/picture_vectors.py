"""Create many embeddings from few pictures: features of random windows of each, reduced to a given length.

    python benchmarks/picture_vectors.py PICTURES 101000 vectors.npy

Real embeddings (clusters, near duplicates, uneven density) affect a search engine differently from random vectors,
which are all equally far apart. The features are those of EfficientNet-Lite0's last map, averaged over windows of 20 to
100 % of the picture (a crop without computing it again), projected onto their first principal components and normalised
to unit length: quick to create, and as uneven as a model's own.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagesim.embedders.lite import load_trunk

SIZE = 224
BATCH = 64


def windows(side: int, count: int, chance: random.Random) -> list[tuple[int, int, int, int]]:
    """Return (top, left, bottom, right) of different windows of a square map, beginning with the whole map."""
    found = {(0, 0, side, side): None}
    while len(found) < count:
        height, width = (chance.randint(-(-side * 2 // 5), side) for _ in range(2))
        top, left = chance.randint(0, side - height), chance.randint(0, side - width)
        found[top, left, top + height, left + width] = None
    return list(found)


@torch.inference_mode()
def features(pictures: list[Path], each: int) -> np.ndarray:
    """Return float32 of shape (pictures, each, 1280); the features of a picture do not depend on the others."""
    trunk = load_trunk().to(memory_format=torch.channels_last)
    found = np.empty((len(pictures), each, 1280), dtype=np.float32)
    for start in range(0, len(pictures), BATCH):
        opened = [Image.open(path).convert("RGB").resize((SIZE, SIZE)) for path in pictures[start : start + BATCH]]
        images = torch.from_numpy(np.stack([np.asarray(picture, dtype=np.float32) for picture in opened]))
        with torch.autocast("cpu", torch.bfloat16):
            maps = trunk.forward_features((images / 127.5 - 1).permute(0, 3, 1, 2)).float().numpy()
        for number, map_ in enumerate(maps, start):
            chance = random.Random(pictures[number].name)
            for place, (top, left, bottom, right) in enumerate(windows(map_.shape[-1], each, chance)):
                found[number, place] = map_[:, top:bottom, left:right].mean((1, 2))
        print(f"{min(start + BATCH, len(pictures)):,} of {len(pictures):,} pictures", flush=True)
    return found


def principal(found: np.ndarray, dims: int) -> np.ndarray:
    """Return the first principal components, as unit rows."""
    found = found - found.mean(axis=0)
    _, axes = np.linalg.eigh(found.T @ found)
    found = found @ axes[:, ::-1][:, :dims]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="a folder of pictures")
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dims", type=int, default=512)
    given = parser.parse_args()
    pictures = sorted(p for p in given.pictures.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    found = features(pictures, -(-given.count // len(pictures))).reshape(-1, 1280)
    found = found[np.random.default_rng(0).permutation(len(found))[: given.count]]  # in random order, as in a catalogue
    np.save(given.out, principal(found, given.dims))


if __name__ == "__main__":
    main()
