"""Train the colour names of :mod:`imagesim.images.colours`: ``python -m training.colours --data FOLDER``.

FOLDER has ``fashion/``, whose pictures with an odd id are used; the others are kept for ``benchmarks/colours.py``. A
picture's label is all that is known about it: the probabilities of the names are averaged over pixels of the product,
and training raises the mean of the right names. The colours of the xkcd survey, whose names are known, are added, so
that colours that few products have are named, too.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import XKCD_COLORS
from PIL import Image

from benchmarks.colours import right_names
from benchmarks.relevance.data import rows
from imagesim.images import colours

PIXELS = 160
"""The number of pixels of each picture."""
HIDDEN = 24
EPOCHS = 20
BATCH = 128
SURVEY = 0.5
"""The weight of the survey relative to the pictures."""
CENTRE, SCALE = np.array([50, 0, 0], np.float32), np.array([50, 40, 40], np.float32)
OTHERS = {
    "navy": "blue", "maroon": "red", "beige": "brown", "tan": "brown", "khaki": "brown", "olive": "green",
    "teal": "green", "cream": "white", "lavender": "purple", "gold": "yellow", "burgundy": "red", "mustard": "yellow",
    "peach": "orange", "turquoise": "blue", "charcoal": "grey", "silver": "grey", "violet": "purple",
    "magenta": "pink", "crimson": "red", "indigo": "blue", "rust": "brown", "taupe": "brown", "lilac": "purple",
    "salmon": "pink", "coral": "orange", "lime": "green", "cyan": "blue", "off white": "white", "ivory": "white",
}  # fmt: skip
"""Colours of the survey whose names do not end in a basic name."""


def survey() -> tuple[Any, Any]:
    """Return the colours of the survey as scaled Lab of shape (n, 3), and the numbers of their names, (n,)."""
    points, names = [], []
    for colour, value in XKCD_COLORS.items():
        name = colour.removeprefix("xkcd:").replace("gray", "grey")
        name = OTHERS.get(name, name.split()[-1])
        if name in colours.COLOURS:
            points.append([int(value[at : at + 2], 16) for at in (1, 3, 5)])
            names.append(colours.COLOURS.index(name))
    scaled = (colours.lab(np.array(points, np.float32)) - CENTRE) / SCALE
    return torch.tensor(scaled).float(), torch.tensor(names)


def pictures(folder: Path, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Return pixels of the products as scaled Lab of shape (n, PIXELS, 3), whether each name is right, (n, names), and
    the number of the label's own name, (n,)."""
    pixels, right, own = [], [], []
    for line in rows(folder / "fashion" / "labels.csv"):
        names = right_names(line["baseColour"])
        if int(line["id"]) % 2 == 0 or not names:
            continue
        with Image.open(folder / "fashion" / "images" / f"{line['id']}.jpg") as image:
            small = image.convert("RGB").resize((colours.SIDE, colours.SIDE), Image.Resampling.BOX)
        lab = colours.lab(np.asarray(small, np.float32))
        weights = colours.product_weights(lab).ravel()
        if weights.sum():
            chosen = rng.choice(len(weights), PIXELS, p=weights / weights.sum())
            pixels.append((lab.reshape(-1, 3)[chosen] - CENTRE) / SCALE)
            right.append([name in names for name in colours.COLOURS])
            own.append(colours.COLOURS.index(names[0]))
    return torch.tensor(np.stack(pixels)).float(), torch.tensor(right), np.array(own)


def train(folder: Path) -> Any:
    """Return the trained network, scaled Lab (n, 3) -> scores of the names (n, 11)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pixels, right, own = pictures(folder, rng)
    points, names = survey()
    network = torch.nn.Sequential(
        torch.nn.Linear(3, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Tanh(),
        torch.nn.Linear(HIDDEN, len(colours.COLOURS)),
    )  # fmt: skip
    # Rare colours are seen more often than they occur: the weight is the inverse square root of their number.
    share = np.bincount(own)[own] ** -0.5
    weight = torch.bincount(names)[names].float() ** -0.5
    optimiser = torch.optim.Adam(network.parameters(), 4e-3, weight_decay=1e-4)
    steps = EPOCHS * len(pixels) // BATCH
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / steps)
        batch = torch.tensor(rng.choice(len(pixels), BATCH, p=share / share.sum()))
        seen = pixels[batch][:, torch.randint(0, PIXELS, (48,))]
        mean = torch.softmax(network(seen), -1).mean(1)
        loss = -torch.log((mean * right[batch]).sum(1) + 0.02).mean()
        known = torch.log_softmax(network(points), -1)[torch.arange(len(names)), names]
        loss = loss - SURVEY * (known * weight).sum() / weight.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_shop.settings")
    network = train(options.data)
    layers = [
        {"weight": network[at].weight.detach().numpy().round(4).tolist(), "bias": network[at].bias.tolist()}
        for at in (0, 2, 4)
    ]
    layers = json.loads(json.dumps({"layers": layers}), parse_float=lambda number: round(float(number), 4))
    colours.WEIGHTS.write_text(json.dumps(layers, separators=(",", ":")))
    print(f"wrote {colours.WEIGHTS}")


if __name__ == "__main__":
    main()
