"""Write trained heads to the files that ship in the app: the weights, and a description of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagesim.embedders import lite
from imagesim.embedders.lite import file_digest


def pack(
    state: dict[str, Any], sizes: dict[str, int], text_projection: str, out: Path, size: lite.Size = lite.LITE
) -> None:
    """Write the weights and their description into ``out``, as ``lite.safetensors`` and ``lite.json`` or as ``base``.

    :param state: the heads' tensors, under their names in the open_clip model.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in sorted(state.items())}
    if not all(value.isfinite().all() for value in halves.values()):
        raise ValueError("a weight does not fit into 16 bits")
    weights = out / lite.weights_path(size).name
    save_file(halves, weights)
    known = {
        "sizes": sizes,
        "text_projection": text_projection,
        "checksum": file_digest(weights),
        "trunk_sha256": file_digest(lite.trunk_path(size)),
        "text_sha256": file_digest(lite.text_path() / "model.safetensors"),
    }
    weights.with_suffix(".json").write_text(json.dumps(known, indent=2) + "\n")
