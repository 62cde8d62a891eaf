"""Stored features and labels, combined as rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.lite import features


@dataclass(frozen=True)
class Rows:
    """One row per picture and view. ``labels`` are those of the view: a recoloured picture has its new colour."""

    labels: list[dict[str, str]]
    number: np.ndarray
    view: np.ndarray
    validation: np.ndarray
    seen: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: np.ndarray) -> Rows:
        """Return the rows at these indices, or where this mask is true."""
        places = np.flatnonzero(which) if which.dtype == bool else which
        return replace(
            self,
            labels=[self.labels[i] for i in places],
            number=self.number[places],
            view=self.view[places],
            validation=self.validation[places],
            seen={name: value[places] for name, value in self.seen.items()},
        )

    def label(self, *claims: str) -> np.ndarray:
        """Return the labels as one array of strings."""
        return np.array(["|".join(row.get(claim, "") for claim in claims) for row in self.labels])


SEEN = ("pooled", "stages", "salient", "thumb", "salience")


def load(data: Path, folder: Path, views: list[str] | None = None) -> Rows:
    """Load all rows of the views on disk (or of the named views), in half precision as stored."""
    sources = {name: find(data) for name, find in features.SOURCES.items()}
    labels: list[dict[str, str]] = []
    number, view, validation = [], [], []
    seen: dict[str, list[np.ndarray]] = {name: [] for name in SEEN}
    for name, (source, _) in features.VIEWS.items():
        path = folder / f"{name}.npz"
        if not path.exists() or (views is not None and name not in views):
            continue
        with np.load(path) as file:
            for place, colour in zip(file["place"], file["colour"], strict=True):
                picture = sources[source][place]
                labels.append({**picture.labels, "baseColour": str(colour)} if colour else picture.labels)
                number.append(picture.number)
                validation.append(picture.validation)
                view.append(name)
            for array in SEEN:
                seen[array].append(file[array])
    return Rows(
        labels,
        np.array(number),
        np.array(view),
        np.array(validation),
        {name: torch.from_numpy(np.concatenate(parts)) for name, parts in seen.items()},
    )
