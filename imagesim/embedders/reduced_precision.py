"""A network in a cheaper arithmetic: batch norms folded away, weights rounded so that little is lost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

if TYPE_CHECKING:
    from torch import Tensor


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What torch calls the precisions."""


def folded(module: nn.Module) -> nn.Module:
    """``module`` with every batch norm that follows a convolution folded into it, in place; for inference only."""
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


def lowered(module: nn.Module, dtype: Any) -> nn.Module:
    """``module`` in ``dtype`` (bfloat16 or float16), in place.

    A depthwise filter has nine or twenty-five weights and looks at one channel: rounded one by one, their errors
    add up to another sum, and so to a shift of the whole channel. Here they cancel: see :func:`keeping_sums`. On
    the model in the box that makes the least cosine to fp32 .9993 instead of .9967.
    """
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.groups == convolution.in_channels > 1:
            convolution.weight.data = keeping_sums(convolution.weight.data, dtype)
    return module.to(dtype)


def keeping_sums(filters: Tensor, dtype: Any) -> Tensor:
    """Filters (n, …) rounded to ``dtype``, each weight taking over the error of those before it, largest first."""
    flat = filters.float().flatten(1)
    order = flat.abs().argsort(1, descending=True)
    rounded = flat.gather(1, order)
    error = rounded.new_zeros(len(rounded))
    for place in range(rounded.shape[1]):
        wanted = rounded[:, place] + error
        rounded[:, place] = wanted.to(dtype).float()
        error = wanted - rounded[:, place]
    return torch.empty_like(flat).scatter(1, order, rounded).view_as(filters).to(dtype)
