"""Train the heads on frozen features, which takes seconds to a minute or two on two cores.

Images and captions are aligned by a contrastive loss (InfoNCE, https://arxiv.org/abs/1807.03748) in which every picture
that a caption is true for counts as a positive (SupCon, https://arxiv.org/abs/2004.11362), and near misses, such as
navy for blue, have a low weight as negatives. To keep what the trunk knows beyond clothes, the thousand ImageNet
classes are used as well: a picture's feature is moved until the trunk's classifier names the class, and its positives
are the class's names and definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imagesim.embedders.lite import SIZES, load_trunk
from imagesim.embedders.lite_model import WIDTH, LiteHeads, lab
from training.lite import captions, things
from training.lite.dataset import Rows

TINT_SCALE = 12.0
PREFIX = "visual.trunk.heads."


@dataclass(frozen=True)
class Config:
    """All parameters of the training besides the data.

    :param centred: whether the training mean is subtracted from the ``shape`` component.
    :param members: the number of parts of the hidden layer, each trained to give the words component by itself; their
        mean ships, which is better for what was seen less often (as in TabM, https://arxiv.org/abs/2410.24210).
    :param plain: the dimensions of the plain part of ``words``, out of ``words`` (:mod:`training.lite.unlike`).
    :param plain_limit, plain_share: the likeness from which that part is empty, and its share without any likeness.
    :param text_shares: the shares of the learned and the plain part in the vector of a text.
    :param text_colour: the length from which a text counts as naming a colour, and the factor of what is above it.
    :param keep: the share of the initial weights in their average with the trained ones, which then forget less
        (https://arxiv.org/abs/2109.01903).
    """

    shape: int = 256
    centred: bool = True
    colour: int = 128
    words: int = 256
    hidden: int = 1024
    members: int = 1
    text: str = "linear"
    epochs: int = 14
    batch: int = 512
    rate: float = 1e-3
    decay: float = 0.05
    dropout: float = 0.3
    near: float = 0.2
    things: int = 192
    thing_weight: float = 0.5
    pair_weight: float = 0.3
    pair_gender: bool = False
    tint_weight: float = 0.5
    tint_share: float = 0.8
    balance: float = 0.3
    temperature: float = 1.0
    ridge: float = 0.3
    axes: int = 0
    centre: float = 0.4
    width: float = 0.03
    correction: tuple[float, float] = (1.0, 1.0)
    plain: int = 0
    plain_limit: float = 0.4
    plain_share: float = 0.6
    text_shares: tuple[float, float] = (0.7, 0.3)
    text_colour: tuple[float, float] = (0.3, 0.35)
    keep: float = 0.0
    size: str = "lite"
    seed: int = 0


def thing_texts() -> tuple[list[str], np.ndarray]:
    """Return (texts, class of each): the names of every class, in phrases, and its definition."""
    texts, classes = [], []
    for number, (names, definition) in enumerate(zip(things.names(), things.definitions(), strict=True)):
        for name in names[:3]:
            for frame in ("{}", "a photo of a {}"):
                texts.append(frame.format(name))
                classes.append(number)
        if definition:
            texts.append(f"{names[0]}: {definition}")
            classes.append(number)
    return texts, np.array(classes)


def plain_projection(class_vectors: torch.Tensor, dims: int, without: torch.Tensor | None = None) -> torch.Tensor:
    """Return the projection of the text tower's vectors onto the principal directions of the class names: (dims, 384).

    MiniLM's vectors share one strong direction without information; it is projected out.

    :param without: further directions to project out, orthogonal rows (n, 384).
    """
    mean = F.normalize(class_vectors.mean(0), dim=0)
    rest = torch.eye(384) - torch.outer(mean, mean)
    if without is not None:
        rest = (torch.eye(384) - without.T @ without) @ rest
    _, _, directions = torch.linalg.svd(class_vectors @ rest.T, full_matrices=False)
    return directions[:dims] @ rest


def text_projection(config: Config, class_vectors: torch.Tensor, dims: int) -> nn.Module:
    """Return the text tower's head, in open_clip's shape, initialised with :func:`plain_projection`."""
    start = plain_projection(class_vectors, config.words)
    if config.text == "linear":
        linear = nn.Linear(384, config.words, bias=False)
        linear.weight.data.copy_(start)
        return linear
    hidden = (384 + dims) // 2
    mlp = nn.Sequential(nn.Linear(384, hidden, bias=False), nn.GELU(), nn.Linear(hidden, config.words, bias=False))
    # GELU(x) - GELU(-x) = x: the first half of the units starts as the linear map.
    rank = hidden // 2
    with torch.no_grad():
        mlp[0].weight[:rank] = start[:rank]
        mlp[0].weight[rank : 2 * rank] = -start[:rank]
        mlp[2].weight.zero_()
        mlp[2].weight[:rank, :rank] = torch.eye(rank)[: config.words]
        mlp[2].weight[:rank, rank : 2 * rank] = -torch.eye(rank)[: config.words]
    return mlp


def palette(rows: Rows, colours: int, rng: np.random.Generator) -> torch.Tensor:
    """Return Lab colours spread over those of pictures and those of a screen (k-means)."""
    thumbs = rows.seen["thumb"][rng.choice(len(rows), min(1000, len(rows)), False)].float()
    shown = lab((thumbs / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)).reshape(-1, 3).numpy()
    possible = lab(torch.from_numpy(rng.random((4_000, 3), np.float32))).numpy()
    points = np.concatenate([shown[rng.choice(len(shown), 4_000)], possible])
    centres = points[rng.choice(len(points), colours, False)]
    for _ in range(15):
        nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack(
            [points[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(colours)]
        )
    return torch.from_numpy(centres.astype(np.float32))


def shorten(rows: Rows, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (weight, bias) of the shape component: it keeps what distinguishes pictures, not views of one picture.

    Within-class covariance normalisation (Hatch et al., Interspeech 2006) with each picture as a class: the directions
    in which the views of one picture differ (ground, light, angle, blur) are shrunk, then the principal directions of
    the rest are kept. If it is not ``centred``, every source has the same weight in these directions, and unlike
    pictures stay unlike: their cosines are nearer to those of the trunk.
    """
    pooled = rows.seen["pooled"].float()
    clean = {(int(n), v[:4]): i for i, (n, v) in enumerate(zip(rows.number, rows.view, strict=True)) if "clean" in v}
    pairs = [
        (i, clean[key])
        for i, (n, v) in enumerate(zip(rows.number, rows.view, strict=True))
        if "phone" in v and (key := (int(n), v[:4])) in clean
    ]
    mean = pooled.mean(0)
    width = len(mean)
    if pairs:
        one, other = torch.tensor(pairs).T
        difference = pooled[one] - pooled[other]
        within = difference.T @ difference / (2 * len(pairs))
        within += config.ridge * within.diagonal().mean() * torch.eye(width)
        change = torch.linalg.cholesky(torch.linalg.inv(within))
    else:
        change = torch.eye(width)
    if config.centred:
        _, axes = torch.linalg.eigh(change.T @ torch.cov(pooled.T) @ change)
        weight = (change @ axes.flip(1)[:, : config.shape]).T
    else:
        weight = principal(rows, pooled @ change, config.shape) @ change.T
    weight = weight / (weight @ torch.cov(pooled.T) @ weight.T).diagonal().mean().sqrt()  # fits into 16 bits
    return weight, -weight @ mean * config.centred


def principal(rows: Rows, vectors: torch.Tensor, number: int) -> torch.Tensor:
    """Return the principal directions (number, width) of these vectors, one per row; each source has the same weight,
    however many rows it has."""
    sources = np.array([view.partition("-")[0] for view in rows.view])
    parts = [vectors[sources == source] for source in np.unique(sources)]
    moment = torch.stack([part.T @ part / part.square().sum() for part in parts]).sum(0)
    return torch.linalg.eigh(moment)[1].flip(1)[:, :number].T.contiguous()


class Trainer:
    """The heads, their optimiser, and the inputs, computed once."""

    def __init__(
        self,
        config: Config,
        rows: Rows,
        pool: list[captions.Caption],
        owner: np.ndarray,
        pool_vectors: np.ndarray,
        class_vectors: np.ndarray,
        thing_vectors: np.ndarray,
        thing_classes: np.ndarray,
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """:param rows: training rows only. :param owner: the row that each caption was drawn for.
        :param start: the tensors of a file of weights to continue from, under their names in the open_clip model."""
        torch.manual_seed(config.seed)
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        self.rows, self.pool = rows, pool
        self.judge = captions.Judge(pool, rows.labels)
        order = np.argsort(owner, kind="stable")
        self.colours = captions.ColourJudge(rows.label("baseColour"))
        self.captions_of = np.split(order, np.searchsorted(owner[order], np.arange(1, len(rows))))
        self.pool_vectors = torch.from_numpy(pool_vectors)
        self.thing_vectors = torch.from_numpy(thing_vectors)
        self.thing_classes = torch.from_numpy(thing_classes)
        self.class_vectors = torch.from_numpy(class_vectors)
        self.texts_of = [np.flatnonzero(thing_classes == number) for number in range(len(class_vectors))]
        self.others = np.setdiff1d(np.arange(len(class_vectors)), things.worn())

        classifier: Any = load_trunk(SIZES[config.size]).classifier
        self.class_weight, self.class_bias = classifier.weight.detach(), classifier.bias.detach()

        stages = rows.seen["stages"].shape[1]
        self.heads = LiteHeads(config.shape, config.colour, config.words, config.hidden, stages, config.axes)
        dims = config.shape + config.colour + config.words
        self.text = text_projection(config, self.class_vectors, dims)
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.before: list[torch.Tensor] = []
        with torch.no_grad():
            pooled = rows.seen["pooled"].float()
            self.heads.palette.copy_(palette(rows, config.colour // 2, self.rng))
            weight, bias = shorten(rows, config)
            self.heads.shape.weight.copy_(weight)
            self.heads.shape.bias.copy_(bias)
            self.heads.temperature.fill_(config.temperature)
            self.heads.tint_share.fill_(config.tint_share)
            nn.init.zeros_(self.heads.mlp[2].weight)
            nn.init.zeros_(self.heads.mlp[2].bias)
            if start is not None:
                self.resume(start)
            histogram = self.histograms(rows)
            self.inputs = torch.cat([pooled, rows.seen["stages"].float(), rows.seen["salient"].float(), histogram], 1)
            if start is None:
                self.heads.colour_mean.copy_(histogram.mean(0))
                self.heads.mean.copy_(self.inputs.mean(0))
                self.heads.scale.copy_(1 / (self.inputs.std(0) + 0.02))
            if self.heads.likeness is not None:
                self.heads.likeness.axes.copy_(principal(rows, pooled - self.heads.mean[:WIDTH], config.axes))
                self.heads.likeness.centre.fill_(config.centre)
                self.heads.likeness.width.fill_(config.width)
                self.heads.correction.copy_(torch.tensor(config.correction))
            centred = pooled[self.rng.choice(len(rows), min(8000, len(rows)), False)]
            self.covariance = torch.cov(centred.T)
            self.logits = pooled @ self.class_weight.T + self.class_bias

    def resume(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from trained weights of the same sizes; what they lack stays as it is."""
        heads = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        self.heads.load_state_dict(heads, strict=False)
        self.text.load_state_dict({"weight": state["text.proj.weight"][-self.config.words :]})
        self.scale.fill_(state["logit_scale"])
        self.before = [parameter.detach().clone() for parameter in self.learned()]

    def learned(self) -> list[nn.Parameter]:
        """Return the parameters that are trained, except the scale of the scores."""
        return [*self.heads.mlp.parameters(), *self.heads.tint.parameters(), *self.text.parameters()]

    def histograms(self, rows: Rows) -> torch.Tensor:
        with torch.inference_mode():
            parts = [
                self.heads.histogram(
                    rows.seen["thumb"][i : i + 512].float(), rows.seen["salience"][i : i + 512].float()
                )
                for i in range(0, len(rows), 512)
            ]
        return torch.cat(parts).clamp_min(0).sqrt().clone()

    def standard(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input of the trained layers, with dropout while training."""
        return F.dropout((inputs - self.heads.mean) * self.heads.scale, self.config.dropout, self.heads.training)

    def words(self, inputs: torch.Tensor, logits: torch.Tensor) -> list[torch.Tensor]:
        """Return the words component of pictures from each member, while training."""
        classes, members = self.text(self.class_vectors), self.config.members
        guess = torch.softmax(logits / self.heads.temperature, 1) @ classes
        first, activation, last = self.heads.mlp
        parts = zip(
            first.weight.chunk(members), first.bias.chunk(members), last.weight.chunk(members, dim=1), strict=True
        )
        corrections = (
            F.linear(activation(F.linear(self.standard(inputs), weight, bias)), out, last.bias)
            for weight, bias, out in parts
        )
        return [F.normalize(guess + correction, dim=1) for correction in corrections]

    def tint_loss(self, picked: np.ndarray) -> torch.Tensor:
        """Return the loss of the learned half of the colour component, which groups pictures by colour, whatever the
        item."""
        tints = F.normalize(self.heads.tint(self.standard(self.inputs[picked])[:, WIDTH:]), dim=1)
        scores = TINT_SCALE * tints @ tints.T - torch.diag(torch.full((len(picked),), 1e4))
        verdict = torch.from_numpy(self.colours(picked))
        return contrast(scores, verdict, self.config.near, torch.ones(len(picked)))

    def pretend(self, picked: np.ndarray, classes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and logits of these pictures, with their features moved to look like these classes.

        The move is the shortest one, relative to the spread of the features, after which the classifier names the
        class: along the covariance times the difference of the classifier's rows, until the logit leads by a margin.
        """
        inputs = self.inputs[picked].clone()
        logits = self.logits[picked]
        target = torch.from_numpy(classes)
        pooled = inputs[:, :WIDTH]
        for _ in range(2):  # a step can change which class is second
            rivals = logits.clone()
            rivals[torch.arange(len(target)), target] = -torch.inf
            lead, rival = rivals.max(1)
            difference = self.class_weight[target] - self.class_weight[rival]
            move = difference @ self.covariance
            margin = torch.from_numpy(self.rng.uniform(1, 6, len(classes)).astype(np.float32))
            need = (lead + margin - logits[torch.arange(len(target)), target]).clamp_min(0)
            pooled = (pooled + move * (need / (move * difference).sum(1).clamp_min(1e-6))[:, None]).clamp(0, 6)
            logits = pooled @ self.class_weight.T + self.class_bias
        inputs[:, :WIDTH] = pooled
        return inputs, logits

    def train(self, log: Any = None) -> None:
        config = self.config
        parameters = self.learned()
        optimiser = torch.optim.AdamW(
            [{"params": parameters, "weight_decay": config.decay}, {"params": [self.scale], "weight_decay": 0.0}],
            lr=config.rate,
        )
        kinds = self.rows.label("articleType")
        _, place, counts = np.unique(kinds, return_inverse=True, return_counts=True)
        chance = 1 / counts[place] ** config.balance
        chance /= chance.sum()
        steps = config.epochs * len(self.rows) // config.batch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.1)
        self.heads.train()
        with torch.no_grad():
            self.heads.mlp[2].weight *= config.members
        for step in range(steps):
            picked = self.rng.choice(len(self.rows), config.batch, p=chance)
            loss = self.loss(picked)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                self.scale.clamp_(max=math.log(50.0))
            if log is not None and step % 100 == 0:
                log(f"step {step}/{steps} loss {loss.item():.3f} scale {self.scale.exp().item():.1f}")
        self.heads.eval()
        with torch.no_grad():
            self.heads.mlp[2].weight /= config.members
        if self.before:
            with torch.no_grad():
                for parameter, before in zip(parameters, self.before, strict=True):
                    parameter.lerp_(before, config.keep)

    def loss(self, picked: np.ndarray) -> torch.Tensor:
        config = self.config
        said = np.array([self.rng.choice(self.captions_of[i]) for i in picked])
        verdict = torch.from_numpy(self.judge(said, picked))
        classes = self.rng.choice(self.others, config.things, replace=False)
        bodies = self.rng.choice(len(self.rows), config.things)
        thing_inputs, thing_logits = self.pretend(bodies, classes)
        thing_said = np.array([self.rng.choice(self.texts_of[c]) for c in classes])

        views = self.words(
            torch.cat([self.inputs[picked], thing_inputs]), torch.cat([self.logits[picked], thing_logits])
        )
        texts = F.normalize(self.text(torch.cat([self.pool_vectors[said], self.thing_vectors[thing_said]])), dim=1)
        n, scale = len(picked), self.scale.exp()
        full = torch.zeros((len(texts), len(texts)), dtype=torch.int8)
        full[:n, :n] = verdict
        full[n:, n:] = torch.eye(config.things, dtype=torch.int8) * captions.TRUE
        # A caption without a type ("red item") is not compared with the classes.
        open_type = torch.tensor([not self.pool[i].types for i in said])
        full[:n, n:][open_type] = captions.NEAR
        weight = torch.ones(len(texts))
        weight[n:] = config.thing_weight
        kinds, colours, genders, _, products = self.judge.pictures[picked].T
        same_kind = torch.from_numpy(kinds[:, None] == kinds)
        same_look = torch.from_numpy((colours[:, None] == colours) & (products[:, None] == products))
        if config.pair_gender:
            same_look &= torch.from_numpy(genders[:, None] == genders)
        pairs = torch.where(same_kind & same_look, captions.TRUE, captions.FALSE)
        pairs[same_kind & ~same_look] = captions.NEAR
        pairs.fill_diagonal_(captions.NEAR)
        losses = []
        for images in views:
            scores = scale * texts @ images.T
            loss = contrast(scores, full, config.near, weight) + contrast(scores.T, full.T, config.near, weight)
            if config.pair_weight:
                own = scale * images[:n] @ images[:n].T - torch.diag(torch.full((n,), 1e4))
                loss = loss + config.pair_weight * contrast(own, pairs, 0.5, torch.ones(n))
            losses.append(loss)
        tint = config.tint_weight * self.tint_loss(picked) if config.tint_weight else 0.0
        return torch.stack(losses).mean() + tint

    def finish(self) -> dict[str, torch.Tensor]:
        """Return the tensors to ship, under their names in the open_clip model."""
        with torch.no_grad():
            self.heads.classes.copy_(self.text(self.class_vectors))
        state = {f"{PREFIX}{name}": value for name, value in self.heads.state_dict().items()}
        # The rows of the words component; the app adds those of the other components, which are zero.
        state |= {f"text.proj.{name}": value for name, value in self.text.state_dict().items()}
        state["logit_scale"] = self.scale.detach()
        return state


def contrast(scores: torch.Tensor, verdict: torch.Tensor, near: float, weight: torch.Tensor) -> torch.Tensor:
    """Return the contrastive loss of each row: its positives against its negatives, averaged over the positives."""
    true = verdict == captions.TRUE
    opponents = torch.where(verdict == captions.NEAR, scores + math.log(near), scores)
    opponents = torch.where(true, torch.full_like(scores, -1e4), opponents)
    against = torch.logsumexp(opponents, 1, keepdim=True)
    each = torch.logaddexp(scores, against) - scores
    number = true.sum(1)
    rows = (each * true).sum(1) / number.clamp_min(1)
    asked = weight * (number > 0)
    return (rows * asked).sum() / asked.sum()
