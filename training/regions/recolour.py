"""Imitate the light and the cameras of other photos."""

from __future__ import annotations

import torch
from torch import Tensor


def recoloured(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation, warmth and gamma of a batch (n, 3, h, w) in 0..1, per picture."""
    n = pixels.shape[0]

    def draw(low: float, high: float, channels: int) -> Tensor:
        drawn = torch.rand((n, channels, 1, 1), generator=generator, device=pixels.device)
        return drawn * (high - low) + low

    strength = (draw(0, 1, 1) < 0.8).float()
    pixels = pixels.clamp(1e-4, 1) ** (1 + (draw(-0.3, 0.35, 1)) * strength)
    pixels = pixels * (1 + draw(-0.25, 0.25, 1) * strength) * (1 + draw(-0.1, 0.1, 3) * strength)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * (1 + draw(-0.3, 0.3, 1) * strength) + mean
    grey = pixels.mean(dim=1, keepdim=True)
    saturation = 1 + draw(-0.5, 0.5, 1) * strength
    none = (draw(0, 1, 1) < 0.03).float()
    pixels = grey + (pixels - grey) * saturation * (1 - none)
    return pixels.clamp(0, 1)
