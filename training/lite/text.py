"""The frozen text tower: the mean of MiniLM's last states, 384 numbers, not normalised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imagesim.embedders import lite
from imagesim.embedders.process import import_torchvision


def load_text_tower() -> tuple[Any, Any]:
    """Return (encoder, tokenizer), as open_clip creates them from the package's folder."""
    import_torchvision()
    from open_clip.hf_model import HFTextEncoder
    from open_clip.tokenizer import HFTokenizer

    folder = str(lite.text_path())
    encoder = HFTextEncoder(folder, output_dim=384, pooler_type="mean_pooler", proj_type=None, pretrained=True)
    return encoder.eval().requires_grad_(False), HFTokenizer(folder, context_length=64)


def embed(texts: Sequence[str], batch: int = 256) -> np.ndarray:
    """Embed texts: float32 (n, 384)."""
    encoder, tokenizer = load_text_tower()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = np.zeros((len(texts), 384), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            tokens = tokenizer([texts[i] for i in part])
            tokens = tokens[:, : int((tokens != 0).sum(1).max())]  # padding is masked anyway
            out[part] = encoder(tokens).numpy()
    return out


class TextCache:
    """The text tower's output for every text so far, on disk: it never changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as file:
                self.known = dict(zip(file["texts"].tolist(), file["vectors"], strict=True))

    def __call__(self, texts: list[str]) -> np.ndarray:
        missing = sorted(set(texts) - self.known.keys())
        if missing:
            self.known.update(zip(missing, embed(missing), strict=True))
            np.savez(self.path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))
        return np.stack([self.known[one] for one in texts])
