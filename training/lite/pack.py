"""Write trained heads to the files that ship with the app: the weights and their description."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from imagesim.embedders import lite
from imagesim.embedders.lite import SCALES, file_digest

SMALLEST = 64
"""Matrices with fewer rows or columns stay in 16 bits."""


def in_8_bits(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the values of a tensor in 8 bits, and the scale of each of its rows."""
    scales = value.float().abs().amax(tuple(range(1, value.ndim)), keepdim=True).clamp_min(1e-6) / 127
    return (value / scales).round().to(torch.int8), scales


def rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with matrices in 8 bits and a scale for each row, as ``load_weights`` reads them."""
    out = dict(state)
    for name, value in state.items():
        if value.ndim == 2 and min(value.shape) >= SMALLEST:
            out[name], out[name + SCALES] = in_8_bits(value)
    return out


def pack(
    state: dict[str, torch.Tensor],
    sizes: dict[str, int],
    text_projection: str,
    out: Path,
    size: lite.Size = lite.LITE,
) -> None:
    """Write the weights and their description to ``out``, as ``lite.safetensors`` and ``lite.json``, or as ``base.*``.

    :param state: the heads' tensors, under their names in the open_clip model.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in sorted(state.items())}
    if not all(value.isfinite().all() for value in halves.values()):
        raise ValueError("a weight does not fit into 16 bits")
    weights = out / lite.weights_path(size).name
    save_file(rounded(halves), weights)
    known = {
        "sizes": sizes,
        "text_projection": text_projection,
        "checksum": file_digest(weights),
        "trunk_sha256": file_digest(lite.trunk_path(size)),
        "text_sha256": file_digest(lite.text_path() / "model.safetensors"),
    }
    weights.with_suffix(".json").write_text(json.dumps(known, indent=2) + "\n")
