"""Which arithmetic a model computes in: the fastest whose answers hold, tried on this machine and kept for later."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.embedders.loading import Loaded
    from imagesim.types import Vector

logger = logging.getLogger(__name__)

LEAST_COSINE = 0.995
LEAST_OVERLAP = 0.98
NEAREST = 10
LEAST_GAIN = 1.1
"""Times the speed of fp32 that makes another precision worth while."""
DRAWN = 64
"""Pictures of the short test when a model is first loaded."""
DRAWN_TIE = 0.005
"""Drawn pictures lie closer together than photos: neighbours this near to each other may change places. Where bf16
keeps .985 of the ten nearest of 600 photos, it keeps .970 among 64 drawn pictures, .991 if such swaps count as kept."""


@dataclass(frozen=True)
class PrecisionTrial:
    """A precision beside fp32, on the same pictures."""

    precision: str
    milliseconds: float
    """A picture, in batches, on this machine as busy as it was."""
    cosine: float = 1.0
    """The least of a picture's two vectors."""
    overlap: float = 1.0
    """The share of each picture's ten nearest that stay the same."""

    @property
    def holds(self) -> bool:
        return self.cosine >= LEAST_COSINE and self.overlap >= LEAST_OVERLAP

    def __str__(self) -> str:
        refused = "" if self.holds else ", refused"
        return (
            f"{self.precision} {self.milliseconds:.1f} ms a picture"
            f" (cosine {self.cosine:.4f}, overlap {self.overlap:.3f}{refused})"
        )


def best(tried: Sequence[PrecisionTrial]) -> str:
    """The fastest that holds. The first of ``tried`` is fp32, which others must beat clearly."""
    full = tried[0]
    good = [t for t in tried[1:] if t.holds and full.milliseconds >= LEAST_GAIN * t.milliseconds]
    return min(good, key=lambda t: t.milliseconds, default=full).precision


def attempt(
    load: Callable[[str], Loaded],
    precisions: Sequence[str],
    images: Sequence[Image],
    batch: int | None = None,
    tie: float = 0.0,
) -> tuple[list[PrecisionTrial], Loaded]:
    """Try ``precisions`` beside fp32, one in memory at a time; the model that was loaded last comes back, too."""
    loaded = load("fp32")
    prepared = [loaded.prepare(image) for image in images]
    took, full = _run(loaded, prepared, batch)
    tried = [PrecisionTrial("fp32", took)]
    for precision in precisions:
        del loaded
        loaded = load(precision)
        took, vectors = _run(loaded, prepared, batch)
        tried.append(PrecisionTrial(precision, took, float((full * vectors).sum(1).min()), overlap(full, vectors, tie)))
        logger.info("%s", tried[-1])
    return tried, loaded


def overlap(full: Vector, other: Vector, tie: float = 0.0) -> float:
    """The mean share of the ten nearest (by cosine, among the other rows) by ``full`` that ``other`` names, too.

    :param tie: one that ``full`` has no more than this behind its tenth counts as named.
    """
    import numpy as np

    count, kept = min(NEAREST, len(full) - 1), 0
    for start in range(0, len(full), 1024):
        scores, others = (rows[start : start + 1024] @ rows.T for rows in (full, other))
        here = np.arange(len(scores))
        scores[here, start + here] = others[here, start + here] = -np.inf
        last = np.partition(scores, -count, axis=1)[:, -count, None]
        named = np.argpartition(-others, count - 1, axis=1)[:, :count]
        kept += int((np.take_along_axis(scores, named, 1) >= last - tie).sum())
    return kept / (count * len(full))


def _run(loaded: Loaded, prepared: Sequence[Any], batch: int | None) -> tuple[float, Vector]:
    """Milliseconds a picture of the fastest batch but the first, and all vectors."""
    import numpy as np

    size = min(batch or loaded.batch_size, max(1, len(prepared) // 2))
    rows, times = [], []
    for start in range(0, len(prepared), size):
        began = time.perf_counter()
        rows.append(loaded.images(prepared[start : start + size]))
        times.append((time.perf_counter() - began) / len(rows[-1]) * 1000)
    return min(times[1:] or times), np.concatenate(rows)


class PrecisionCache:
    """What was chosen for a model, on each machine that shares the folder: ``precision/<fingerprint>.json``."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._path = folder / "precision" / f"{fingerprint}.json"

    def get(self, device: str) -> tuple[str, list[PrecisionTrial]] | None:
        """The choice for ``device`` of this machine, with what was tried; None if there is none."""
        return self.all_here().get(device)

    def all_here(self) -> dict[str, tuple[str, list[PrecisionTrial]]]:
        """The choices for this machine, by device. Needs no torch."""
        here = _machine()
        return {
            device: (entry["precision"], [PrecisionTrial(**each) for each in entry["tried"]])
            for device, entry in self._read().get(here, {}).items()
        }

    def put(self, device: str, precision: str, tried: Sequence[PrecisionTrial]) -> None:
        """Keep a choice; where the folder cannot be written, the next start tries again."""
        known = self._read()
        known.setdefault(_machine(), {})[device] = {"precision": precision, "tried": [asdict(each) for each in tried]}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, suffix=".tmp", delete=False) as file:
                json.dump(known, file, indent=1)
            os.replace(file.name, self._path)
        except OSError as error:
            logger.warning("The choice of precision cannot be kept in %s: %s", self._path.parent, error)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _machine() -> str:
    """What a choice holds for: this kind of processor and this torch."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        kind = sorted(line for line in lines if line.startswith(("vendor", "cpu family", "model", "stepping", "flags")))
        name = next((line.partition(": ")[2] for line in kind if line.startswith("model name")), platform.machine())
    except OSError:  # not on every platform
        kind = [name := platform.processor() or platform.machine()]
    digest = hashlib.sha256("\n".join(kind).encode()).hexdigest()[:8]
    return f"{name} ({digest}), torch {importlib.metadata.version('torch')}"
