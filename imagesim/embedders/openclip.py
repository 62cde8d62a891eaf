"""An embedder for all open_clip models and the built-in model. Concurrent requests share one forward pass."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage

from imagesim.embedders import BaseEmbedder, lite, onnx, precision, process
from imagesim.embedders.batching import Batcher
from imagesim.embedders.model_spec import ModelName, check_setup, image_side, parse_name
from imagesim.embedders.precision import PRECISIONS, choose_device, lower_precisions
from imagesim.exceptions import ConfigurationError, EmbedderError, format_choices

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.embedders.loading import Loaded
    from imagesim.embedders.onnx import OnnxModel
    from imagesim.embedders.precision import PrecisionTrial
    from imagesim.types import Vector

RUNTIMES = ("auto", "onnx", "torch")

logger = logging.getLogger(__name__)

MIN_PICTURES = 30
"""The minimum number of pictures for a comparison of precisions."""


class OpenClipEmbedder(BaseEmbedder):
    """An open_clip model with its own preprocessing and tokenizer.

    :param model: a name open_clip knows (``ViT-B-32``, with ``pretrained``), ``hf-hub:ORGANISATION/NAME`` (``@COMMIT``
        after it pins what is fetched), ``local-dir:PATH``, or the built-in model, which needs no network:
        ``imagesim-lite``, or ``imagesim-base``, which is slower and knows more than clothes.
    :param pretrained: the tag of the weights (``laion2b_s34b_b79k``) or a file of them; only with a plain name.
    :param device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the best available if not given.
    :param precision: ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``auto``: the fastest one that keeps the answers in a
        trial on this machine. The fingerprint is the same for all, so indexes need no rebuild.
    :param runtime: ``torch``; ``onnx``: ONNX Runtime on the CPU, in fp32, in a process that does not import torch; or
        ``auto``: for the built-in model, ONNX Runtime where it is installed and there is no graphics card, once
        :meth:`warm_up` has exported the model on this machine; torch for others. The fingerprint is the same.
    :param batch_size: images per forward pass; 16 on a CPU and 128 elsewhere if not given.
    :param cache_dir: where downloaded and assembled weights are stored; the user's cache folder if not given.
    :param weights: the factor of each component in a query (``{"colour": 0.5}``), for models whose vectors have them.
    """

    def __init__(
        self,
        *,
        model: str = lite.NAME,
        pretrained: str | None = None,
        device: str | None = None,
        precision: str = "auto",
        runtime: str = "auto",
        batch_size: int | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigurationError(f"The precision {precision!r} is unknown; it can be {format_choices(PRECISIONS)}.")
        if runtime not in RUNTIMES:
            raise ConfigurationError(f"The runtime {runtime!r} is unknown; it can be {format_choices(RUNTIMES)}.")
        if runtime == "onnx" and (device not in (None, "cpu") or precision not in ("auto", "fp32")):
            raise ConfigurationError("The runtime 'onnx' computes on the CPU in fp32: omit 'device' and 'precision'.")
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ConfigurationError(f"The batch size must be a whole number of at least 1, not {batch_size!r}.")
        self.name: ModelName = parse_name(model, pretrained)
        self.device = device
        self.precision = precision
        self.runtime = runtime
        self.batch_size = batch_size
        self.cache_dir = Path(cache_dir) if cache_dir is not None else None
        self._weights = dict(weights or {})
        unknown = set(self._weights) - set(self.components)
        if unknown:
            has = format_choices(self.components)
            raise ConfigurationError(f"The model {model!r} has no component {min(unknown)!r} to weight; it has {has}.")
        for name, weight in self._weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise ConfigurationError(f"The weight of {name!r} must be a finite number, not {weight!r}.")
        self._states: dict[int, _State] = {}
        self._identified: tuple[list[tuple[object, ...]], str] | None = None

    @property
    def _state(self) -> _State:
        """The state of this process. A child process needs its own: it has neither the threads of its parent nor the
        thread that may hold the lock."""
        return self._states.setdefault(os.getpid(), _State())

    @property
    def components(self) -> Mapping[str, slice]:
        return lite.components(self.name.size) if self.name.kind == "lite" else {}

    @property
    def weights(self) -> Mapping[str, float]:
        return self._weights

    @cached_property
    def dims(self) -> int:
        if self.name.kind == "lite":
            return lite.dims(self.name.size)
        if self._state.loaded is not None:
            return self._state.loaded.dims
        config = self._config()
        return int(config["embed_dim"]) if config else self._loaded().dims

    @cached_property
    def input_side(self) -> int:
        if self.name.kind == "lite":
            return self.name.size.image_size
        config = self._config()
        if not config and self.name.kind == "hf-hub":  # this model of the hub is used here for the first time
            config = self.name.fetched_config(self.cache_dir)
        if not config:
            self._require()
        return image_side(config)

    def _config(self) -> dict[str, Any]:
        """Return open_clip's configuration of the model, or the same facts of the exported model, which needs no
        open_clip; empty if neither is on this machine."""
        config = self.name.config(self.cache_dir)
        if config is not None:
            return config
        facts = onnx.facts(self._exported())
        return {"embed_dim": facts["dims"], "vision_cfg": {"image_size": facts["preprocess"]["size"]}} if facts else {}

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the loaded model, whatever its files hold by now; until it is loaded, that of the
        files."""
        return self._state.fingerprint or self._identify()

    def _identify(self) -> str:
        """Return the fingerprint of the model's files, which are read again only if they changed."""
        stamp = self.name.stamp()
        if self._identified is None or self._identified[0] != stamp:
            fingerprint = self.name.fingerprint()
            for stored in ("dims", "input_side"):
                self.__dict__.pop(stored, None)
            self._identified = stamp, fingerprint
        return self._identified[1]

    def best_batch(self) -> int:
        return self.batch_size or self._loaded().batch_size

    def prepare(self, image: Image) -> Any:
        return self._loaded().prepare(image)

    def embed_prepared(self, prepared: Sequence[Any]) -> Vector:
        return self._embed(prepared, "images")

    def embed_images(self, images: Sequence[Image]) -> Vector:
        import numpy as np

        size = self.best_batch() if len(images) else 1
        starts = range(0, len(images), size)  # prepared images are large: hold only one batch of them
        rows = [self.embed_prepared([self.prepare(image) for image in images[i : i + size]]) for i in starts]
        return np.concatenate(rows) if rows else self._embed([], "images")

    def embed_texts(self, texts: Sequence[str]) -> Vector:
        return self._embed(texts, "texts")

    def has_word(self, word: str) -> bool:
        return self.name.kind == "lite" and word in lite.vocabulary()

    def warm_up(self) -> None:
        from PIL import Image

        if self._may_export and not self._exports and onnx.can_export():
            try:
                onnx.prepare(self.name, self.cache_dir, self._exported())
            except EmbedderError as error:
                logger.warning("%s torch is used instead.", error)
        self.embed_images([Image.new("RGB", (8, 8))])
        self.embed_texts(["warm up"])

    @property
    def _may_export(self) -> bool:
        """Whether the runtime ``auto`` may be ONNX Runtime with these options on this machine."""
        chosen = self.runtime == "auto" and self.name.kind == "lite" and self.precision == "auto"
        return chosen and self.device in (None, "cpu") and not (self.device is None and onnx.has_accelerator())

    @property
    def _exports(self) -> bool:
        """Whether to run the model in ONNX Runtime."""
        return self.runtime == "onnx" or (self._may_export and onnx.usable(self._exported()))

    def check(self) -> list[CheckMessage]:
        if self._exports:
            return onnx.check(self.name, self._exported, check_setup(self.name, self.cache_dir))
        return check_setup(self.name, self.cache_dir)

    def precision_report(self) -> str:
        if self._exports:
            return onnx.report(self._exported())
        if self.precision != "auto":
            return f"{self.precision}, as set"
        kept = self._kept().all_here()
        lines = [
            f"{chosen} on {device}; tried: {', '.join(map(str, tried))}" for device, (chosen, tried) in kept.items()
        ]
        return "; ".join(lines) or "not yet tried on this machine"

    def choose_precision(self, images: Sequence[Image]) -> tuple[str, list[PrecisionTrial]]:
        """Choose the precision with real pictures, and store the choice for the next start.

        With the extra ``openvino``, int8 is tried as well: calibrated on a third of the pictures and judged by the
        rest.

        :raises EmbedderError: if there are fewer than 30 pictures, or the model cannot be loaded.
        """
        if self.runtime == "onnx":
            raise EmbedderError("The runtime 'onnx' computes in fp32: there is no precision to choose.")
        if len(images) < MIN_PICTURES:
            raise EmbedderError(f"{len(images)} pictures are too few; at least {MIN_PICTURES} are needed.")
        process.prepare()  # before torch is imported
        from imagesim.embedders import reduced_precision as reduced

        device = choose_device(self.device)
        lower, third = lower_precisions(device), min(len(images) // 3, reduced.CALIBRATION_PICTURES)
        if device.type == "cpu" and reduced.int8_is_installed():
            full = self._load_in("fp32", device)
            prepared = [full.prepare(image) for image in images[:third]]
            try:
                reduced.quantise(full.model.visual, prepared, reduced.int8_folder(self._cache(), self.fingerprint))
                lower = (*lower, "int8")
            except EmbedderError as error:
                logger.warning("%s", error)
        chosen, tried, _ = self._try(device, lower, images[third:])
        return chosen, tried

    @property
    def model(self) -> Any:
        """The open_clip model, loaded if necessary; None in ONNX Runtime."""
        return self._loaded().model

    def _embed(self, inputs: Sequence[Any], kind: str) -> Vector:
        import numpy as np

        if not len(inputs):
            return np.zeros((0, self.dims), np.float32)
        loaded = self._loaded()
        try:
            rows = self._state.batchers[kind].submit(inputs)
        except Exception as error:
            raise EmbedderError(f"{self.name} failed on {len(inputs)} {kind}: {error}") from error
        vectors: Vector = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise EmbedderError(
                f"{self.name} returned vectors that are not finite in precision {loaded.precision!r}: "
                "set the option 'precision' to 'fp32'."
            )
        return vectors

    def last_failure(self) -> str:
        state = self._state
        return "" if state.loaded is not None or state.failure is None else str(state.failure)

    def _loaded(self) -> Loaded | OnnxModel:
        state = self._state
        if state.loaded is None:
            known = state.failure
            with state.lock:
                if state.loaded is None:
                    if state.failure is not known:  # while this thread waited, which need not wait as long again
                        raise EmbedderError(str(state.failure)) from state.failure
                    try:
                        loaded, state.fingerprint = self._load_unchanged()
                    except EmbedderError as error:
                        state.failure = error
                        raise
                    size = self.batch_size or loaded.batch_size
                    # One forward pass at a time: several would compete for the same processors.
                    state.batchers = {
                        "images": Batcher(loaded.images, max_size=size),
                        "texts": Batcher(loaded.texts, max_size=size),
                    }
                    state.loaded = loaded
        return state.loaded

    def _load_unchanged(self) -> tuple[Loaded | OnnxModel, str]:
        """Load the model; return it with its fingerprint.

        :raises EmbedderError: if its files are not those whose fingerprint was given out before: the caller would take
            the vectors for those of another model. The next call loads it under its own fingerprint.
        """
        expected = self._identified[1] if self._identified else self._identify()
        loaded = self._load() if self._identify() == expected else None
        if loaded is None or self._identify() != expected:
            raise EmbedderError(f"The files of {self.name} were changed while this process used them: try again.")
        return loaded, expected

    def _require(self) -> None:
        """Require what the model needs. :raises EmbedderError: if something is missing, with what to do."""
        missing = self.check()
        if missing:
            raise EmbedderError(f"{missing[0].msg} {missing[0].hint or ''}".strip())

    def _load(self) -> Loaded | OnnxModel:
        self._require()
        if self._exports:
            try:
                return onnx.load(self.name, self.cache_dir, self._exported())
            except EmbedderError as error:
                if self.runtime == "onnx" or importlib.util.find_spec("torch") is None:
                    raise
                logger.warning("%s torch is used instead.", error)
        device = choose_device(self.device)
        if self.precision != "auto":
            return self._load_in(self.precision, device)
        kept = self._kept().get(str(device))
        return self._load_best(device) if kept is None else self._load_in(kept[0], device)

    def _load_in(self, name: str, device: Any) -> Loaded:
        from imagesim.embedders.loading import load
        from imagesim.embedders.reduced_precision import QuantisedTower, int8_folder

        if name != "int8":
            return load(self.name, device, name, self.cache_dir)

        loaded = load(self.name, choose_device("cpu"), "fp32", self.cache_dir)
        loaded.model.visual = QuantisedTower(int8_folder(self._cache(), self.fingerprint))
        loaded.precision = "int8"
        return loaded

    def _load_best(self, device: Any) -> Loaded:
        """Choose the precision with synthetic pictures, when the model is first loaded on a machine."""
        lower = lower_precisions(device)
        if not lower:
            return self._load_in("fp32", device)
        chosen, _, last = self._try(
            device, lower, precision.synthetic_pictures(precision.SYNTHETIC_PICTURES), precision.SYNTHETIC_TIE
        )
        return last if chosen == last.precision else self._load_in(chosen, device)

    def _try(
        self, device: Any, lower: Sequence[str], images: Sequence[Image], tie: float = 0.0
    ) -> tuple[str, list[PrecisionTrial], Loaded]:
        tried, last = precision.compare(lambda name: self._load_in(name, device), lower, images, self.batch_size, tie)
        chosen = precision.best(tried)
        self._kept().put(str(device), chosen, tried)
        return chosen, tried, last

    def _exported(self) -> Path:
        return self._cache() / "onnx" / f"{self.fingerprint}-{onnx.VERSION}"

    def _cache(self) -> Path:
        return self.cache_dir or lite.cache_folder()

    def _kept(self) -> precision.PrecisionCache:
        return precision.PrecisionCache(self._cache(), self.fingerprint)


class _State:
    """The loaded model of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded: Loaded | OnnxModel | None = None
        self.failure: EmbedderError | None = None
        """Why it could not be loaded the last time."""
        self.fingerprint = ""
        self.batchers: dict[str, Batcher[Any, Any]] = {}
