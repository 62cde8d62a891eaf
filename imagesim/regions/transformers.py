"""A region finder that uses an object detection model of Hugging Face transformers, by name or from a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, Warning

from imagesim.embedders.model_files import first_problem, folder_digests, folder_files, folder_stamp
from imagesim.exceptions import ConfigurationError, EmbedderError
from imagesim.regions import BaseRegionFinder
from imagesim.regions.labels import label_for
from imagesim.types import Region

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_MODEL = "valentinafeve/yolos-fashionpedia"

# Labels of fashion detectors for parts and decorations (of Fashionpedia), which no shop sells separately.
PARTS = (
    "applique", "bead", "bow", "buckle", "collar", "epaulette", "flower", "fringe", "hood", "lapel", "neckline",
    "pocket", "ribbon", "rivet", "ruffle", "sequin", "sleeve", "tassel", "zipper",
)  # fmt: skip


LONGEST = 4.0  # a photo with a larger aspect ratio is stretched


class TransformersRegionFinder(BaseRegionFinder):
    """Regions from a detector such as YOLOS, DETR, RT-DETR or D-FINE. Needs ``django-imagesim[clip]`` and torchvision.

    :param model: a name on the Hugging Face hub, or a folder that ``save_pretrained`` wrote.
    :param min_score: the minimum score (0..1) of a detection.
    :param labels: a mapping from the model's labels to yours, applied first (``{"n02999410": "chair"}``).
    :param ignore: labels to ignore; by default the parts of garments that fashion detectors also find.
    :param device: where the model runs, such as ``"cpu"`` or ``"cuda"``.
    :param cache_dir: where the hub's files are stored.

    Labels that name a garment of ``imagesim.regions.labels`` (``"shirt, blouse"``) become that garment's (``top``);
    others stay unchanged. The two shoes of a pair become one region.
    """

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        min_score: float = 0.5,
        labels: Mapping[str, str] | None = None,
        ignore: Iterable[str] = PARTS,
        device: str = "cpu",
        cache_dir: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 <= min_score <= 1:
            raise ConfigurationError(f"{type(self).__name__}: 'min_score' must be between 0 and 1, not {min_score!r}.")
        self.model = model
        self.min_score = min_score
        self.mapping = dict(labels or {})
        self.ignore = frozenset(ignore)
        self.device = device
        self.cache_dir = cache_dir
        self._lock = threading.Lock()
        self._identified: tuple[list[tuple[object, ...]], str] | None = None
        self._loaded_version = ""

    @property
    def version(self) -> str:
        """The digest of the files in a folder: those that are loaded, whatever the folder holds by now. Empty for a
        model of the hub.

        :raises ConfigurationError: if they cannot be read or are not whole.
        """
        return self._loaded_version or self._identify()

    def _identify(self) -> str:
        """Return the digest of the model's files, which are read again only if they changed."""
        folder = Path(self.model)
        if not folder.is_dir():
            return ""
        try:
            stamp = folder_stamp(folder)
            if self._identified is None or self._identified[0] != stamp:
                known = json.dumps(folder_digests(folder), sort_keys=True)
                self._identified = stamp, hashlib.sha256(known.encode()).hexdigest()
        except (OSError, EmbedderError) as error:
            raise ConfigurationError(f"The detection model {self.model!r} cannot be loaded. {error}") from error
        return self._identified[1]

    @property
    def labels(self) -> tuple[str, ...]:
        with self._lock:
            _, detector = self._loaded
        names = (self._label(name) for name in detector.config.id2label.values())
        return tuple(dict.fromkeys(name for name in names if name))

    def find(self, image: Image) -> list[Region]:
        import torch

        from imagesim.regions.boxes import merge

        with self._lock:
            processor, detector = self._loaded
        image = _squeezed(image)
        try:
            inputs = processor(images=image, return_tensors="pt").to(self.device)
            with torch.inference_mode():
                outputs = detector(**inputs)
            found = processor.post_process_object_detection(
                outputs, threshold=self.min_score, target_sizes=[(image.height, image.width)]
            )[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise EmbedderError(f"The model {self.model!r} failed on a photo: {error}") from error
        regions = []
        for score, index, box in zip(
            found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist(), strict=True
        ):
            label = self._label(detector.config.id2label.get(index, ""))
            region = _within(box, image.size, label, score)
            if label and region is not None:
                regions.append(region)
        return merge(regions)

    def warm_up(self) -> None:
        with self._lock:
            _ = self._loaded

    def check(self) -> list[CheckMessage]:
        missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
        if missing:
            return [
                Warning(
                    f"TransformersRegionFinder needs {' and '.join(missing)}, which is not installed.",
                    hint="Run pip install 'django-imagesim[clip]', or set IMAGESIM['REGIONS'] to another finder.",
                    id="imagesim.W302",
                )
            ]
        problem = self._problem()
        return [Error(f"TransformersRegionFinder cannot be loaded. {problem}", id="imagesim.E303")] if problem else []

    def _problem(self) -> str:
        """Return why the weights in a folder cannot be used; empty if they can, or for a model of the hub."""
        return first_problem(folder_files(Path(self.model))) if Path(self.model).is_dir() else ""

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from imagesim.embedders.process import import_torchvision

            import_torchvision()
            import transformers
        except ImportError as error:
            raise EmbedderError(
                f"TransformersRegionFinder cannot be loaded ({error}): run pip install 'django-imagesim[clip]'."
            ) from error
        problem = self._problem()
        if problem:
            raise EmbedderError(f"The detection model {self.model!r} cannot be loaded. {problem}")
        version = self._identify()
        try:
            kinds: Any = transformers  # its classes are not typed
            processor = kinds.AutoImageProcessor.from_pretrained(self.model, cache_dir=self.cache_dir)
            detector = kinds.AutoModelForObjectDetection.from_pretrained(self.model, cache_dir=self.cache_dir)
            loaded = processor, detector.to(self.device).eval()
        except Exception as error:  # transformers raises anything at all on damaged files
            detail = (str(error) or type(error).__name__).splitlines()[0]
            raise EmbedderError(
                f"The detection model {self.model!r} cannot be loaded ({detail}): "
                "name one from the Hugging Face hub, or a folder that save_pretrained wrote."
            ) from error
        if self._identify() != version:
            raise EmbedderError(f"The files of {self.model!r} were changed while they were loaded: try again.")
        self._loaded_version = version
        return loaded

    def _label(self, name: str) -> str:
        """Return the label for one of the model's labels; empty if it is ignored."""
        name = self.mapping.get(name, name)
        if name in self.ignore:
            return ""
        return label_for(name) or name


def _squeezed(image: Image) -> Image:
    """Return the photo, with the short side stretched if the aspect ratio is so extreme that processors would round it
    to 0."""
    width, height = image.size
    size = (max(width, round(height / LONGEST)), max(height, round(width / LONGEST)))
    return image if size == image.size else image.resize(size)


def _within(box: list[float], size: tuple[int, int], label: str, score: float) -> Region | None:
    """Return the region of a box in pixels (left, top, right, bottom), clipped to the photo; None if nothing is
    left."""
    width, height = size
    left, right = max(0.0, box[0] / width), min(1.0, box[2] / width)
    top, bottom = max(0.0, box[1] / height), min(1.0, box[3] / height)
    if not (right > left and bottom > top):
        return None
    return Region(left, top, right - left, bottom - top, label=label, score=min(1.0, score))
