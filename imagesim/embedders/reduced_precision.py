"""Conversion of networks to bfloat16, float16 or 8-bit integers, with minimal loss.

int8 needs the extra ``openvino``: the image tower is quantised once, with some real pictures, and stored in the cache
folder. The text tower, the preprocessing and the fingerprint stay the same.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from imagesim.embedders.process import import_openvino
from imagesim.exceptions import EmbedderError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The torch dtype of each precision."""

INT8_MODEL = "visual.xml"
CALIBRATION_PICTURES = 128
"""The number of pictures for calibration; more do not improve the result."""


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Fold every batch norm that follows a convolution into it, in place; for inference only. Return ``module``."""
    for parent in list(module.modules()):
        children = list(parent.named_children())
        for (_, convolution), (name, norm) in pairwise(children):
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            mean, var = norm.running_mean, norm.running_var
            if mean is None or var is None:
                continue
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight, convolution.bias, mean, var, norm.eps, norm.weight, norm.bias
            )
            setattr(parent, name, getattr(norm, "act", nn.Identity()))
    return module.eval().requires_grad_(False)


def convert(module: nn.Module, dtype: Any) -> nn.Module:
    """Convert ``module`` to ``dtype`` (bfloat16 or float16), in place, and return it.

    A depthwise filter has nine or twenty-five weights per channel: if each is rounded on its own, the errors add up and
    shift the whole channel. :func:`round_keeping_sums` cancels them. With the built-in model, the minimum cosine to
    fp32 is .9993 instead of .9967.
    """
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.groups == convolution.in_channels > 1:
            convolution.weight.data = round_keeping_sums(convolution.weight.data, dtype)
    return module.to(dtype)


def round_keeping_sums(filters: Tensor, dtype: Any) -> Tensor:
    """Round filters (n, …) to ``dtype``; carry each weight's error over to the next, the largest weight first."""
    flat = filters.float().flatten(1)
    order = flat.abs().argsort(1, descending=True)
    rounded = flat.gather(1, order)
    error = rounded.new_zeros(len(rounded))
    for place in range(rounded.shape[1]):
        wanted = rounded[:, place] + error
        rounded[:, place] = wanted.to(dtype).float()
        error = wanted - rounded[:, place]
    return torch.empty_like(flat).scatter(1, order, rounded).view_as(filters).to(dtype)


def int8_is_installed() -> bool:
    """Return whether the packages for int8 are installed."""
    return all(importlib.util.find_spec(name) for name in ("openvino", "nncf"))


def int8_folder(cache: Path, fingerprint: str) -> Path:
    """Return the folder of the quantised tower of the model with this fingerprint."""
    return cache / "int8" / fingerprint


class QuantisedTower(nn.Module):
    """Replacement for the image tower: float32 pixels (n, 3, side, side) -> float32 (n, dims).

    :raises EmbedderError: if ``folder`` holds no quantised tower, or OpenVINO is missing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if not (folder / INT8_MODEL).is_file():
            raise EmbedderError("No int8 model was made yet: run `manage.py imagesim_precision`.")
        # fp32 for the layers that are not quantised; the default is bf16 on processors that support it.
        self._run = import_openvino().compile_model(folder / INT8_MODEL, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.from_numpy(self._run(pixels.contiguous().numpy())[0].copy())


def quantise(visual: nn.Module, prepared: Sequence[Any], folder: Path) -> None:
    """Quantise an image tower to int8, calibrated on ``prepared`` pictures, and store the result in ``folder``.

    :raises EmbedderError: if OpenVINO cannot convert the model, or the folder cannot be written.
    """
    openvino = import_openvino()
    import nncf

    pixels = torch.stack(list(prepared[:CALIBRATION_PICTURES]))
    attends = any("Attention" in type(part).__name__ for part in visual.modules())
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from OpenVINO's tracing
            model = openvino.convert_model(visual, example_input=pixels[:2])
        quantised = nncf.quantize(
            model,
            nncf.Dataset([pixels[start : start + 4].numpy() for start in range(0, len(pixels), 4)]),
            subset_size=CALIBRATION_PICTURES // 4,
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as scratch:
            openvino.save_model(quantised, Path(scratch) / "new" / INT8_MODEL)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            (Path(scratch) / "new").rename(folder)
    except Exception as error:
        raise EmbedderError(f"No int8 model can be made of this one: {error}") from error
