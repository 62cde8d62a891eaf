"""The losses of the training."""

from __future__ import annotations

from collections.abc import Sequence

import data
from torch import Tensor
from torch.nn import functional as F

CLASSES = len(data.CLASSES)


def loss_of(
    logits: Tensor, presence: Tensor, target: Tensor, known: Tensor, weak: Sequence[int], class_weights: Tensor
) -> Tensor:
    """Return cross-entropy + dice [1]_ on pixels, and binary cross-entropy on presence.

    In pictures of one thing with an unknown outline, some of the unknown pixels show that thing: the loss is the mean
    over the likeliest quarter of them.

    .. [1] Milletari et al., V-Net, 3DV 2016.
    """
    cross = F.cross_entropy(logits, target, weight=class_weights, ignore_index=data.IGNORE, label_smoothing=0.05)
    probabilities = logits.softmax(dim=1)
    valid = (target != data.IGNORE).unsqueeze(1)
    one_hot = F.one_hot(target.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2) * valid
    seen = probabilities * valid
    overlap, size = (seen * one_hot).sum(dim=(0, 2, 3)), (seen + one_hot).sum(dim=(0, 2, 3))
    there = one_hot.sum(dim=(0, 2, 3)) > 0
    dice = 1 - ((2 * overlap + 1) / (size + 1))[there].mean()
    sure = known >= 0
    holds = F.binary_cross_entropy_with_logits(presence[sure], known[sure] * 0.94 + 0.02)
    total = cross + 0.7 * dice + 0.5 * holds
    for i, label in enumerate(weak):
        if label > 0:
            mass = logits[i].log_softmax(dim=0)[label][target[i] == data.IGNORE]
            if len(mass) > 8:
                total = total - 0.15 / len(weak) * mass.topk(len(mass) // 4).values.mean()
    return total


def distance(
    logits: Tensor, presence: Tensor, taught: Tensor, taught_presence: Tensor, class_weights: Tensor
) -> Tensor:
    """Return the distillation loss [1]_: the difference between the answers of student and teacher on the same view.

    .. [1] Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    soft = taught.softmax(dim=1)
    weight = (soft * class_weights[None, :, None, None]).sum(dim=1)
    cells = F.kl_div(logits.log_softmax(dim=1), soft, reduction="none").sum(dim=1)
    holds = F.binary_cross_entropy_with_logits(presence, taught_presence.sigmoid())
    return 2 * (weight * cells).mean() + holds
