"""Networks in reduced precision have nearly the same output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imagesim.embedders.reduced_precision import convert, fold_batch_norms, round_keeping_sums


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=32), nn.BatchNorm2d(32)
    )
    for norm in (made[1], made[4]):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
    return made.eval()


def test_folding_batch_norms_keeps_the_output() -> None:
    whole, pixels = network(), torch.randn(2, 3, 16, 16)
    wanted = whole(pixels)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fold_batch_norms(whole).modules())
    torch.testing.assert_close(whole(pixels), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_filters_keep_their_sums(dtype: torch.dtype) -> None:
    filters = torch.randn(200, 1, 3, 3)
    error = (round_keeping_sums(filters, dtype).float() - filters).sum((1, 2, 3)).abs()
    plain = (filters.to(dtype).float() - filters).sum((1, 2, 3)).abs()
    assert error.mean() < plain.mean() / 5
    assert (round_keeping_sums(filters, dtype).float() - filters).abs().max() < 3 * torch.finfo(
        dtype
    ).eps * filters.max()


def test_only_depthwise_filters_are_rounded_together() -> None:
    whole = network()
    first, second = whole[0].weight.clone(), whole[3].weight.clone()
    convert(whole, torch.bfloat16)
    assert torch.equal(whole[0].weight, first.bfloat16())
    assert torch.equal(whole[3].weight, round_keeping_sums(second, torch.bfloat16))
