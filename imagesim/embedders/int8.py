"""An image tower in 8-bit integers, by OpenVINO: made once of the model and some real pictures, kept in the cache.

Needs the extra ``openvino``. The text tower, the preprocessing and the fingerprint stay as they are.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagesim.exceptions import EmbedderError

MODEL = "visual.xml"
CALIBRATED_BY = 128
"""Pictures; more change nothing."""


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("openvino", "nncf"))


def folder_of(cache: Path, fingerprint: str) -> Path:
    """Where the tower of the model with this fingerprint is kept."""
    return cache / "int8" / fingerprint


class QuantisedTower(nn.Module):
    """What takes the image tower's place: float32 pixels (n, 3, side, side) -> float32 (n, dims).

    :raises EmbedderError: if none was made yet, or OpenVINO is missing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if not (folder / MODEL).is_file():
            raise EmbedderError("No int8 model was made yet: run `manage.py imagesim_precision`.")
        # The widest arithmetic for what is not quantised; the default would be bf16 where the processor has it.
        self._run = _openvino().compile_model(folder / MODEL, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self._run(pixels.contiguous().numpy())[0].copy())


def quantise(visual: nn.Module, prepared: Sequence[Any], folder: Path) -> None:
    """Make the tower's int8 form and keep it in ``folder``; ``prepared`` are pictures like those it will see.

    :raises EmbedderError: if OpenVINO cannot take the model, or the folder cannot be written.
    """
    openvino = _openvino()
    import nncf

    pixels = torch.stack(list(prepared[:CALIBRATED_BY]))
    attends = any("Attention" in type(part).__name__ for part in visual.modules())
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracing that OpenVINO does
            model = openvino.convert_model(visual, example_input=pixels[:2])
        made = nncf.quantize(
            model,
            nncf.Dataset([pixels[start : start + 4].numpy() for start in range(0, len(pixels), 4)]),
            subset_size=CALIBRATED_BY // 4,
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as aside:
            openvino.save_model(made, Path(aside) / "new" / MODEL)
            if folder.exists():
                folder.rename(Path(aside) / "old")
            (Path(aside) / "new").rename(folder)
    except Exception as error:
        raise EmbedderError(f"No int8 model can be made of this one: {error}") from error


def _openvino() -> Any:
    """OpenVINO, without its reports to its makers: it sends them unless this package is missing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise EmbedderError("int8 needs OpenVINO: run pip install 'imagesim[openvino]'.") from error
    return openvino
