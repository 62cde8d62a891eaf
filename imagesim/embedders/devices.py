"""Which device a model runs on, and in which arithmetic."""

from __future__ import annotations

from typing import Any

from imagesim.exceptions import EmbedderError, format_choices

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def choose_device(name: str | None) -> Any:
    """The named torch device, or the best there is: CUDA, then Apple's MPS, then the CPU.

    :raises EmbedderError: if the named one does not exist here.
    """
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
    """What the device computes in natively below fp32; emulated it would be slower than fp32."""
    import torch

    if device.type == "cuda":
        return ("bf16", "fp16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp16",)
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return ("bf16",)
    return ()
