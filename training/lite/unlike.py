"""Add to trained heads what the towers know about things that the heads were not trained on.

Training for clothes shapes the projection of texts, which then knows less about furniture. So one part of ``words``
becomes *plain*: the trunk's probabilities of the ImageNet classes in the text tower's own space. Its dimensions are
taken from the learned part, which is reduced to its principal directions. Texts also get a ``colour`` component, that
of pictures of the colour that the text names, because the plain part knows nothing about colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from training.lite import captions, things
from training.lite.heads import PREFIX, Trainer, plain_projection

DEFINITION = 0.5
"""The weight of a class's definition relative to its names in the plain part."""
LEAST = 15
"""The minimum number of pictures of a colour."""
RIDGE = 0.03
WORDS = 3
"""The number of words for a colour."""

Embed = Callable[[list[str]], np.ndarray]


@torch.no_grad()
def adapt(trainer: Trainer, state: dict[str, torch.Tensor], embed: Embed) -> dict[str, torch.Tensor]:
    """Return the tensors to ship, with the plain part and the colours of texts.

    :param state: what :meth:`~training.lite.heads.Trainer.finish` returned, which lacks both.
    """
    config, heads = trainer.config, trainer.heads
    inputs = trainer.standard(trainer.inputs)
    guess = torch.softmax(trainer.logits / heads.temperature, 1)
    pictures = F.normalize(guess @ heads.classes + heads.mlp(inputs) * heads.correction[1], dim=1)
    texts = F.normalize(trainer.text(trainer.thing_vectors), dim=1)
    moments = pictures.T @ pictures / len(pictures) + texts.T @ texts / len(texts)
    kept = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, : config.words - config.plain].T
    colours, named = text_colours(trainer, embed)
    projection = plain_projection(trainer.class_vectors, config.plain, named)
    first = [names[0] for names in things.names()]
    definitions = embed([": ".join(each) for each in zip(first, things.definitions(), strict=True)])
    classes = trainer.class_vectors + DEFINITION * torch.from_numpy(definitions)
    state = dict(state)
    for name in ("mlp.2.weight", "mlp.2.bias"):
        state[PREFIX + name] = kept @ state[PREFIX + name]
    state[PREFIX + "classes"] = heads.classes @ kept.T
    state[PREFIX + "plain_classes"] = classes @ projection.T
    for name in ("plain_limit", "plain_share", "text_shares", "text_colour"):
        state[PREFIX + name] = torch.tensor(getattr(config, name))
    state["text.proj.weight"] = torch.cat([colours, kept @ state["text.proj.weight"], projection])
    return state


def text_colours(trainer: Trainer, embed: Embed) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a linear map from texts to the ``colour`` component, (colour, 384), and the directions that it uses.

    Fitted by ridge regression: a text with a colour has the mean of the pictures of that colour, minus that of all
    colours; one without a colour has zero. The directions are orthogonal rows, (colours, 384).
    """
    histograms = trainer.inputs[:, -len(trainer.heads.palette) :]
    vectors = trainer.heads.colour_part(histograms, trainer.standard(trainer.inputs))
    labels = trainer.rows.label("baseColour")
    known = [colour for colour in captions.COLOURS if (labels == colour).sum() >= LEAST]
    means = torch.stack([vectors[torch.from_numpy(labels == colour)].mean(0) for colour in known])
    means -= means.mean(0)
    nouns = [*sorted(set(trainer.rows.label("articleType"))), *(names[0] for names in things.names())]
    coloured = [
        (text, number)
        for number, colour in enumerate(known)
        for word in captions.COLOURS[colour][:WORDS]
        for text in (word, *(f"{word} {noun}" for noun in nouns[::10]))
    ]
    x = torch.from_numpy(embed([*nouns, *(text for text, _ in coloured)]))
    y = torch.cat([torch.zeros(len(nouns), means.shape[1]), means[[number for _, number in coloured]]])
    squares = x.T @ x
    mapping = torch.linalg.solve(squares + RIDGE * squares.trace() / len(squares) * torch.eye(len(squares)), x.T @ y).T
    return mapping, torch.linalg.svd(mapping, full_matrices=False)[2][: len(known)]
