"""The device and the precision of a model.

``auto`` is the fastest precision whose answers agree with those of fp32. A trial on this machine finds it, and the
cache folder stores it: a short trial with synthetic pictures when a model is first loaded, a thorough one with the
shop's own pictures by ``manage.py imagesim_precision``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from imagesim.embedders.process import prepare
from imagesim.exceptions import EmbedderError, format_choices

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

MIN_COSINE = 0.995
MIN_OVERLAP = 0.98
NEAREST = 10
MIN_GAIN = 1.1
"""The minimum speed-up over fp32 for another precision to be chosen."""
SYNTHETIC_PICTURES = 64
"""The number of pictures in the short trial."""
SYNTHETIC_TIE = 0.005
"""Synthetic pictures resemble each other more than photos do: neighbours whose similarity differs by less may change
places. Where bf16 keeps .985 of the ten nearest of 600 photos, it keeps .970 among 64 synthetic pictures, .991 if such
swaps count as kept."""
SYNTHETIC_SIDE = 256


class ImageTower(Protocol):
    """A model in memory, in any runtime."""

    batch_size: int

    def prepare(self, image: Image, /) -> Any:
        """Return an image as the model takes it."""

    def images(self, prepared: Sequence[Any], /) -> Vector:
        """Embed prepared images: float32 (n, dims), unit rows."""


Tower = TypeVar("Tower", bound=ImageTower)


def choose_device(name: str | None) -> Any:
    """Return the named torch device, or the best available one: CUDA, then Apple's MPS, then the CPU.

    :raises EmbedderError: if the named device does not exist here.
    """
    prepare()
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EmbedderError(f"{name!r} is not a device torch knows: {error}") from error
    if not available.get(device.type, False):
        here = format_choices(kind for kind, is_here in available.items() if is_here)
        raise EmbedderError(f"There is no device {name!r} on this machine; there is {here}.")
    return device


def lower_precisions(device: Any) -> tuple[str, ...]:
    """Return the precisions below fp32 that the device computes natively; emulated ones are slower than fp32."""
    import torch

    if device.type == "cuda":
        return ("bf16", "fp16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp16",)
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return ("bf16",)
    return ()


@dataclass(frozen=True)
class PrecisionTrial:
    """How a precision compares with fp32 on the same pictures."""

    precision: str
    milliseconds: float
    """The time per picture in batches, on this machine under its load during the trial."""
    cosine: float = 1.0
    """The minimum cosine between a picture's two vectors."""
    overlap: float = 1.0
    """The mean share of a picture's ten nearest neighbours that stay the same."""

    @property
    def holds(self) -> bool:
        """Whether the precision agrees well enough with fp32."""
        return self.cosine >= MIN_COSINE and self.overlap >= MIN_OVERLAP

    def __str__(self) -> str:
        rejected = "" if self.holds else ", rejected"
        return (
            f"{self.precision} {self.milliseconds:.1f} ms per picture"
            f" (cosine {self.cosine:.4f}, overlap {self.overlap:.3f}{rejected})"
        )


def best(tried: Sequence[PrecisionTrial]) -> str:
    """Return the fastest acceptable precision. The first trial is fp32; the others must be clearly faster."""
    full = tried[0]
    good = [t for t in tried[1:] if t.holds and full.milliseconds >= MIN_GAIN * t.milliseconds]
    return min(good, key=lambda t: t.milliseconds, default=full).precision


def compare(
    load: Callable[[str], Tower],
    precisions: Sequence[str],
    images: Sequence[Image],
    batch: int | None = None,
    tie: float = 0.0,
) -> tuple[list[PrecisionTrial], Tower]:
    """Compare ``precisions`` with fp32, one in memory at a time. Return the trials and the model loaded last."""
    loaded = load("fp32")
    prepared = [loaded.prepare(image) for image in images]
    took, full = run(loaded, prepared, batch)
    tried = [PrecisionTrial("fp32", took)]
    for precision in precisions:
        del loaded
        loaded = load(precision)
        took, vectors = run(loaded, prepared, batch)
        tried.append(PrecisionTrial(precision, took, float((full * vectors).sum(1).min()), overlap(full, vectors, tie)))
        logger.info("%s", tried[-1])
    return tried, loaded


def overlap(full: Vector, other: Vector, tie: float = 0.0) -> float:
    """Return the mean share of each row's ten nearest (by cosine, among the other rows) in which both agree.

    :param tie: a neighbour by ``other`` also counts if its cosine by ``full`` is at most this much below the tenth.
    """
    import numpy as np

    count, kept = min(NEAREST, len(full) - 1), 0
    for start in range(0, len(full), 1024):
        scores, others = (rows[start : start + 1024] @ rows.T for rows in (full, other))
        here = np.arange(len(scores))
        scores[here, start + here] = others[here, start + here] = -np.inf
        last = np.partition(scores, -count, axis=1)[:, -count, None]
        nearest = np.argpartition(-others, count - 1, axis=1)[:, :count]
        kept += int((np.take_along_axis(scores, nearest, 1) >= last - tie).sum())
    return kept / (count * len(full))


