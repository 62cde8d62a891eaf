"""The photos among the stamps of Tux Paint: things of many trades, on which no heads are trained and nothing was
chosen.

They are in the Debian package ``tuxpaint-stamps-default``: ``apt-get download tuxpaint-stamps-default``, and
``dpkg-deb -x tuxpaint-stamps-default_*.deb DATA/stamps``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from imagesim.embedders.lite import Size
from training.lite.demo import described
from training.lite.parts import Part

TRADES = ("animals", "clothes", "food", "hobbies", "household", "medical", "plants", "sports", "vehicles")
LEAST_SIDE = 64
_NAME = re.compile(r"(?:An?|Two|Some) (?:bunch of |pair of )?((?:[^\W\d_]+[ -]){0,3}([^\W\d_]{2,}))[.!]")
_NO_KINDS = {"fruit", "plant", "ones", "fish"}
"""Last words that are no kind, or the names of others: a clownfish is one of these fish."""


def pictures(folder: Path) -> list[tuple[str, str, Path]]:
    """Return what each picture shows, the folder it is in, and its file: those with a plain name, as "A red apple."."""
    found = []
    for text in sorted(file for trade in TRADES for file in folder.rglob(f"stamps/{trade}/**/*.txt")):
        file = text.with_suffix(".png")
        match = _NAME.fullmatch(text.read_text(encoding="utf-8", errors="replace").splitlines()[0])
        if not match or "cartoon" in file.parts or not file.exists() or match[2] in _NO_KINDS:
            continue
        if min(Image.open(file).size) >= LEAST_SIDE:
            found.append((match[2].lower(), file.parent.name, file))
    return found


def load(folder: Path, out: Path, size: Size) -> Part:
    """Return these pictures, with labels "type" and "category"; features that ``out`` lacks are computed."""
    shown = pictures(folder)
    labels = {name: np.array([each[n] for each in shown]) for n, name in enumerate(("type", "category"))}

    def read() -> list[bytes]:
        return [file.read_bytes() for _kind, _category, file in shown]

    return Part(described(out / f"stamps-{len(shown)}.pt", read, size), labels)
