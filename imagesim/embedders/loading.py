"""Load an open_clip model and run it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from imagesim.embedders import lite
from imagesim.embedders.model_spec import CONFIG, ModelName, pinned_folder
from imagesim.embedders.process import import_torchvision
from imagesim.embedders.reduced_precision import DTYPES
from imagesim.exceptions import EmbedderError

if TYPE_CHECKING:
    from PIL.Image import Image

    from imagesim.types import Vector

logger = logging.getLogger(__name__)


class Loaded:
    """A model in memory with its preprocessing and tokenizer. Thread-safe."""

    def __init__(
        self, model: Any, preprocess: Callable[[Any], Any], tokenizer: Any, device: Any, precision: str
    ) -> None:
        self.model = model
        self.precision = precision
        self.batch_size = 16 if device.type == "cpu" else 128
        self._preprocess = preprocess
        self.tokenizer = tokenizer
        self._device = device
        self._dtype = torch.float32
        self.dims = 0
        self.padding: int | None = None

    def prepare(self, image: Image) -> Any:
        """Convert an RGB image to the model's input, float32 (3, side, side)."""
        return self._preprocess(image)

    def images(self, prepared: Sequence[Any]) -> Vector:
        """Embed prepared images: float32 (n, dims), unit rows."""
        with torch.inference_mode():
            pixels = torch.stack(list(prepared))
            pixels = pixels.to(self._device, self._dtype, memory_format=torch.channels_last)
            return self._unit(self.model.encode_image(pixels))

    def texts(self, texts: Sequence[str]) -> Vector:
        """Embed texts: float32 (n, dims), unit rows."""
        with torch.inference_mode():
            return self._unit(self.model.encode_text(self.tokens(texts).to(self._device)))

    def tokens(self, texts: Sequence[str]) -> Any:
        """Tokenize texts: int64 (n, length)."""
        tokens = self.tokenizer(list(texts))
        if self.padding is not None:  # padding is masked, but would still be computed
            tokens = tokens[:, : max(1, int((tokens != self.padding).sum(1).max()))]
        return tokens

    @staticmethod
    def _unit(rows: Any) -> Vector:
        vectors: Vector = torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()
        return vectors


def load(name: ModelName, device: Any, precision: str, cache_dir: Path | None) -> Loaded:
    """Build the model and load its weights.

    :raises EmbedderError: naming the cause (name, weights or network) and what to do.
    """
    import_torchvision()
    import open_clip

    if name.kind == "lite":
        from imagesim.embedders import lite_model  # noqa: F401  # registers the trunk with timm

        path = lite.folder(cache_dir)
        full_name, kwargs = f"local-dir:{path}", _local_text(path)
    elif name.kind == "local-dir":
        full_name, kwargs = f"local-dir:{name.value}", _local_text(Path(name.value))
    else:
        full_name = name.value if name.kind == "built-in" else f"hf-hub:{name.value}"
        kwargs = {}
    inside = name.kind == "lite"  # the built-in model casts its trunk itself and keeps the heads in fp32
    try:
        if name.revision:
            folder = pinned_folder(name, cache_dir)
            full_name, kwargs = f"local-dir:{folder}", _local_text(folder)
        model, preprocess = open_clip.create_model_from_pretrained(
            full_name,
            name.pretrained,
            device=device,
            precision="fp32" if inside else precision,
            cache_dir=str(cache_dir) if cache_dir and not inside else None,
            **kwargs,
        )
        tokenizer = open_clip.get_tokenizer(full_name, cache_dir=str(cache_dir) if cache_dir else None)
    except Exception as error:
        raise EmbedderError(_explain(name, error)) from error
    if inside and device.type == "cpu":
        _share(model, path)
    model.eval().requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)
    loaded = Loaded(model, preprocess, tokenizer, device, precision)
    if inside:
        loaded.dims = lite.dims()
        loaded.padding = 0
        model.visual.trunk.lower(precision)
    else:
        loaded.dims = _dims(name, cache_dir)
        loaded._dtype = DTYPES.get(precision, torch.float32)
    logger.info("Loaded %s on %s in %s.", name, device, precision)
    return loaded


def _share(model: Any, folder: Path) -> None:
    """Map the weights from their file, so that processes share the pages and read only the ones they use."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"), assign=True)


def _local_text(folder: Path) -> dict[str, Any]:
    """Return keyword arguments that point a Hugging Face text tower at the folder of its model.

    open_clip does this for the tokenizer only, and would request the text tower's configuration from the hub.
    """
    try:
        text = dict(json.loads((folder / CONFIG).read_text())["model_cfg"]["text_cfg"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # open_clip reports it
    if "hf_model_name" not in text or not (folder / "config.json").is_file():
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _dims(name: ModelName, cache_dir: Path | None) -> int:
    config = name.config(cache_dir)
    if config is None:
        raise EmbedderError(f"{name} has no configuration.")
    return int(config["embed_dim"])


def _explain(name: ModelName, error: Exception) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    kinds = {type(c).__name__ for c in causes}
    text = " ".join(str(c) for c in causes)
    offline = kinds & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError", "URLError"}
    if offline or "Failed to download" in text:
        return (
            f"{name} could not be fetched: the model hub cannot be reached from here. Fetch it where there is a "
            "network and set 'cache_dir' to that cache or 'model' to 'local-dir:PATH', "
            f"or use {lite.NAME!r}, which needs none."
        )
    return f"{name} cannot be loaded: {error}"