def run(loaded: ImageTower, prepared: Sequence[Any], batch: int | None) -> tuple[float, Vector]:
    """Return the milliseconds per picture of the fastest batch except the first, and all vectors (n, dims)."""
    import numpy as np

    size = min(batch or loaded.batch_size, max(1, len(prepared) // 2))
    rows, times = [], []
    for start in range(0, len(prepared), size):
        began = time.perf_counter()
        rows.append(loaded.images(prepared[start : start + size]))
        times.append((time.perf_counter() - began) / len(rows[-1]) * 1000)
    return min(times[1:] or times), np.concatenate(rows)


class PrecisionCache:
    """The chosen precision of a model on each machine that shares the folder, in ``precision/<fingerprint>.json``."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._path = folder / "precision" / f"{fingerprint}.json"

    def get(self, device: str) -> tuple[str, list[PrecisionTrial]] | None:
        """Return the precision chosen for ``device`` on this machine with its trials, or None if none was chosen."""
        return self.all_here().get(device)

    def all_here(self) -> dict[str, tuple[str, list[PrecisionTrial]]]:
        """Return the choices for this machine, by device. Does not import torch."""
        here = _machine()
        return {
            device: (entry["precision"], [PrecisionTrial(**each) for each in entry["tried"]])
            for device, entry in self._read().get(here, {}).items()
        }

    def put(self, device: str, precision: str, tried: Sequence[PrecisionTrial]) -> None:
        """Store a choice. If the folder cannot be written, the next start repeats the trial."""
        known = self._read()
        known.setdefault(_machine(), {})[device] = {"precision": precision, "tried": [asdict(each) for each in tried]}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A temporary file would be readable for this user only, and the folder can be shared.
            with tempfile.TemporaryDirectory(dir=self._path.parent, ignore_cleanup_errors=True) as scratch:
                written = Path(scratch) / self._path.name
                written.write_text(json.dumps(known, indent=1), "utf-8")
                os.replace(written, self._path)
        except OSError as error:
            logger.warning("The choice of precision cannot be kept in %s: %s", self._path.parent, error)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _machine() -> str:
    """Describe what a choice is valid for: the type of processor, the version of torch, and whether int8 can be used.

    Processes with and without OpenVINO can share a cache folder, and those without would replace a choice of int8.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").partition("\n\n")[0].splitlines()
        kind = sorted(line for line in lines if line.startswith(("vendor", "cpu family", "model", "stepping", "flags")))
        name = next((line.partition(": ")[2] for line in kind if line.startswith("model name")), platform.machine())
    except OSError:  # not on every platform
        kind = [name := platform.processor() or platform.machine()]
    digest = hashlib.sha256("\n".join(kind).encode()).hexdigest()[:8]
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # in a process that does not embed
        torch = "missing"
    int8 = ", with OpenVINO" if importlib.util.find_spec("openvino") else ""
    return f"{name} ({digest}), torch {torch}{int8}"


def synthetic_pictures(count: int) -> list[Image]:
    """Draw pictures for a trial without photos: shapes of a few colours on plain grounds, always the same."""
    dice = random.Random(20)
    return [_draw(dice) for _ in range(count)]


def _draw(dice: random.Random) -> Image:
    from PIL import Image, ImageDraw, ImageFilter

    def colour(least: int = 0) -> tuple[int, int, int]:
        return (dice.randint(least, 255), dice.randint(least, 255), dice.randint(least, 255))

    def point() -> tuple[int, int]:
        return (dice.randint(0, SYNTHETIC_SIDE), dice.randint(0, SYNTHETIC_SIDE))

    image = Image.new("RGB", (SYNTHETIC_SIDE, SYNTHETIC_SIDE), colour(150))
    draw = ImageDraw.Draw(image)
    draw.polygon([point() for _ in range(dice.randint(3, 9))], fill=colour())
    for _ in range(dice.randint(0, 12)):
        (left, top), (right, bottom) = point(), point()
        box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        (draw.ellipse if dice.random() < 0.5 else draw.rectangle)(box, fill=colour(), outline=colour())
    for _ in range(dice.randint(0, 20)):
        draw.line([point(), point()], fill=colour(), width=dice.randint(1, 6))
    return image.filter(ImageFilter.GaussianBlur(dice.random() * 3))
