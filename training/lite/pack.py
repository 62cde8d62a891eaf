"""Write trained heads to the files that ship in the app: the weights, and a description of them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from imagesim.embedders import lite
from imagesim.embedders.lite import SCALES, file_digest

SMALLEST = 64
"""Matrices with fewer rows or columns stay in 16 bits."""


def rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with matrices in 8 bits and a scale for each of their rows, as ``load_weights`` reads them."""
    out = dict(state)
    for name, value in state.items():
        if value.ndim == 2 and min(value.shape) >= SMALLEST:
            scales = value.float().abs().amax(1, keepdim=True).clamp_min(1e-6) / 127
            out[name], out[name + SCALES] = (value / scales).round().to(torch.int8), scales
    return out


def pack(
    state: dict[str, torch.Tensor],
    sizes: dict[str, int],
    text_projection: str,
    out: Path,
    size: lite.Size = lite.LITE,
    bits: int = 16,
) -> None:
    """Write the weights and their description into ``out``, as ``lite.safetensors`` and ``lite.json`` or as ``base``.

    :param state: the heads' tensors, under their names in the open_clip model.
    :param bits: of each number in a matrix: 16, or 8.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in sorted(state.items())}
    if not all(value.isfinite().all() for value in halves.values()):
        raise ValueError("a weight does not fit into 16 bits")
    weights = out / lite.weights_path(size).name
    save_file(rounded(halves) if bits == 8 else halves, weights)
    known = {
        "sizes": sizes,
        "text_projection": text_projection,
        "checksum": file_digest(weights),
        "trunk_sha256": file_digest(lite.trunk_path(size)),
        "text_sha256": file_digest(lite.text_path() / "model.safetensors"),
    }
    weights.with_suffix(".json").write_text(json.dumps(known, indent=2) + "\n")
